//! Outboxes in schemas of their own: a service for each, a tenant for each, and what is said where
//! a schema or a table is missing.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use bento_core::{domain_event, raise};
use bento_relay::Relay;
use bento_relay::dead_letter::{DeadLetterQuery, Operator};
use bento_relay::inspect::Inspect;
use bento_relay::publish::{Delivery, MemoryPublisher, PublishError, Publisher};
use bento_relay::store::RelayStore;
use bento_seaorm::migration::{PrefixedMigrator, migrations_with, up_alone};
use bento_seaorm::{
    Error, OutboxConnection, OutboxStore, TablePrefix, Tables, bento_error, migrate, migrate_with,
    validate_stored, validate_stored_with,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};

use self::support::{TestDatabase, connect, in_database, in_empty_database};

macro_rules! on_both_servers {
    ($($rule:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                crate::in_empty_database(sea_orm::DbBackend::Postgres, super::$rule).await;
            })+
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                crate::in_empty_database(sea_orm::DbBackend::MySql, super::$rule).await;
            })+
        }
    };
}

on_both_servers!(
    a_service_for_each_schema_publishes_its_own_events_alone,
    a_tenant_for_each_schema_has_an_outbox_of_its_own,
    a_schema_is_migrated_once_however_many_processes_start,
    tables_that_were_migrated_without_naming_their_schema_are_known_when_it_is_named,
    schemas_splice_into_one_migrator,
    a_schema_that_is_missing_is_named_with_the_statement_that_creates_it,
    a_session_without_a_schema_is_told_so_and_needs_none_if_one_is_named,
    a_table_that_is_missing_is_named_with_the_place_that_was_searched,
);

/// The events of each service.
#[domain_event(schema = "order.placed", version = 1)]
#[derive(Debug)]
struct OrderPlaced {
    service: String,
}

/// An outbox in a schema, and who uses it.
struct Service {
    prefix: TablePrefix,
    db: OutboxConnection,
    store: OutboxStore,
}

impl Service {
    async fn start(database: &TestDatabase, schema: &str) -> Self {
        let prefix = TablePrefix::default()
            .in_schema(database.create_schema(schema).await)
            .unwrap();
        migrate_with(&database.db, prefix.clone()).await.unwrap();
        Self::of(database.db.clone(), prefix)
    }

    /// With a name of its own, which its outbox records.
    fn of(db: DatabaseConnection, prefix: TablePrefix) -> Self {
        let application = prefix.schema().unwrap().to_owned();
        let store = OutboxStore::new(db.clone()).with_tables(Tables::new(prefix.clone()));
        let store = store.with_application(application.clone());
        let db = OutboxConnection::builder(db)
            .table_prefix(prefix.clone())
            .application(application)
            .build();
        Self { prefix, db, store }
    }

    async fn place(&self, count: usize) {
        let service = self.prefix.schema().unwrap();
        let placing = async |_: &_| {
            for _ in 0..count {
                raise(OrderPlaced {
                    service: service.to_owned(),
                })
                .unwrap();
            }
            Ok::<_, DbErr>(())
        };
        self.db.transaction_async(placing).await.unwrap();
    }

    /// The events that its relay publishes.
    async fn publish(&self) -> Vec<String> {
        let broker = MemoryPublisher::new();
        Relay::builder(self.store.clone(), broker.clone())
            .run_until_empty()
            .await
            .unwrap();
        broker
            .published()
            .iter()
            .map(|delivery| String::from_utf8_lossy(&delivery.envelope.payload).into_owned())
            .collect()
    }

    async fn number(&self, select: &str, rest: &str) -> i64 {
        let backend = self.db.get_database_backend();
        let tables = Tables::new(self.prefix.clone()).on(backend);
        let table = tables.outbox().replace("bento_outbox", rest);
        let sql = Statement::from_string(backend, format!("{select} FROM {table}"));
        self.db
            .query_one_raw(sql)
            .await
            .unwrap()
            .unwrap()
            .try_get_by_index(0)
            .unwrap()
    }
}

/// Refuses everything for good.
#[derive(Debug)]
struct Refusing;

