//! A ledger whose balances are projected, in two versions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bento_core::{Envelope, PendingEvents, aggregate, domain_event};
use bento_handlers::{Batch, Dispatcher, HandleError, Handlers, ProjectionSettings, projection};
use bento_relay::publish::{Delivery, Destination, PublishError, Publisher as _};
use bento_relay::{Relay, RelayHandle};
use bento_seaorm::{
    OutboxConnection, OutboxStore, OutboxTransaction, ProjectionKey, ProjectionState,
    ProjectionStatus, Projections,
};
use sea_orm::{ConnectionTrait, DbBackend};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::support::TestDatabase;

#[domain_event(schema = "ledger.opened", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    pub owner: String,
}

#[domain_event(schema = "ledger.credited", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct Credited {
    pub cents: i64,
}

/// Raised by the projection for a large credit.
#[domain_event(schema = "balance.large", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct Large {
    pub cents: i64,
}

#[aggregate(event_sourced, events(Opened, Credited), name = "ledger")]
#[derive(Debug, Default)]
pub struct Ledger {
    pub id: String,
    #[aggregate(version)]
    pub version: i64,
    pub cents: i64,
    pub events: PendingEvents,
}

impl Ledger {
    fn apply(&mut self, event: &LedgerEvent) {
        if let LedgerEvent::Credited(credited) = event {
            self.cents += credited.cents;
        }
    }
}

/// Asks how many statements wait for a lock. MariaDB reads its transactions again only
/// 100 ms after the last query for them, so the tests of this process take turns.
pub async fn number_of_waiting(database: &TestDatabase, waiting: &str) -> i64 {
    static TURN: Mutex<()> = Mutex::const_new(());
    let (turn, pause) = match database.backend() {
        DbBackend::MySql => (Some(TURN.lock().await), Duration::from_millis(120)),
        _ => (None, Duration::from_millis(5)),
    };
    sleep(pause).await;
    let waiting = database.number(waiting).await;
    drop(turn);
    waiting
}

/// A credit at which every version fails, until it is told otherwise.
pub const BAD: i64 = 666;

/// A credit for which every version raises an event.
pub const LARGE: i64 = 1_000_000;

/// The words of the test to the projections.
#[derive(Clone, Debug, Default)]
pub struct Mood {
    pub is_mended: Arc<AtomicBool>,
    /// A bad credit may succeed later.
    pub is_transient: Arc<AtomicBool>,
}

#[projection(name = "balances", version = 1, views = "balance")]
pub struct Balances(pub Mood);

#[projection(name = "balances", version = 2, views = "balance")]
pub struct BalancesAndLargest(pub Mood);

/// The credits alone: the numbers of its events have holes.
#[projection(name = "credits", version = 1)]
pub struct Credits;

impl Mood {
    fn check(&self, event: &LedgerEvent) -> Result<(), HandleError> {
        match event {
            LedgerEvent::Credited(credited)
                if credited.cents == BAD && !self.is_mended.load(Ordering::SeqCst) =>
            {
                Err(match self.is_transient.load(Ordering::SeqCst) {
                    true => HandleError::transient("a bad credit, perhaps"),
                    false => HandleError::permanent("a bad credit"),
                })
            }
            _ => Ok(()),
        }
    }
}

/// Adds to the row of a ledger, so that an event that comes twice is seen.
pub async fn add(
    tx: &OutboxTransaction,
    table: &str,
    id: &str,
    set: &str,
) -> Result<(), HandleError> {
    let update = format!("UPDATE {table} SET entries = entries + 1, {set} WHERE id = '{id}'");
    tx.execute_unprepared(&update).await?;
    Ok(())
}

