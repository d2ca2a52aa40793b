#[derive(Debug)]
pub struct OrderCreated {}

pub fn read(payload: &[u8]) {
    let _ = bento_core::codec::decode::<OrderCreated>("order.created", 1, payload);
}

fn main() {}
