use bento_core::WireShape;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, WireShape)]
pub enum Payment {
    Cash(#[serde(skip_deserializing)] u8),
}

fn main() {}
