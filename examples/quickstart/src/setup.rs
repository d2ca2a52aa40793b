//! The parts that every service has, and views of the outbox that a service does not need.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use bento::inspect::{Inspect, StatusCounts};
use bento::outbox::Sharding;
use bento::{Envelope, EventId, OutboxStore, StoreError};
use rust_decimal::Decimal;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::Query;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, EntityTrait,
    PaginatorTrait, Schema,
};

use crate::order;

/// New in every run.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| env::temp_dir().join(format!("bento-quickstart-{}.sqlite", EventId::new())));

/// Connects to `DATABASE_URL`, or to the SQLite file, and makes the tables.
pub async fn connect() -> Result<DatabaseConnection, bento::Report> {
    let url = env::var("DATABASE_URL")
        .unwrap_or_else(|_| format!("sqlite://{}?mode=rwc", FILE.display()));
    let mut options = ConnectOptions::new(url);
    options.sqlx_logging(false);
    let database = Database::connect(options).await?;
    bento::migrate(&database).await?;
    let schema = Schema::new(database.get_database_backend());
    database
        .execute(
            schema
                .create_table_from_entity(order::Entity)
                .if_not_exists(),
        )
        .await?;
    order::Entity::delete_many().exec(&database).await?;
    Ok(database)
}

/// Closes the database, and removes the SQLite file.
pub async fn close(database: DatabaseConnection) -> Result<(), bento::Report> {
    database.close().await?;
    if FILE.exists() {
        fs::remove_file(&*FILE)?;
    }
    Ok(())
}

/// The contents of the outbox: `SELECT status, count(*) FROM bento_outbox_status GROUP BY status`,
/// as an API.
pub async fn outbox(database: &DatabaseConnection) -> Result<String, StoreError> {
    let StatusCounts {
        pending,
        held,
        dead,
    } = OutboxStore::new(database.clone()).counts().await?;
    Ok(format!(
        "the outbox has {pending} pending, {held} held back, {dead} dead"
    ))
}

/// The number of orders.
pub async fn orders(database: &DatabaseConnection) -> Result<u64, DbErr> {
    order::Entity::find().count(database).await
}

/// Leaves a row in the outbox as the first release of the service wrote it: without a currency.
pub async fn insert_version_1_event(
    database: &DatabaseConnection,
    order_id: &str,
) -> Result<(), DbErr> {
    let payload = format!(
        r#"{{"order_id":"{order_id}","total":"{}"}}"#,
        Decimal::new(995, 2)
    );
    let mut envelope = Envelope::new("order.placed", 1, DateTimeUtc::UNIX_EPOCH, payload);
    envelope.aggregate_type = "order".into();
    envelope.aggregate_id = order_id.to_owned();
    let insert = Query::insert()
        .into_table("bento_outbox")
        .columns([
            "shard",
            "event_id",
            "event_type",
            "schema_version",
            "aggregate_type",
            "aggregate_id",
            "occurred_at",
            "headers",
            "payload",
        ])
        .values_panic([
            Sharding::default().shard(&envelope).into(),
            (*envelope.event_id.as_uuid()).into(),
            envelope.event_type.as_ref().into(),
            (envelope.schema_version as i32).into(),
            envelope.aggregate_type.as_ref().into(),
            envelope.aggregate_id.into(),
            envelope.occurred_at.into(),
            Vec::<u8>::new().into(),
            envelope.payload.to_vec().into(),
        ])
        .to_owned();
    database.execute(&insert).await?;
    Ok(())
}
