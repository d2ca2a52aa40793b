use bento_core::WireShape;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod cents {
    use super::*;

    pub fn serialize<S: Serializer>(cents: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        cents.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        i64::deserialize(deserializer)
    }
}

#[derive(Serialize, Deserialize, WireShape)]
pub struct Order {
    #[serde(with = "cents")]
    pub total: i64,
}

fn main() {}
