use bento_core::AggregateId;

#[derive(AggregateId)]
pub struct Place(f64);

fn main() {}
