use bento_core::WireShape;
use bento_core::shape::Shape;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, WireShape)]
pub struct Order {
    #[serde(renmae = "cents")]
    pub total: i64,
}

fn main() {
    println!("{}", Shape::of::<Order>());
}
