//! The rights that the page on deploying gives to each role suffice for its work, and not for the
//! work of another role.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "rights/events.rs"]
mod events;
#[path = "rights/inbox.rs"]
mod inbox;
#[path = "rights/projections.rs"]
mod projections;
mod support;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bento_core::{Envelope, EventId, domain_event, raise_with};
use bento_relay::Relay;
use bento_relay::dead_letter::{
    AlertOutcome, AlertStore, Amendment, DeadLetterFilter, DeadLetterQuery, Operator, ReplayMode,
};
use bento_relay::handler_control::HandledAgain;
use bento_relay::inspect::Inspect;
use bento_relay::publish::{Delivery, HandlerRoute, PublishError, Publisher};
use bento_relay::retry::RetryPolicy;
use bento_relay::store::{Leftovers, Prune, RelayStore};
use bento_seaorm::{
    Inbox, OutboxConnection, OutboxConnectionBuilder, OutboxStore, TablePrefix, Tables,
};
use futures_util::FutureExt as _;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr};
use uuid::Uuid;

use self::support::{TestDatabase, connect, in_empty_database};

const PAGE: &str = include_str!("../../docs/deploying.md");
const ROLES: [&str; 6] = [
    "migration",
    "writer",
    "relay",
    "projector",
    "consumer",
    "operator",
];

/// Raised under an id of its own choice.
#[domain_event(schema = "account.opened", version = 1)]
#[derive(Debug)]
pub struct AccountOpened {}

/// The roles of the page, under names of their own: a server knows them for all of its databases.
struct Roles<'a> {
    database: &'a TestDatabase,
    prefix: String,
    outbox: Outbox,
}

/// The outbox that the roles use, in a schema or where their connections lead to.
struct Outbox(TablePrefix);

impl Outbox {
    fn connection(&self, db: DatabaseConnection) -> OutboxConnectionBuilder {
        OutboxConnection::builder(db).table_prefix(self.0.clone())
    }

    fn store(&self, db: DatabaseConnection) -> OutboxStore {
        OutboxStore::new(db).with_table_prefix(self.0.clone())
    }

    fn inbox(&self, db: DatabaseConnection) -> Inbox {
        Inbox::new(db).with_table_prefix(self.0.clone())
    }

    /// Runs a statement whose tables begin with `bento_` on those of this outbox.
    async fn run(&self, db: &DatabaseConnection, sql: &str) -> Result<(), DbErr> {
        let tables = Tables::new(self.0.clone()).on(db.get_database_backend());
        db.execute_unprepared(&sql.replace("bento_", tables.outbox().trim_end_matches("outbox")))
            .await
            .map(drop)
    }
}

impl Roles<'_> {
    /// Runs the statements of one block of the page: the first is for before the migration, the
    /// second for after it.
    async fn run_block(&self, nth: usize) {
        let heading = if self.database.is(DbBackend::Postgres) {
            "### PostgreSQL"
        } else {
            "### MariaDB and MySQL"
        };
        let (_, section) = PAGE.split_once(heading).unwrap();
        let block = section
            .split("```sql\n")
            .nth(nth + 1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        let (_, name) = self.database.url().rsplit_once('/').unwrap();
        let block = match (self.outbox.0.schema(), self.database.backend()) {
            (None, _) => block.replace("shop.", &format!("{name}.")),
            (Some(schema), DbBackend::Postgres) => {
                let block = block.replace("SCHEMA public", &format!("SCHEMA \"{schema}\""));
                block.replace(" bento_", &format!(" \"{schema}\".bento_"))
            }
            (Some(schema), _) => block.replace("shop.", &format!("`{schema}`.")),
        };
        let block = block.replace("shop_", &self.prefix);
        self.database.db.execute_unprepared(&block).await.unwrap();
        if !self.database.is(DbBackend::Postgres) {
            self.grant_projector(&block).await;
        }
    }

    /// Gives the projector the rights of a writer and of a relay, as the page says where a role
    /// cannot have those of another one.
    async fn grant_projector(&self, block: &str) {
        let prefix = &self.prefix;
        for role in ["writer", "relay"].map(|role| format!("{prefix}{role};")) {
            for line in block.lines().filter(|line| line.starts_with("GRANT ")) {
                if let Some(grant) = line.strip_suffix(&role) {
                    let grant = format!("{grant}{prefix}projector");
                    self.database.db.execute_unprepared(&grant).await.unwrap();
                }
            }
        }
    }

    async fn connect(&self, role: &str) -> DatabaseConnection {
        let (scheme, rest) = self.database.url().split_once("://").unwrap();
        let (_, server) = rest.split_once('@').unwrap();
        // On MySQL a role has rights to the schema, which is a database, and to no other one.
        let server = match (self.outbox.0.schema(), self.database.backend()) {
            (Some(_), DbBackend::MySql) => server.rsplit_once('/').unwrap().0,
            _ => server,
        };
        connect(
            &format!("{scheme}://{}{role}:change-me@{server}", self.prefix),
            3,
        )
        .await
    }

    async fn drop(&self) {
        for role in ROLES.map(|role| format!("{}{role}", self.prefix)) {
            let sql = match self.database.backend() {
                DbBackend::Postgres => format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"),
                _ => format!("DROP USER {role}"),
            };
            let _ = self.database.db.execute_unprepared(&sql).await;
        }
    }
}

