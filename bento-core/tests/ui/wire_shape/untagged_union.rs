use bento_core::WireShape;

#[derive(WireShape)]
pub union Number {
    whole: u64,
    parts: [u8; 8],
}

fn main() {}
