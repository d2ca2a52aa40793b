use bento_core::AggregateId;

#[derive(AggregateId)]
pub enum Country {
    #[aggregate_id(renmae = "SE")]
    Sweden,
}

fn main() {}
