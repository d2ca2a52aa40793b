//! The handlers of a shop, and some that break a rule.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bento_core::{PendingEvents, aggregate, domain_event};
use bento_handlers::{Batch, EventContext, HandleError, IdempotencyKey, State, event_handler};
use bento_seaorm::{Error, OutboxConnection, OutboxTransaction};
use sea_orm::{ConnectionTrait, Statement};

#[domain_event(schema = "order.confirmed", version = 2)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub order_id: i64,
    #[event(since = 2, default = 1i64)]
    pub quantity: i64,
}

#[domain_event(schema = "order.cancelled", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderCancelled {}

#[domain_event(schema = "stock.low", version = 1)]
#[derive(Clone, Debug)]
pub struct StockLow {
    pub left: i64,
}

#[domain_event(schema = "refill.requested", version = 1)]
#[derive(Clone, Debug)]
pub struct Refill {
    pub by: String,
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

    pub fn confirm(&mut self) {
        let (order_id, quantity) = (self.id, 1);
        self.raise(OrderConfirmed { order_id, quantity });
    }
}

/// A fake that remembers its calls, and sends one mail for each key.
#[derive(Clone, Debug, Default)]
pub struct Mailer(Arc<Mutex<(usize, BTreeSet<String>)>>);

impl Mailer {
    pub fn send(&self, key: &str) {
        let mut sent = self.0.lock().unwrap();
        sent.0 += 1;
        sent.1.insert(key.to_owned());
    }

    pub fn calls(&self) -> usize {
        self.0.lock().unwrap().0
    }

    pub fn mails(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }
}

pub async fn ready(db: &OutboxConnection) {
    let create = "CREATE TABLE stock (free BIGINT NOT NULL)";
    db.execute_unprepared(create).await.unwrap();
    let insert = "INSERT INTO stock VALUES (10)";
    db.execute_unprepared(insert).await.unwrap();
}

pub async fn stock<C: ConnectionTrait>(db: &C) -> i64 {
    let select = Statement::from_string(db.get_database_backend(), "SELECT free FROM stock");
    let row = db.query_one_raw(select).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

async fn take<C: ConnectionTrait>(db: &C, quantity: i64) -> Result<u64, HandleError> {
    let update = format!("UPDATE stock SET free = free - {quantity} WHERE free >= {quantity}");
    Ok(db.execute_unprepared(&update).await?.rows_affected())
}

#[event_handler(name = "stock.reserve")]
pub async fn reserve(event: OrderConfirmed, tx: &OutboxTransaction) -> Result<(), HandleError> {
    match event.quantity {
        0 => return Err(HandleError::skip("nothing is ordered")),
        -1 => return Err(HandleError::transient("not now")),
        -2 => return Err(HandleError::unavailable("not at all")),
        quantity if take(tx, quantity).await? == 0 => {
            return Err(HandleError::permanent("there is too little in stock"));
        }
        _ => {}
    }
    let left = stock(tx).await;
    if left < 5 {
        bento_core::raise(StockLow { left })?;
    }
    Ok(())
}

#[event_handler(name = "stock.count")]
pub async fn count(
    events: Batch<OrderConfirmed>,
    tx: &OutboxTransaction,
) -> Result<(), HandleError> {
    let quantity = events.iter().map(|event| event.quantity).sum();
    take(tx, quantity).await?;
    Ok(())
}

#[event_handler(name = "mail.confirmation")]
pub async fn confirm(
    _: OrderConfirmed,
    key: IdempotencyKey,
    State(mailer): State<Mailer>,
) -> Result<(), HandleError> {
    mailer.send(&key.to_string());
    Ok(())
}

#[event_handler(name = "order.facts")]
pub async fn facts(_: OrderConfirmed, context: EventContext) -> Result<Refill, HandleError> {
    let (envelope, tenant) = (context.envelope(), context.tenant().unwrap_or("nobody"));
    let (of, id) = (&envelope.aggregate_type, &envelope.aggregate_id);
    let attempt = context.attempt();
    Ok(Refill {
        by: format!("{of} {id} of {tenant}, attempt {attempt}"),
    })
}

#[event_handler(name = "stock.refill")]
pub async fn announce(event: OrderConfirmed) -> Result<Option<Refill>, HandleError> {
    let by = "announce".to_owned();
    Ok((event.quantity >= 100).then_some(Refill { by }))
}

/// A connection beside the transaction.
#[derive(Clone, Debug)]
pub struct Beside(pub OutboxConnection);

/// Writes on another connection than its transaction's, which no rule allows.
#[event_handler(name = "stock.beside")]
pub async fn beside(
    event: OrderConfirmed,
    _: &OutboxTransaction,
    State(Beside(other)): State<Beside>,
) -> Result<(), HandleError> {
    take(other.inner(), event.quantity).await?;
    Ok(())
}

/// Raises an event in another transaction than its own, which no rule allows.
#[event_handler(name = "stock.raise_beside")]
pub async fn raise_beside(
    _: OrderConfirmed,
    _: &OutboxTransaction,
    State(Beside(other)): State<Beside>,
) -> Result<(), HandleError> {
    raise_in(&other).await
}

/// Raises an event with each call, though the key is the same.
#[event_handler(name = "mail.raise_again")]
pub async fn raise_again(
    _: OrderConfirmed,
    _: IdempotencyKey,
    State(Beside(other)): State<Beside>,
) -> Result<(), HandleError> {
    raise_in(&other).await
}

async fn raise_in(other: &OutboxConnection) -> Result<(), HandleError> {
    let raising = other.transaction_async(async |_| {
        bento_core::raise(StockLow { left: 1 }).unwrap();
        Ok::<_, Error>(())
    });
    Ok(raising.await?)
}

/// Hands the mailer a key of its own with each call, which no rule allows.
#[event_handler(name = "mail.careless")]
pub async fn careless(
    _: OrderConfirmed,
    _: IdempotencyKey,
    State(mailer): State<Mailer>,
) -> Result<(), HandleError> {
    mailer.send(&bento_core::EventId::new().to_string());
    Ok(())
}
