use bento_seaorm::{Error, OutboxTransaction};

pub struct Order {
    pub id: i64,
}

pub fn place(tx: &OutboxTransaction, mut order: Order) -> Result<(), Error> {
    tx.collect(&mut order)
}

fn main() {}
