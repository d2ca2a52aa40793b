use bento_core::WireShape;

#[derive(WireShape)]
pub struct Order {
    #[shape(crate = bento_core)]
    pub total: i64,
}

fn main() {}
