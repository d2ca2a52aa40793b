use bento_core::WireShape;

#[derive(WireShape)]
pub struct Order {
    #[shape(opaque = "")]
    pub total: i64,
}

fn main() {}
