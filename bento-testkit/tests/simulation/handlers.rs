//! Handlers that may be simulated, and some with a fault.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bento_core::{PendingEvents, aggregate, domain_event};
use bento_handlers::{Batch, HandleError, IdempotencyKey, State as Given, event_handler};
use bento_seaorm::{OutboxConnection, OutboxTransaction};
use sea_orm::{ConnectionTrait, Statement};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub order_id: i64,
    pub quantity: i64,
}

#[domain_event(schema = "stock.reserved", version = 1)]
#[derive(Clone, Debug)]
pub struct StockReserved {
    pub order_id: i64,
}

#[aggregate(events(OrderConfirmed), name = "order")]
#[derive(Debug)]
pub struct Order {
    id: i64,
    events: PendingEvents,
}

impl Order {
    pub fn new(id: i64) -> Self {
        let events = PendingEvents::default();
        Self { id, events }
    }

    pub fn confirm(&mut self, quantity: i64) {
        let order_id = self.id;
        self.raise(OrderConfirmed { order_id, quantity });
    }
}

/// The systems beside the database: the keys of mails, and notes without a key.
#[derive(Clone, Debug, Default)]
pub struct Fakes {
    mails: Arc<Mutex<BTreeSet<String>>>,
    notes: Arc<Mutex<Vec<i64>>>,
}

/// The state that a simulation compares.
#[derive(Debug, PartialEq)]
pub struct State {
    pub free: i64,
    pub counted: i64,
    pub latest: i64,
    pub mails: usize,
    pub notes: usize,
}

pub async fn state(db: &OutboxConnection, fakes: &Fakes) -> State {
    let select = "SELECT free, counted, latest FROM stock";
    let select = Statement::from_string(db.get_database_backend(), select);
    let row = db.query_one_raw(select).await.unwrap().unwrap();
    let number = |column| row.try_get_by_index::<i64>(column).unwrap();
    State {
        free: number(0),
        counted: number(1),
        latest: number(2),
        mails: fakes.mails.lock().unwrap().len(),
        notes: fakes.notes.lock().unwrap().len(),
    }
}

async fn update(tx: &OutboxTransaction, set: &str) -> Result<u64, HandleError> {
    let update = format!("UPDATE stock SET {set}");
    Ok(tx.execute_unprepared(&update).await?.rows_affected())
}

#[event_handler(name = "sound.reserve")]
pub async fn reserve(event: OrderConfirmed, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let OrderConfirmed { order_id, quantity } = event;
    let taken = update(
        tx,
        &format!("free = free - {quantity} WHERE free >= {quantity}"),
    )
    .await?;
    if taken == 0 {
        return Err(HandleError::permanent("there is too little in stock"));
    }
    bento_core::raise(StockReserved { order_id })?;
    Ok(())
}

#[event_handler(name = "sound.mail")]
pub async fn mail(
    _: StockReserved,
    key: IdempotencyKey,
    Given(fakes): Given<Fakes>,
) -> Result<(), HandleError> {
    fakes.mails.lock().unwrap().insert(key.to_string());
    Ok(())
}

#[event_handler(name = "sound.count")]
pub async fn count(
    events: Batch<OrderConfirmed>,
    tx: &OutboxTransaction,
) -> Result<(), HandleError> {
    let quantity: i64 = events.iter().map(|event| event.quantity).sum();
    update(tx, &format!("counted = counted + {quantity}")).await?;
    Ok(())
}

/// Notes each call beside the transaction.
#[event_handler(name = "beside.note")]
pub async fn note(
    event: OrderConfirmed,
    _: &OutboxTransaction,
    Given(fakes): Given<Fakes>,
) -> Result<(), HandleError> {
    fakes.notes.lock().unwrap().push(event.order_id);
    Ok(())
}

/// Keeps the order that came last, of all orders.
#[event_handler(name = "latest.keep")]
pub async fn keep(event: OrderConfirmed, tx: &OutboxTransaction) -> Result<(), HandleError> {
    update(tx, &format!("latest = {}", event.order_id)).await?;
    Ok(())
}
