//! Links `shop` and `reporting` into a cdylib.
#![forbid(unsafe_code)]

use shop as _;
use reporting as _;
