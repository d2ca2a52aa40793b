//! Links `shop` and `reporting` into a staticlib.
#![forbid(unsafe_code)]

use shop as _;
use reporting as _;
