use bento_core::WireShape;

#[derive(WireShape)]
pub struct Order {
    #[shape(opaqe = "decimal")]
    pub total: i64,
}

fn main() {}
