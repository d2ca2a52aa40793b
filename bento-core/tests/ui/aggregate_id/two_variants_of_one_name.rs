use bento_core::AggregateId;

#[derive(AggregateId)]
pub enum Country {
    SE,
    #[aggregate_id(rename = "SE")]
    Sweden,
}

fn main() {}
