use bento_core::WireShape;
use serde::Serialize;

#[derive(Serialize, WireShape)]
pub struct Order {
    #[serde(skip)]
    #[shape(opaque = "decimal")]
    pub total: i64,
}

fn main() {}
