use bento_core::WireShape;

#[derive(WireShape)]
#[shape(opaque = "order")]
pub struct Order {
    #[shape(as = String)]
    pub total: i64,
}

fn main() {}
