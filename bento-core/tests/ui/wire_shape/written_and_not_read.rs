use bento_core::WireShape;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, WireShape)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Order {
    #[serde(rename(serialize = "cents", deserialize = "amount"))]
    pub total: i64,
    #[serde(alias = "placedAt")]
    pub placed_at: u64,
    pub paid_at: u64,
    pub shipped_at: u64,
}

fn main() {}
