//! The work of a service on the event store: it appends and reads, and changes nothing.

use bento_core::{PendingEvents, WireShape, aggregate, domain_event};
use bento_relay::dead_letter::Operator;
use bento_relay::event_store::{Cursor, EventStore as _, Selection};
use bento_relay::inspect::InspectEvents as _;
use bento_seaorm::{DatabaseEvents, Error, OutboxConnection, Tables};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde::{Deserialize, Serialize};

use crate::Outbox;

/// The statements that no service may run.
pub(crate) const REFUSED: [&str; 4] = [
    "UPDATE bento_event SET payload = ''",
    "DELETE FROM bento_event",
    "TRUNCATE TABLE bento_event",
    "DELETE FROM bento_event_stream",
];

/// The event of the event-sourced aggregate.
#[domain_event(schema = "ledger.credited", version = 1)]
#[derive(Debug)]
pub(crate) struct Credited {
    cents: i64,
}

/// The aggregate whose events are stored.
#[aggregate(event_sourced, snapshots(every = 3), events(Credited), name = "ledger")]
#[derive(Debug, Default, Serialize, Deserialize, WireShape)]
pub(crate) struct Ledger {
    id: String,
    #[aggregate(version)]
    version: i64,
    cents: i64,
    events: PendingEvents,
}

impl Ledger {
    fn apply(&mut self, event: &LedgerEvent) {
        let LedgerEvent::Credited(credited) = event;
        self.cents += credited.cents;
    }
}

/// Saves a new aggregate and an old one, meets a conflict, and reads what it has stored.
pub(crate) async fn append_and_read(outbox: &Outbox, db: DatabaseConnection) {
    let db = outbox.connection(db).application("shop").build();
    let mut ledger = Ledger {
        id: "A".to_owned(),
        ..Ledger::default()
    };
    credit(&db, &mut ledger, 1).await.unwrap();
    // More than fit into one statement of a few rows.
    for _ in 0..30 {
        ledger.raise(Credited { cents: 1 });
    }
    let mut late = loaded(&db).await;
    credit(&db, &mut ledger, 1).await.unwrap();
    let error = credit(&db, &mut late, 1).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Conflict {
                expected: 1,
                actual: Some(32),
                ..
            }
        ),
        "{error:?}"
    );
    late.discard();
    let stored = loaded(&db).await;
    assert_eq!((stored.version, stored.cents), (32, 32));
    // A snapshot that is refused would be left out.
    let backend = db.get_database_backend();
    let tables = Tables::new(outbox.0.clone()).on(backend);
    let snapshots = format!("SELECT sequence FROM {}", tables.snapshot());
    let snapshots = Statement::from_string(backend, snapshots);
    assert_eq!(db.query_all_raw(snapshots).await.unwrap().len(), 1);
    for of in [
        Selection::of::<Ledger>("A"),
        Selection::EventType("ledger.credited".to_owned()),
        Selection::All,
    ] {
        let page = DatabaseEvents::new(db.clone())
            .page(&of, &Cursor::START, 100)
            .await;
        assert_eq!(page.unwrap().events.len(), 32, "{of:?}");
    }
}

/// Looks at what is stored.
pub(crate) async fn operate(outbox: &Outbox, db: DatabaseConnection) {
    let events = DatabaseEvents::new(outbox.connection(db).build());
    let [ledgers] = &events.stored_aggregates().await.unwrap()[..] else {
        panic!("one type of aggregates")
    };
    let counts = (ledgers.aggregates, ledgers.events, ledgers.snapshots);
    assert_eq!(counts, (1, 32, 1));
    assert!(events.last_position().await.unwrap().is_some());
    let operator = Operator::new(&events, "alice");
    let page = operator.events_of("ledger", "A", &Cursor::START, 100).await;
    assert_eq!(page.unwrap().events.len(), 32);
}

async fn credit(db: &OutboxConnection, ledger: &mut Ledger, cents: i64) -> Result<(), Error> {
    ledger.raise(Credited { cents });
    let tx = db.begin().await?;
    match tx.save(ledger).await {
        Ok(()) => tx.commit().await,
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

async fn loaded(db: &OutboxConnection) -> Ledger {
    let tx = db.begin().await.unwrap();
    let ledger = tx.load("A").await.unwrap().expect("it is stored");
    tx.rollback().await.unwrap();
    ledger
}
