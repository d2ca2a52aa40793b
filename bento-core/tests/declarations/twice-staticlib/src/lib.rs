//! Links `shop` and `billing` into a staticlib.
#![forbid(unsafe_code)]

use shop as _;
use billing as _;
