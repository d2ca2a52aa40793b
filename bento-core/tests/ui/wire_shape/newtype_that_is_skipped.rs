use bento_core::WireShape;
use serde::Serialize;

#[derive(Serialize, WireShape)]
pub struct Code(#[serde(skip)] String);

fn main() {}
