pub struct OrderCreated {}

pub fn create() {
    let _ = bento_core::raise(OrderCreated {});
}

fn main() {}