impl Publisher for Refusing {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        batch
            .iter()
            .map(|_| Err(PublishError::permanent("refused")))
            .collect()
    }
}

/// The objects of Bento in the schema or database that the connection looks into.
async fn own_tables(database: &TestDatabase) -> i64 {
    let schema = if database.is(DbBackend::Postgres) {
        "current_schema()"
    } else {
        "database()"
    };
    let count = "SELECT count(*) FROM information_schema.tables WHERE table_name LIKE 'bento%' \
                 AND table_schema = ";
    database.number(&format!("{count}{schema}")).await
}

async fn a_service_for_each_schema_publishes_its_own_events_alone(database: &TestDatabase) {
    let (billing, user) = (
        Service::start(database, "Billing-EU").await,
        Service::start(database, "user").await,
    );
    assert_eq!(
        own_tables(database).await,
        0,
        "nothing is made where the connection looks"
    );
    billing.place(2).await;
    // More than what multi-row VALUES is used for.
    user.place(60).await;
    for (service, count) in [(&billing, 2), (&user, 60)] {
        let tables = Tables::new(service.prefix.clone());
        let stored = validate_stored_with(&database.db, &tables).await.unwrap();
        assert!(stored.is_complete(), "{stored}");
        assert_eq!(
            service
                .number("SELECT count(*)", "bento_outbox_status")
                .await,
            count
        );
        assert_eq!(
            service.store.counts().await.unwrap().pending,
            count.cast_unsigned()
        );
        assert_eq!(
            service.number("SELECT count(*)", "bento_migration").await,
            1
        );
    }
    let published = billing.publish().await;
    assert_eq!(published.len(), 2);
    assert!(
        published
            .iter()
            .all(|payload| payload.contains("Billing-EU")),
        "{published:?}"
    );
    assert_eq!(
        user.store.counts().await.unwrap().pending,
        60,
        "the relay of another schema takes none"
    );

    Relay::builder(user.store.clone(), Refusing)
        .run_until_empty()
        .await
        .unwrap();
    let (of_billing, of_user) = (
        Operator::new(&billing.store, "alice"),
        Operator::new(&user.store, "alice"),
    );
    assert_eq!(
        of_billing
            .list(&DeadLetterQuery::default())
            .await
            .unwrap()
            .len(),
        0
    );
    for letter in of_user.list(&DeadLetterQuery::default()).await.unwrap() {
        of_user
            .replay(letter.envelope.event_id, &letter.route)
            .await
            .unwrap();
    }
    let published = user.publish().await;
    assert_eq!(published.len(), 60);
    assert!(
        published.iter().all(|payload| payload.contains("user")),
        "{published:?}"
    );
    let other = billing
        .store
        .clone()
        .with_application("shop")
        .open()
        .await
        .unwrap_err();
    assert!(
        other.to_string().contains("Billing-EU"),
        "each outbox has a name of its own: {other}"
    );
}

