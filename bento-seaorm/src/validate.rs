//! The check that this binary can decode the stored events.

use bento_core::Registry;
use bento_core::registry::{StoredReport, StoredSchema};
use bento_relay::telemetry::TARGET_INSPECT;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, QueryResult, Statement};

use crate::dialect::{self, Sql};
use crate::error::Error;
use crate::session::Shielded;
use crate::tables::{TablePrefix, Tables};

/// Compares every event type and version in the outbox, the held rows, the dead letters and the
/// event store with those that this binary can decode. Call it before the service starts. Bytes
/// that were enqueued without a Rust type are left out. Payloads are not decoded; a dry run of a
/// replay does that for dead letters.
///
/// [`StoredReport::into_result`] makes an error of versions that this binary has retired. It
/// accepts versions that another release can decode, so that a service starts after a rollback;
/// these are a warning in the log.
///
/// It reads three tables once; they are short unless a backlog waits. Of the event store it reads
/// two entries of an index for each event type and version, however many events there are, and so
/// it does not count them.
///
/// ```no_run
/// # type Started = Result<(), Box<dyn std::error::Error>>;
/// # async fn start(database: sea_orm::DatabaseConnection) -> Started {
/// bento_seaorm::validate_stored(&database).await?.into_result()?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::NotMigrated`] without the tables, else what the database says.
///
/// # Cancel safety
/// It only reads: nothing is lost.
pub async fn validate_stored(db: &DatabaseConnection) -> Result<StoredReport, Error> {
    validate_stored_with(db, TablePrefix::default()).await
}

/// Like [`validate_stored`], for tables with another prefix or schema.
///
/// # Errors
/// As [`validate_stored`], and [`Error::NoSchemas`] if a schema is named on SQLite.
///
/// # Cancel safety
/// It only reads: nothing is lost.
pub async fn validate_stored_with(
    db: &DatabaseConnection,
    prefix: TablePrefix,
) -> Result<StoredReport, Error> {
    let report = Registry::global().check_stored(stored(db, prefix).await?);
    for finding in report.of_another_release() {
        tracing::warn!(target: TARGET_INSPECT, "this binary cannot decode {finding}");
    }
    Ok(report)
}

async fn stored(db: &DatabaseConnection, prefix: TablePrefix) -> Result<Vec<StoredSchema>, Error> {
    let backend = db.get_database_backend();
    let tables = Tables::new(prefix).on(backend);
    let dialect = dialect::for_tables(backend, &tables)?;
    let count = |(place, table): (&str, &str)| {
        format!(
            "SELECT event_type, schema_version, count(*), '{place}' FROM {table} WHERE \
             schema_version > 0 GROUP BY event_type, schema_version"
        )
    };
    let counts = [
        ("outbox", tables.outbox()),
        ("held rows", tables.held()),
        ("dead letters", tables.dead_letter()),
    ];
    let counts = format!("{} ORDER BY 1, 2, 4", counts.map(count).join(" UNION ALL "));
    let counts = Statement::from_string(backend, counts);
    let versions = Sql::new(dialect, &tables, dialect.stored_versions(), []).build();
    let mut stored = read(db, counts, counted).await?;
    stored.extend(read(db, versions, of_event_store).await?);
    Ok(stored)
}

async fn read(
    db: &DatabaseConnection,
    select: Statement,
    read: impl Fn(&QueryResult) -> Result<StoredSchema, DbErr>,
) -> Result<Vec<StoredSchema>, Error> {
    let rows = Shielded::new(db.clone()).query_all_raw(select).await;
    let rows = rows.and_then(|rows| rows.iter().map(read).collect());
    rows.map_err(|error| Error::from_statement(db.get_database_backend(), error))
}

fn counted(row: &QueryResult) -> Result<StoredSchema, DbErr> {
    Ok(StoredSchema {
        schema: row.try_get_by_index(0)?,
        version: row.try_get_by_index::<i32>(1)?.cast_unsigned(),
        count: Some(row.try_get_by_index::<i64>(2)?.cast_unsigned()),
        place: row.try_get_by_index(3)?,
    })
}

fn of_event_store(row: &QueryResult) -> Result<StoredSchema, DbErr> {
    Ok(StoredSchema {
        schema: row.try_get_by_index(0)?,
        version: row.try_get_by_index::<i32>(1)?.cast_unsigned(),
        count: None,
        place: "event store".to_owned(),
    })
}
