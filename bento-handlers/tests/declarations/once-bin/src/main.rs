//! Links `stock` into a program.
#![forbid(unsafe_code)]

use stock as _;

fn main() {}
