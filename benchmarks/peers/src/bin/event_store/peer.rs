//! The way of `cqrs-es` with `postgres-es`: `PersistedEventStore` on its own tables. It has no
//! outbox.

use std::collections::HashMap;
use std::convert::Infallible;
use std::str::FromStr as _;

use bento_benchmarks::Result;
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{EventStoreAggregateContext, PersistedEventStore};
use cqrs_es::{Aggregate, DomainEvent, EventStore as _};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlx_of_peer::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx_of_peer::{Executor as _, PgPool};

use crate::account::{Booking, Deposited, EVERY, Totals, Withdrawn};

/// The tables of `postgres-es`, as its `init.sql` has them.
const TABLES: &str = "
CREATE TABLE events
(
    aggregate_type text                         NOT NULL,
    aggregate_id   text                         NOT NULL,
    sequence       bigint CHECK (sequence >= 0) NOT NULL,
    event_type     text                         NOT NULL,
    event_version  text                         NOT NULL,
    payload        json                         NOT NULL,
    metadata       json                         NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);
CREATE TABLE snapshots
(
    aggregate_type   text                                 NOT NULL,
    aggregate_id     text                                 NOT NULL,
    last_sequence    bigint CHECK (last_sequence >= 0)    NOT NULL,
    current_snapshot bigint CHECK (current_snapshot >= 0) NOT NULL,
    payload          json                                 NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, last_sequence)
);";

type Store = PersistedEventStore<PostgresEventRepository, Account>;

pub(crate) struct Peer {
    events: Store,
    snapshots: Store,
    /// The account that is appended to.
    id: String,
    account: Account,
    stored: usize,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    totals: Totals,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Deposited(Deposited),
    Withdrawn(Withdrawn),
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Deposited(_) => "account.deposited".to_owned(),
            Self::Withdrawn(_) => "account.withdrawn".to_owned(),
        }
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";

    type Command = Infallible;
    type Event = AccountEvent;
    type Error = Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        command: Infallible,
        (): &(),
        _: &EventSink<Self>,
    ) -> std::result::Result<(), Infallible> {
        match command {}
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Deposited(deposited) => self.totals.deposit(&deposited),
            AccountEvent::Withdrawn(withdrawn) => self.totals.withdraw(&withdrawn),
        }
    }
}

impl From<Booking> for AccountEvent {
    fn from(booking: Booking) -> Self {
        match booking {
            Booking::Deposited(deposited) => Self::Deposited(deposited),
            Booking::Withdrawn(withdrawn) => Self::Withdrawn(withdrawn),
        }
    }
}

/// A pool of one connection, in the release of sqlx that the peer speaks.
pub(crate) async fn pool(url: &str, synchronous_commit: &str) -> Result<PgPool> {
    let options = PgConnectOptions::from_str(url)?;
    let options = options.options([("synchronous_commit", synchronous_commit)]);
    let pool = PgPoolOptions::new().min_connections(1).max_connections(1);
    Ok(pool.connect_with(options).await?)
}

/// Makes the tables.
pub(crate) async fn create(pool: &PgPool) -> Result {
    pool.execute(TABLES).await?;
    Ok(())
}

impl Peer {
    pub(crate) fn new(pool: &PgPool, account: &str) -> Self {
        let repository = || PostgresEventRepository::new(pool.clone());
        Self {
            events: Store::new_event_store(repository()),
            snapshots: Store::new_snapshot_store(repository(), EVERY),
            id: account.to_owned(),
            account: Account::default(),
            stored: 0,
        }
    }

    pub(crate) async fn append(&mut self, bookings: usize) -> Result {
        let events: Vec<AccountEvent> = Booking::samples(self.stored, bookings)
            .map(AccountEvent::from)
            .collect();
        for event in &events {
            self.account.apply(event.clone());
        }
        // `commit` without snapshots reads no state.
        let context = EventStoreAggregateContext {
            aggregate_id: self.id.clone(),
            aggregate: Account::default(),
            current_sequence: self.stored,
            current_snapshot: None,
        };
        self.events.commit(events, context, HashMap::new()).await?;
        self.stored += bookings;
        Ok(())
    }

    /// The number of events of the account that is appended to.
    pub(crate) fn stored(&self) -> usize {
        self.stored
    }

    pub(crate) async fn load(&self, id: &str) -> Result<Totals> {
        Ok(self.events.load_aggregate(id).await?.aggregate.totals)
    }

    pub(crate) async fn load_kept(&self, id: &str) -> Result<Totals> {
        Ok(self.snapshots.load_aggregate(id).await?.aggregate.totals)
    }

    /// Stores an account of this number of events, with snapshots.
    pub(crate) async fn fill_kept(&self, id: &str, events: usize) -> Result {
        for first in (0..events).step_by(10) {
            let context = self.snapshots.load_aggregate(id).await?;
            let bookings = Booking::samples(first, 10.min(events - first));
            let raised = bookings.map(AccountEvent::from).collect();
            self.snapshots
                .commit(raised, context, HashMap::new())
                .await?;
        }
        Ok(())
    }
}
