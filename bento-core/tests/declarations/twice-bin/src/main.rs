//! Links `shop` and `billing` into a program.
#![forbid(unsafe_code)]

use shop as _;
use billing as _;

fn main() {}