async fn a_tenant_for_each_schema_has_an_outbox_of_its_own(database: &TestDatabase) {
    let mut tenants = Vec::new();
    for tenant in ["acme", "0198c0de-7f1a", "globex"] {
        tenants.push(Service::start(database, tenant).await);
    }
    for tenant in &tenants {
        tenant.place(1).await;
    }
    let operator = Operator::new(&tenants[0].store, "alice");
    assert!(operator.pause("acme", "a test").await.unwrap());
    for tenant in &tenants {
        let published = tenant.publish().await;
        assert_eq!(published.len(), 1);
        assert!(
            published[0].contains(tenant.prefix.schema().unwrap()),
            "{published:?}"
        );
    }
    assert!(
        Operator::new(&tenants[1].store, "alice")
            .paused()
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_schema_is_migrated_once_however_many_processes_start(database: &TestDatabase) {
    let prefix = TablePrefix::default()
        .in_schema(database.create_schema("billing").await)
        .unwrap();
    let pools = futures_util::future::join_all((0..6).map(|_| database.connect(1))).await;
    for _ in 0..2 {
        let all = pools.iter().map(|db| migrate_with(db, prefix.clone()));
        for migrated in futures_util::future::join_all(all).await {
            migrated.unwrap();
        }
    }
    let service = Service::of(database.db.clone(), prefix.clone());
    assert_eq!(
        service.number("SELECT count(*)", "bento_migration").await,
        1
    );
    // The tables without a schema are others.
    migrate(&database.db).await.unwrap();
    let dropped = Tables::new(prefix.clone()).on(database.backend());
    database
        .db
        .execute_unprepared(&format!("DROP TABLE {}", dropped.paused_tenant()))
        .await
        .unwrap();
    migrate_with(&database.db, prefix).await.unwrap();
    service.place(1).await;
    assert_eq!(service.publish().await.len(), 1);

    let newer = service.number("SELECT count(*)", "bento_migration").await;
    let record = dropped.outbox().replace("bento_outbox", "bento_migration");
    let insert = format!(
        "INSERT INTO {record} (version, applied_at) VALUES ('m2030_of_a_newer_version', 0)"
    );
    database.db.execute_unprepared(&insert).await.unwrap();
    let refused = migrate_with(&database.db, service.prefix.clone())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        newer == 1 && refused.contains("`m2030_of_a_newer_version`"),
        "{refused}"
    );
}

async fn tables_that_were_migrated_without_naming_their_schema_are_known_when_it_is_named(
    database: &TestDatabase,
) {
    let schema = database.create_schema("billing").await;
    let prefix = TablePrefix::default().in_schema(&schema).unwrap();
    let led = database.connect_to_schema(&schema).await;
    migrate(&led).await.unwrap();
    let service = Service::of(database.db.clone(), prefix.clone());
    service.place(1).await;
    for _ in 0..2 {
        migrate_with(&database.db, prefix.clone()).await.unwrap();
        migrate(&led).await.unwrap();
    }
    assert_eq!(
        service.number("SELECT count(*)", "bento_migration").await,
        1
    );
    assert_eq!(service.publish().await.len(), 1);
    led.close().await.unwrap();

    let other = database.create_schema("Sales").await;
    let prefix = TablePrefix::default().in_schema(&other).unwrap();
    let led = database.connect_to_schema(&other).await;
    MigratorTraitSelf::up(&PrefixedMigrator(prefix.clone()), &led, None)
        .await
        .unwrap();
    migrate_with(&database.db, prefix.clone()).await.unwrap();
    let service = Service::of(database.db.clone(), prefix);
    assert_eq!(
        service.number("SELECT count(*)", "bento_migration").await,
        1
    );
    service.place(1).await;
    led.close().await.unwrap();
}

/// The migrations of two outboxes.
struct Spliced(TablePrefix, TablePrefix);

impl MigratorTraitSelf for Spliced {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        [self.0.clone(), self.1.clone()]
            .into_iter()
            .flat_map(migrations_with)
            .collect()
    }
}

async fn schemas_splice_into_one_migrator(database: &TestDatabase) {
    let of = async |name| {
        TablePrefix::default()
            .in_schema(database.create_schema(name).await)
            .unwrap()
    };
    let (billing, sales) = (of("billing").await, of("Sales").await);
    let migrator = Spliced(billing.clone(), sales.clone());
    migrator.up(&database.db, None).await.unwrap();
    up_alone(&database.db, Spliced(billing.clone(), sales.clone()))
        .await
        .unwrap();
    for prefix in [billing.clone(), sales.clone()] {
        let service = Service::of(database.db.clone(), prefix);
        service.place(1).await;
        assert_eq!(service.publish().await.len(), 1);
    }
    // The last one goes, and the other is left alone.
    migrator.down(&database.db, Some(1)).await.unwrap();
    let gone = validate_stored_with(&database.db, &Tables::new(sales))
        .await
        .unwrap_err();
    assert!(matches!(gone, Error::NotMigrated { .. }), "{gone:?}");
    assert!(
        validate_stored_with(&database.db, &Tables::new(billing))
            .await
            .unwrap()
            .is_complete()
    );
}

