#![allow(unused)]

use bento_core::domain_event;
use bento_handlers::{HandleError, event_handler};
use bento_seaorm::OutboxTransaction;

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
}

#[derive(Clone)]
pub struct Stock {}

#[derive(Clone)]
pub struct App {}

#[event_handler(name = "stock.reserve")]
async fn reserve(
    event: OrderConfirmed,
    tx: &OutboxTransaction,
    bento_handlers::State(stock): bento_handlers::State<Stock>,
) -> Result<(), HandleError> {
    Ok(())
}

pub fn handlers() -> bento_handlers::Handlers<App> {
    bento_handlers::Handlers::new(App {}).add(reserve::handler())
}

fn main() {}