/// Refuses what its topic says.
#[derive(Debug)]
struct Picky;

impl Publisher for Picky {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let answer = |delivery: &Delivery| match &*delivery.topic() {
            "bad" => Err(PublishError::permanent("refused")),
            "late" => Err(PublishError::transient("not now")),
            _ => Ok(()),
        };
        batch.iter().map(answer).collect()
    }
}

async fn enqueue(db: &OutboxConnection, events: &[(&str, &str)]) {
    let tx = db.begin().await.unwrap();
    for (topic, key) in events {
        tx.enqueue(topic, key, "{}").unwrap();
    }
    tx.commit().await.unwrap();
}

/// Everything that a service does: with and without a name, few events and many, a chosen id twice.
async fn write(outbox: &Outbox, db: DatabaseConnection) {
    enqueue(&outbox.connection(db.clone()).build(), &[("good", "a")]).await;
    let db = outbox.connection(db).application("shop").build();
    enqueue(
        &db,
        &[
            ("bad", "b"),
            ("good", "b"),
            ("late", "c"),
            ("late", ""),
            ("bad", "d"),
        ],
    )
    .await;
    enqueue(&db, &[("good", "many"); 30]).await;
    let id = Uuid::now_v7();
    for _ in 0..2 {
        let raised = db.transaction_async(async |_| {
            raise_with(AccountOpened {}, |event| event.with_event_id(id))
        });
        raised.await.unwrap();
    }
    remember(&db).await;
}

/// The memory of handlers: with the effect, before and behind it, and what is old is removed.
async fn remember(db: &OutboxConnection) {
    let ids: Vec<_> = (0..3).map(|_| EventId::new()).collect();
    let tx = db.begin().await.unwrap();
    let recorded = tx.record_handled("stock.reserve", ids[0]).await.unwrap();
    assert_eq!(recorded, Some(0));
    let batch = tx.record_batch_handled("stock.count", &ids).await.unwrap();
    assert_eq!(batch.len(), 3);
    tx.commit().await.unwrap();
    assert!(!db.record_skipped("stock.reserve", ids[0], 0).await.unwrap());
    let record = db.handled_record("stock.count", ids[2]).await.unwrap();
    assert!(record.is_done);
    assert_eq!(db.prune_handled(Duration::ZERO, 10).await.unwrap(), 4);
}

/// More attempts than a slow run makes at the event that is never taken.
const RETRY: RetryPolicy = RetryPolicy::exponential(
    Duration::from_millis(500),
    Duration::from_secs(60),
    u32::MAX,
);

/// Publishes, holds, gives up, keeps what is published, and removes it.
async fn relay(outbox: &Outbox, db: DatabaseConnection) {
    let store = || outbox.store(db.clone()).with_application("shop");
    record(&store(), &["*.opened"]).await;
    record(&store(), &["account.*"]).await;
    let relay = Relay::builder(store(), Picky)
        .retry(RETRY)
        .retention(Duration::from_secs(3600))
        .workers(1);
    let report = relay.run_until_empty().await.unwrap();
    assert_eq!(
        (report.tally.published, report.tally.dead),
        (32, 2),
        "{report:?}"
    );
    // The relay has pruned already, so no other prunes for a minute.
    outbox
        .run(&db, "UPDATE bento_outbox_meta SET prune_after = NULL")
        .await
        .unwrap();
    let prune = Prune {
        older_than: Duration::ZERO,
        batch: 100,
        every: Duration::from_secs(1),
    };
    assert_eq!(store().prune(prune).await.unwrap(), Some(32));
}

