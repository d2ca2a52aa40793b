use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {
    pub total: std::marker::PhantomData<std::rc::Rc<u64>>,
}

fn main() {}