async fn a_schema_that_is_missing_is_named_with_the_statement_that_creates_it(
    database: &TestDatabase,
) {
    let missing = format!("{}-Gone", database.name());
    let prefix = TablePrefix::default().in_schema(&missing).unwrap();
    let create = match database.backend() {
        DbBackend::Postgres => format!("CREATE SCHEMA \"{missing}\""),
        _ => format!("CREATE DATABASE `{missing}`"),
    };
    let migrator = || Spliced(prefix.clone(), TablePrefix::default());
    let by_seaorm = migrator().up(&database.db, None).await.unwrap_err();
    assert!(
        matches!(bento_error(&by_seaorm), Some(Error::NoSchema { .. })),
        "{by_seaorm:?}"
    );
    let refused = [
        migrate_with(&database.db, prefix.clone())
            .await
            .unwrap_err(),
        up_alone(&database.db, migrator()).await.unwrap_err(),
    ];
    for error in refused {
        assert!(
            matches!(&error, Error::NoSchema { schema: Some(schema), .. } if *schema == missing),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(&format!("`{missing}`")) && text.contains(&create),
            "{text}"
        );
    }
    database.db.execute_unprepared(&create).await.unwrap();
    migrate_with(&database.db, prefix.clone()).await.unwrap();
    Service::of(database.db.clone(), prefix).place(1).await;
}

/// A pool of connections that look into no schema.
async fn without_a_schema(database: &TestDatabase) -> DatabaseConnection {
    match database.backend() {
        DbBackend::Postgres => {
            connect(
                &format!("{}?options=-csearch_path%3Dnowhere", database.url()),
                2,
            )
            .await
        }
        _ => connect(database.url().rsplit_once('/').unwrap().0, 2).await,
    }
}

async fn a_session_without_a_schema_is_told_so_and_needs_none_if_one_is_named(
    database: &TestDatabase,
) {
    let db = without_a_schema(database).await;
    let refused = migrate(&db).await.unwrap_err();
    assert!(
        matches!(refused, Error::NoSchema { schema: None, .. }),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("`TablePrefix::in_schema`"),
        "{refused}"
    );
    let prefix = TablePrefix::default()
        .in_schema(database.create_schema("billing").await)
        .unwrap();
    migrate_with(&db, prefix.clone()).await.unwrap();
    let service = Service::of(db.clone(), prefix);
    service.place(30).await;
    assert_eq!(service.publish().await.len(), 30);
    db.close().await.unwrap();
}

async fn refusal_of_a_flush(db: &OutboxConnection) -> Error {
    let raising = async |_: &_| {
        raise(OrderPlaced {
            service: String::new(),
        })
        .unwrap();
        Ok::<_, Error>(())
    };
    db.transaction_async(raising).await.unwrap_err().into()
}

async fn a_table_that_is_missing_is_named_with_the_place_that_was_searched(
    database: &TestDatabase,
) {
    let db = &database.db;
    let name = database.name();
    let is_postgres = database.is(DbBackend::Postgres);
    let place = if is_postgres {
        "in the `search_path`".to_owned()
    } else {
        format!("in database `{name}`")
    };
    let begins = format!("table `bento_outbox_meta` is missing {place}");
    let flushed = refusal_of_a_flush(&OutboxConnection::new(db.clone()))
        .await
        .to_string();
    assert!(
        flushed.starts_with(&begins) && flushed.contains("bento::migrate(&db)"),
        "{flushed}"
    );
    for way_out in ["`TablePrefix::in_schema`", "`SHOW search_path`"] {
        assert_eq!(flushed.contains(way_out), is_postgres, "{flushed}");
    }
    let opened = OutboxStore::new(db.clone())
        .open()
        .await
        .unwrap_err()
        .to_string();
    assert!(opened.starts_with(&begins), "{opened}");
    if is_postgres {
        let path = format!("`\"$user\", public` in database `{name}`");
        assert!(
            opened.contains(&path),
            "the relay tells the path of its sessions: {opened}"
        );
    }
    let validated = validate_stored(db).await.unwrap_err().to_string();
    assert!(validated.contains(&place), "{validated}");

    let schema = database.create_schema("empty").await;
    let prefix = TablePrefix::default().in_schema(&schema).unwrap();
    let place = format!(
        " is missing in {} `{schema}`; run",
        if is_postgres { "schema" } else { "database" }
    );
    let service = Service::of(db.clone(), prefix.clone());
    let flushed = refusal_of_a_flush(&service.db).await.to_string();
    assert!(
        flushed.starts_with(&format!("table `bento_outbox_meta`{place}")),
        "{flushed}"
    );
    let opened = service.store.open().await.unwrap_err().to_string();
    assert!(opened.contains(&place), "{opened}");
    let validated = validate_stored_with(db, &Tables::new(prefix))
        .await
        .unwrap_err()
        .to_string();
    assert!(validated.contains(&place), "{validated}");
}

