use bento_core::WireShape;

pub struct Price(i64);

#[derive(WireShape)]
pub struct Order {
    pub id: u64,
    pub prices: Vec<Price>,
}

fn main() {}
