use bento_core::WireShape;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, WireShape)]
#[serde(into = "String")]
pub struct Code(String);

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.0
    }
}

fn main() {}
