use bento_core::AggregateId;

#[derive(AggregateId)]
pub struct Nothing {}

fn main() {}
