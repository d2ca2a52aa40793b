//! Links `shop` and `billing` into a cdylib.
#![forbid(unsafe_code)]

use shop as _;
use billing as _;
