//! Links `shop` and `reporting` into a program.
#![forbid(unsafe_code)]

use shop as _;
use reporting as _;

fn main() {}
