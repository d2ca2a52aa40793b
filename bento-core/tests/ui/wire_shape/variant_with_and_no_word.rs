use bento_core::WireShape;
use serde::{Serialize, Serializer};

fn as_text<S: Serializer>(cents: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cents)
}

#[derive(Serialize, WireShape)]
pub enum Payment {
    #[serde(serialize_with = "as_text")]
    Cash(i64),
}

fn main() {}