/// Records a handler that takes nothing of what is written.
async fn record(store: &OutboxStore, event_types: &[&str]) {
    let route = HandlerRoute::new(
        "audit",
        event_types.iter().map(|taken| format!("no-{taken}")),
    );
    store.record_handlers(&[route]).await.unwrap();
}

/// A row that cannot be read is given up as well.
async fn spoil(roles: &Roles<'_>, writer: DatabaseConnection, relay: DatabaseConnection) {
    let outbox = &roles.outbox;
    enqueue(&outbox.connection(writer).build(), &[("good", "spoilt")]).await;
    let spoil = "UPDATE bento_outbox SET routing_version = -7 WHERE aggregate_id = 'spoilt'";
    outbox.run(&roles.database.db, spoil).await.unwrap();
    Relay::builder(outbox.store(relay), Picky)
        .retry(RETRY)
        .workers(1)
        .run_until_empty()
        .await
        .unwrap();
}

/// A replayed event is refused once more: it was held, and is a dead letter again.
async fn relay_again(outbox: &Outbox, db: DatabaseConnection) {
    let relay = Relay::builder(outbox.store(db), Picky)
        .retry(RETRY)
        .workers(1);
    assert_eq!(relay.run_until_empty().await.unwrap().tally.dead, 1);
}

