use bento_core::domain_event;

#[domain_event(schema = "Created", version = 0, colour = "red")]
#[derive(Debug)]
pub struct OrderCreated {
    #[cfg(unix)]
    pub order_id: u64,
    #[event(defalt = 1)]
    pub total: u64,
}

fn main() {}
