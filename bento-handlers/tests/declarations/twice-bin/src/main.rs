//! Links `stock` and `warehouse` into a program.
#![forbid(unsafe_code)]

use stock as _;
use warehouse as _;

fn main() {}