async fn operate(outbox: &Outbox, db: DatabaseConnection) {
    assert!(
        bento_seaorm::validate_stored_with(&db, outbox.0.clone())
            .await
            .is_ok()
    );
    let store = outbox.store(db.clone());
    let taken = store
        .take_unalerted(10, Duration::from_secs(1))
        .await
        .unwrap();
    store
        .settle_alerts(&taken, AlertOutcome::Told)
        .await
        .unwrap();
    assert_eq!(taken.len(), 3);
    assert_eq!(store.counts().await.unwrap().dead, 3);
    store.backlog().await.unwrap();
    store.oldest_pending().await.unwrap();
    store.leases().await.unwrap();
    store.coverage().await.unwrap();

    let operator = Operator::new(&store, "alice");
    let letters = operator.list(&DeadLetterQuery::default()).await.unwrap();
    let refused: Vec<_> = letters
        .iter()
        .filter(|letter| letter.cause == "permanent")
        .collect();
    operator
        .replay_all(&DeadLetterFilter::default(), ReplayMode::DryRun)
        .await
        .unwrap();
    let amendment = Amendment::default().with_header("x-note", "by hand");
    operator
        .amend(refused[0].envelope.event_id, &refused[0].route, &amendment)
        .await
        .unwrap();
    operator
        .replay(refused[0].envelope.event_id, &refused[0].route)
        .await
        .unwrap();
    assert!(
        operator
            .discard(refused[1].envelope.event_id, &refused[1].route, "a test")
            .await
            .unwrap()
    );
    assert_eq!(
        operator
            .discarded(&DeadLetterQuery::default())
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(operator.pause("acme", "a test").await.unwrap());
    assert_eq!(operator.paused().await.unwrap().len(), 1);
    assert!(operator.resume("acme").await.unwrap());
    assert!(operator.pause_handler("audit", "a test").await.unwrap());
    assert_eq!(operator.handlers().await.unwrap().len(), 1);
    assert!(operator.resume_handler("audit").await.unwrap());
    let retired = operator.retire_handler("audit").await.unwrap();
    assert_eq!(retired, Some(Leftovers { held: 0, dead: 0 }));
    outbox
        .run(&db, "SELECT count(*) FROM bento_outbox_status")
        .await
        .unwrap();
}

/// An event is handled again; the discards of [`operate`] look for records too.
async fn handle_again(outbox: &Outbox, relays: DatabaseConnection, operator: DatabaseConnection) {
    record(&outbox.store(relays), &["account.*"]).await;
    let store = outbox.store(operator);
    let operator = Operator::new(&store, "alice");
    let event = Envelope::new("no-account.closed", 1, chrono::Utc::now(), "{}");
    let put_back = operator.handle_envelope_again("audit", &event).await;
    let first = HandledAgain::PutBack { generation: 1 };
    assert_eq!(put_back.unwrap(), first);
    let waits = operator.handle_again("audit", event.event_id).await;
    assert_eq!(waits.unwrap(), HandledAgain::Waits { generation: 1 });
}

async fn refused(outbox: &Outbox, db: &DatabaseConnection, statements: &[&str]) {
    for statement in statements {
        let error = outbox
            .run(db, statement)
            .await
            .expect_err(statement)
            .to_string();
        assert!(error.contains("denied"), "{statement}: {error}");
    }
}

async fn each_role_does_its_work_and_no_more(database: &TestDatabase) {
    roles_work_on(database, TablePrefix::default()).await;
}

async fn each_role_does_the_same_in_a_schema(database: &TestDatabase) {
    let schema = database.create_schema("Billing-EU").await;
    roles_work_on(database, TablePrefix::default().in_schema(schema).unwrap()).await;
}

async fn roles_work_on(database: &TestDatabase, outbox: TablePrefix) {
    let prefix = format!("t{}_", &Uuid::now_v7().simple().to_string()[20..]);
    let roles = Roles {
        database,
        prefix,
        outbox: Outbox(outbox),
    };
    let worked = AssertUnwindSafe(each_does_its_work(&roles))
        .catch_unwind()
        .await;
    roles.drop().await;
    worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

async fn each_does_its_work(roles: &Roles<'_>) {
    roles.run_block(0).await;
    let outbox = &roles.outbox;
    let migration = roles.connect("migration").await;
    bento_seaorm::migrate_with(&migration, outbox.0.clone())
        .await
        .unwrap();
    bento_seaorm::migrate_with(&migration, outbox.0.clone())
        .await
        .unwrap();
    migration.close().await.unwrap();
    roles.run_block(1).await;

    let (writer, relays, projector, consumer, operator) = (
        roles.connect("writer").await,
        roles.connect("relay").await,
        roles.connect("projector").await,
        roles.connect("consumer").await,
        roles.connect("operator").await,
    );
    write(outbox, writer.clone()).await;
    relay(outbox, relays.clone()).await;
    spoil(roles, writer.clone(), relays.clone()).await;
    operate(outbox, operator.clone()).await;
    relay_again(outbox, relays.clone()).await;
    handle_again(outbox, relays.clone(), operator.clone()).await;
    inbox::consume(outbox, consumer.clone()).await;
    inbox::operate(outbox, operator.clone()).await;
    events::append_and_read(outbox, writer.clone()).await;
    events::operate(outbox, operator.clone()).await;
    let views = projections::create_read_model(roles).await;
    projections::project(outbox, projector.clone(), views).await;
    projections::operate(outbox, operator.clone()).await;

    refused(outbox, &writer, &events::REFUSED).await;
    refused(outbox, &projector, &events::REFUSED).await;
    for db in [&writer, &relays, &operator] {
        refused(outbox, db, &projections::REFUSED_TO_OTHERS).await;
    }
    refused(
        outbox,
        &writer,
        &[
            "DELETE FROM bento_outbox",
            "SELECT count(*) FROM bento_relay_shard",
        ],
    )
    .await;
    refused(
        outbox,
        &relays,
        &[
            "UPDATE bento_outbox SET payload = ''",
            "DELETE FROM bento_dead_letter",
        ],
    )
    .await;
    let of_others = [
        "DELETE FROM bento_outbox",
        "DELETE FROM bento_inbox_dead_letter",
    ];
    refused(outbox, &consumer, &of_others).await;
    let of_others = [
        "DELETE FROM bento_outbox",
        "DELETE FROM bento_outbox_held",
        "DELETE FROM bento_relay",
    ];
    refused(outbox, &operator, &of_others).await;
    refused(outbox, &operator, &events::REFUSED).await;
    for db in [writer, relays, projector, consumer, operator] {
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn on_postgres() {
    in_empty_database(DbBackend::Postgres, each_role_does_its_work_and_no_more).await;
}

#[tokio::test]
async fn on_mysql() {
    in_empty_database(DbBackend::MySql, each_role_does_its_work_and_no_more).await;
}

#[tokio::test]
async fn on_postgres_in_a_schema() {
    in_empty_database(DbBackend::Postgres, each_role_does_the_same_in_a_schema).await;
}

#[tokio::test]
async fn on_mysql_in_a_schema() {
    in_empty_database(DbBackend::MySql, each_role_does_the_same_in_a_schema).await;
}
