use bento_core::AggregateId;

#[derive(AggregateId)]
pub enum Customer {
    Person(u64),
    Nobody,
}

fn main() {}
