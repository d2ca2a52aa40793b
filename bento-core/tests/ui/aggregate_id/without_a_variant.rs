use bento_core::AggregateId;

#[derive(AggregateId)]
pub enum Nothing {}

fn main() {}