/// A tenant's own tables are found along the path of its transaction, and the outbox is where it
/// always is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_in_a_schema_is_found_whatever_the_search_path_of_a_transaction_is() {
    in_empty_database(DbBackend::Postgres, async |database| {
        let service = Service::start(database, "app").await;
        for tenant in ["acme", "globex"] {
            let schema = database.create_schema(tenant).await;
            database
                .db
                .execute_unprepared(&format!("CREATE TABLE {schema}.orders (id bigint)"))
                .await
                .unwrap();
        }
        for path in ["acme", "globex", "pg_catalog", "nowhere", ""] {
            let placing = async |tx: &bento_seaorm::OutboxTransaction| {
                let path = format!("SET LOCAL search_path = '{path}'");
                tx.execute_unprepared(&path).await?;
                let has_orders = path.contains("acme") || path.contains("globex");
                if has_orders {
                    tx.execute_unprepared("INSERT INTO orders VALUES (1)")
                        .await?;
                }
                raise(OrderPlaced {
                    service: path.clone(),
                })
                .unwrap();
                Ok::<_, DbErr>(())
            };
            service.db.transaction_async(placing).await.unwrap();
        }
        assert_eq!(database.number("SELECT count(*) FROM acme.orders").await, 1);
        assert_eq!(service.publish().await.len(), 5);
    })
    .await;
}

/// One connection, whose transactions choose the schema of their tenant, each with an outbox of its
/// own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_schema_the_outbox_is_where_the_search_path_of_the_transaction_leads() {
    in_empty_database(DbBackend::Postgres, async |database| {
        let tenants = [
            Service::start(database, "acme").await,
            Service::start(database, "globex").await,
        ];
        let db = OutboxConnection::new(database.db.clone());
        for tenant in &tenants {
            let schema = tenant.prefix.schema().unwrap();
            let placing = async |tx: &bento_seaorm::OutboxTransaction| {
                tx.execute_unprepared(&format!("SET LOCAL search_path = {schema}"))
                    .await?;
                raise(OrderPlaced {
                    service: schema.to_owned(),
                })
                .unwrap();
                Ok::<_, DbErr>(())
            };
            db.transaction_async(placing).await.unwrap();
        }
        for tenant in &tenants {
            let published = tenant.publish().await;
            assert_eq!(published.len(), 1);
            assert!(
                published[0].contains(tenant.prefix.schema().unwrap()),
                "{published:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn sqlite_refuses_a_schema_and_says_what_to_use_for_it() {
    in_database(DbBackend::Sqlite, async |database| {
        let prefix = TablePrefix::default().in_schema("billing").unwrap();
        let service = Service::of(database.db.clone(), prefix.clone());
        let refused = [
            migrate_with(&database.db, prefix.clone())
                .await
                .unwrap_err(),
            up_alone(
                &database.db,
                Spliced(TablePrefix::default(), prefix.clone()),
            )
            .await
            .unwrap_err(),
            validate_stored_with(&database.db, &Tables::new(prefix))
                .await
                .unwrap_err(),
            refusal_of_a_flush(&service.db).await,
        ];
        for error in refused {
            assert!(
                matches!(&error, Error::NoSchemas { schema, .. } if schema == "billing"),
                "{error:?}"
            );
            assert!(
                error
                    .to_string()
                    .contains("TablePrefix::new(\"billing_bento_\")"),
                "{error}"
            );
        }
        let opened = bento_core::report::with_causes(&service.store.open().await.unwrap_err());
        assert!(
            opened.contains("TablePrefix::new(\"billing_bento_\")"),
            "{opened}"
        );
    })
    .await;
}
