use bento_core::AggregateId;

#[derive(AggregateId)]
pub union Number {
    small: u32,
    large: u64,
}

fn main() {}
