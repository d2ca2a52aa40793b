//! Links `shop` and `reporting` into a dylib.
#![forbid(unsafe_code)]

use shop as _;
use reporting as _;
