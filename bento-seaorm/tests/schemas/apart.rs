//! Outboxes in several schemas of one database: a service for each, a tenant for each.

use bento_core::raise;
use bento_relay::Relay;
use bento_relay::dead_letter::{DeadLetterQuery, Operator};
use bento_relay::inspect::Inspect;
use bento_relay::publish::{Delivery, PublishError, Publisher};
use bento_relay::store::RelayStore;
use bento_seaorm::migration::migrations;
use bento_seaorm::{OutboxConnection, validate_stored_with};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};

use crate::service::{OrderPlaced, Service};
use crate::support::{TestDatabase, in_empty_database};

on_both_servers!(
    a_service_for_each_schema_publishes_its_own_events_alone,
    a_tenant_for_each_schema_has_an_outbox_of_its_own,
);

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
        let prefix = service.prefix.clone();
        let stored = validate_stored_with(&database.db, prefix).await.unwrap();
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
            migrations().len() as i64
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

/// A tenant's own tables are found along the path of its transaction, and the outbox is where it
/// always is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_in_a_schema_is_found_by_every_search_path() {
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
async fn without_a_schema_the_search_path_leads_to_the_outbox() {
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
