use bento_core::WireShape;

#[derive(WireShape)]
pub struct Order {
    #[shape(as = String, opaque = "decimal")]
    pub total: i64,
}

fn main() {}
