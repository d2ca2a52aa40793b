use bento_core::aggregate;

#[aggregate(schema = "order.created", version = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    #[event(since = 2, default = "EUR")]
    pub currency: String,
}

pub fn create() {
    let _ = bento_core::raise(OrderCreated { currency: "DKK".into() });
}

fn main() {}