impl Balances {
    async fn project(
        &self,
        events: Batch<LedgerEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        for (event, context) in events.with_context() {
            self.0.check(event)?;
            let id = &context.envelope().aggregate_id;
            match event {
                LedgerEvent::Opened(_) => {
                    let insert = format!("INSERT INTO balance_v1 VALUES ('{id}', 0, 1)");
                    tx.execute_unprepared(&insert).await?;
                }
                LedgerEvent::Credited(credited) => {
                    let cents = credited.cents;
                    add(tx, "balance_v1", id, &format!("cents = cents + {cents}")).await?;
                    if cents >= LARGE {
                        bento_core::raise(Large { cents })?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl BalancesAndLargest {
    async fn project(
        &self,
        events: Batch<LedgerEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        for (event, context) in events.with_context() {
            self.0.check(event)?;
            let id = &context.envelope().aggregate_id;
            match event {
                LedgerEvent::Opened(_) => {
                    let insert = format!("INSERT INTO balance_v2 VALUES ('{id}', 0, 1, 0)");
                    tx.execute_unprepared(&insert).await?;
                }
                LedgerEvent::Credited(credited) => {
                    let cents = credited.cents;
                    let set = format!(
                        "largest = CASE WHEN largest < {cents} THEN {cents} ELSE largest END, \
                         cents = cents + {cents}"
                    );
                    add(tx, "balance_v2", id, &set).await?;
                    if cents >= LARGE {
                        bento_core::raise(Large { cents })?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Credits {
    async fn project(
        &self,
        events: Batch<Credited>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        let cents: i64 = events.iter().map(|event| event.cents).sum();
        let update = format!("UPDATE credit SET cents = cents + {cents}");
        tx.execute_unprepared(&update).await?;
        Ok(())
    }
}

pub fn v1() -> ProjectionKey {
    ProjectionKey::new("balances", 1)
}

pub fn v2() -> ProjectionKey {
    ProjectionKey::new("balances", 2)
}

/// The balances of a ledger: key, cents, number of events.
pub type Balance = (String, i64, i64);

/// A service: ledgers, and the tables of the read models.
pub struct Scene<'a> {
    pub database: &'a TestDatabase,
    pub db: OutboxConnection,
    pub mood: Mood,
}

impl<'a> Scene<'a> {
    pub async fn on(database: &'a TestDatabase) -> Self {
        for create in [
            "CREATE TABLE balance_v1 (id VARCHAR(64) NOT NULL PRIMARY KEY, cents BIGINT NOT NULL, \
             entries BIGINT NOT NULL)",
            "CREATE TABLE balance_v2 (id VARCHAR(64) NOT NULL PRIMARY KEY, cents BIGINT NOT NULL, \
             entries BIGINT NOT NULL, largest BIGINT NOT NULL)",
            "CREATE TABLE credit (cents BIGINT NOT NULL)",
            "INSERT INTO credit VALUES (0)",
        ] {
            database.db.execute_unprepared(create).await.unwrap();
        }
        Self {
            database,
            db: OutboxConnection::new(database.db.clone()),
            mood: Mood::default(),
        }
    }

    /// A set of handlers that projects version 1.
    pub fn first(&self) -> Handlers {
        Handlers::new(()).projection(Balances(self.mood.clone()))
    }

    /// The next release: version 2, and version 1 until that is live.
    pub fn both(&self) -> Handlers {
        self.first()
            .projection(BalancesAndLargest(self.mood.clone()))
    }

    /// The release after that: version 2 alone.
    pub fn second(&self) -> Handlers {
        Handlers::new(()).projection(BalancesAndLargest(self.mood.clone()))
    }

    pub async fn dispatcher(&self, handlers: Handlers) -> Dispatcher {
        let pool = OutboxConnection::new(self.database.connect(5).await);
        handlers.build(&pool).unwrap()
    }

    pub async fn store(&self) -> OutboxStore {
        OutboxStore::new(self.database.connect(5).await)
    }

    /// A relay that brings these handlers their events.
    pub async fn relay(&self, handlers: Handlers) -> RelayHandle {
        let settings = ProjectionSettings::default().page(7);
        let dispatcher = self
            .dispatcher(handlers.configure_projection("balances", settings))
            .await;
        self.relay_of(dispatcher).await
    }

    pub async fn relay_of(&self, dispatcher: Dispatcher) -> RelayHandle {
        let busy = Duration::from_millis(20);
        Relay::builder(self.store().await, dispatcher)
            .poll(busy, busy)
            .start()
            .unwrap()
    }

    pub async fn projections(&self) -> Projections {
        Projections::new(self.store().await)
    }

    pub async fn credit(&self, id: &str, cents: impl IntoIterator<Item = i64>) {
        let tx = self.db.begin().await.unwrap();
        let mut ledger = tx.load::<Ledger>(id).await.unwrap().unwrap_or_else(|| {
            let mut ledger = Ledger {
                id: id.to_owned(),
                ..Ledger::default()
            };
            ledger.raise(Opened {
                owner: "Ann".to_owned(),
            });
            ledger
        });
        for cents in cents {
            ledger.raise(Credited { cents });
        }
        tx.save(&mut ledger).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The balances that the stored events say.
    pub async fn by_hand(&self) -> Vec<Balance> {
        let sql = "SELECT DISTINCT aggregate_id FROM bento_event ORDER BY aggregate_id";
        let mut balances = Vec::new();
        for id in self.texts(sql).await {
            let tx = self.db.begin().await.unwrap();
            let ledger = tx.load::<Ledger>(&*id).await.unwrap().unwrap();
            tx.rollback().await.unwrap();
            balances.push((id, ledger.cents, ledger.version));
        }
        balances
    }

    /// The balances of a table or a view.
    pub async fn balances(&self, table: &str) -> Vec<Balance> {
        let sql = format!("SELECT id, cents, entries FROM {table} ORDER BY id");
        let rows = self.rows(&sql).await;
        let read = |row: &sea_orm::QueryResult| {
            let get = |column| row.try_get_by_index::<i64>(column).unwrap();
            (row.try_get_by_index(0).unwrap(), get(1), get(2))
        };
        rows.iter().map(read).collect()
    }

    async fn rows(&self, sql: &str) -> Vec<sea_orm::QueryResult> {
        let statement = sea_orm::Statement::from_string(self.database.backend(), sql);
        self.database.db.query_all_raw(statement).await.unwrap()
    }

    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.rows(sql).await;
        rows.iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect()
    }

    /// Waits until a version is as the test wants it.
    pub async fn until(
        &self,
        key: &ProjectionKey,
        mut is_so: impl FnMut(&ProjectionState) -> bool,
    ) -> ProjectionState {
        let projections = self.projections().await;
        let mut last = None;
        let look = async {
            loop {
                let states = projections.list().await.unwrap();
                if let Some(state) = states.into_iter().find(|state| state.key == *key) {
                    if is_so(&state) {
                        return state;
                    }
                    last = Some(state);
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let found = timeout(Duration::from_secs(60), look).await.ok();
        found.unwrap_or_else(|| panic!("{key} is {last:?}"))
    }

    /// Waits until a query finds this number.
    pub async fn until_number(&self, sql: &str, expected: i64) {
        let look = async {
            while self.database.number(sql).await != expected {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(Duration::from_secs(60), look).await.is_err() {
            assert_eq!(self.database.number(sql).await, expected, "{sql}");
        }
    }

    /// Waits until a version is live, and shown by its view.
    pub async fn until_live(&self, key: &ProjectionKey) -> ProjectionState {
        let is_live = |state: &ProjectionState| state.status == ProjectionStatus::Live;
        let state = self.until(key, is_live).await;
        // On MySQL the view is replaced right after the swap.
        let shown = match key.version {
            2 => "SELECT largest FROM balance",
            _ => "SELECT 1 FROM balance",
        };
        let db = &self.database.db;
        let look = async {
            while &*key.name == "balances" && db.execute_unprepared(shown).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), look).await.unwrap();
        state
    }

    /// Waits until a table says what the stored events say.
    pub async fn until_equal(&self, table: &str) {
        let expected = self.by_hand().await;
        let look = async {
            while self.balances(table).await != expected {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(Duration::from_secs(60), look).await.is_err() {
            assert_eq!(self.balances(table).await, expected);
        }
    }

    /// The events of the outbox, in order, as a relay delivers them to a version.
    pub async fn deliveries(&self, key: &ProjectionKey) -> Vec<Delivery> {
        let rows = self.database.outbox().await;
        let delivery = |row: crate::support::OutboxRow| {
            let (now, id) = (chrono::Utc::now(), row.event_id.into());
            let mut event = Envelope::with_id(id, row.event_type, 1, now, row.payload);
            event.aggregate_type = row.aggregate_type.into();
            event.aggregate_id = row.aggregate_id;
            event.sequence = row.sequence;
            Delivery::new(Arc::new(event), Destination::new(key.route()))
        };
        rows.into_iter().map(delivery).collect()
    }
}

/// Hands deliveries to a dispatcher, and returns the answers.
pub async fn deliver(
    dispatcher: &Dispatcher,
    deliveries: &[Delivery],
) -> Vec<Result<(), PublishError>> {
    dispatcher.publish(deliveries).await
}
