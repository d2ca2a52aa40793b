//! Links `shop` and `billing` into a dylib.
#![forbid(unsafe_code)]

use shop as _;
use billing as _;
