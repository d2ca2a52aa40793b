//! Dead letters in the database: list, replay, discard.
//!
//! Replaying and discarding first lock the lease of the shard and raise its revision, so they never meet the relay half way, and it
//! learns of them with its next call. Neither touches the outbox.

use std::collections::BTreeSet;
use std::sync::Arc;

use bento_core::dead_letter::{DeadLetter, DeadLetterQuery, DeadLetters, Replayed};
use bento_core::id::EventId;
use bento_core::outbox::ShardId;
use bento_core::relay::store::{StoreError, StreamKey};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use crate::dialect::{Dialect, Sql};
use crate::entity::{MOVED, envelope_at, names_at, written_columns};
use crate::relay_store::{OutboxStore, StoreFailure, Tries, park_or_promote, store_error};
use crate::tables::Tables;

/// How many are listed without a limit.
const DEFAULT_LIMIT: u64 = 100;

impl DeadLetters for OutboxStore {
    async fn list(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let dialect = self.dialect()?;
        let rows = self.connection().query_all_raw(list_statement(dialect, self.tables(), query).build()).await;
        let letters = rows.and_then(|rows| rows.iter().map(letter).collect());
        letters.map_err(|error| store_error(dialect.backend(), error))
    }

    async fn replay(&self, event_id: EventId, destination: &str) -> Result<Replayed, StoreError> {
        let row = removed(self, event_id, destination, Fate::Replayed).await?;
        Ok(row.map_or_else(Replayed::default, |row| Replayed {
            replayed: true,
            later_ones_out: !row.parks && !row.aggregate_id.is_empty(),
        }))
    }

    async fn discard(&self, event_id: EventId, destination: &str) -> Result<bool, StoreError> {
        Ok(removed(self, event_id, destination, Fate::Discarded).await?.is_some())
    }
}

fn list_statement(dialect: &'static dyn Dialect, tables: &Tables, query: &DeadLetterQuery) -> Sql {
    let select = format!(
        "SELECT destination, shard, position, attempts, cause, error_message, failed_at, parks, delivered, {} FROM {} WHERE 1 = 1",
        written_columns(),
        tables.dead_letter()
    );
    let mut sql = Sql::new(dialect, &select);
    let aggregate = query.aggregate.as_ref();
    let filters = [
        ("event_type", query.event_type.as_ref()),
        ("tenant_id", query.tenant_id.as_ref()),
        ("destination", query.destination.as_ref()),
        ("aggregate_type", aggregate.map(|(kind, _)| kind)),
        ("aggregate_id", aggregate.map(|(_, id)| id)),
    ];
    for (column, asked) in filters {
        if let Some(asked) = asked {
            sql = sql.push(&format!(" AND {column} = ")).bind(asked.as_str());
        }
    }
    if let Some((failed_at, event_id)) = query.after {
        let failed_at = || dialect.time(failed_at);
        sql = sql.push(" AND (failed_at > ").bind(failed_at()).push(" OR (failed_at = ").bind(failed_at());
        sql = sql.push(" AND event_id > ").bind(Uuid::from(event_id)).push("))");
    }
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit };
    sql.push(" ORDER BY failed_at, event_id LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX))
}

fn letter(row: &QueryResult) -> Result<DeadLetter, DbErr> {
    let mut letter = DeadLetter::new(
        row.try_get_by_index::<String>(0)?.into(),
        row.try_get_by_index(1)?,
        row.try_get_by_index(2)?,
        row.try_get_by_index::<i32>(3)?.cast_unsigned(),
        row.try_get_by_index(4)?,
        row.try_get_by_index(5)?,
        row.try_get_by_index(6)?,
        row.try_get_by_index(7)?,
        Arc::new(envelope_at(row, 9)?),
    );
    letter.delivered = names_at(row, 8)?;
    Ok(letter)
}

/// What is known of a dead letter before it is removed.
struct Row {
    shard: ShardId,
    aggregate_type: String,
    aggregate_id: String,
    parks: bool,
}

/// What becomes of a dead letter that is removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Replayed,
    Discarded,
}

/// Removes a dead letter and returns what it was. Nothing if it is not there.
async fn removed(
    store: &OutboxStore,
    event_id: EventId,
    destination: &str,
    fate: Fate,
) -> Result<Option<Row>, StoreError> {
    let mut tries = Tries::new(store.connection().get_database_backend());
    loop {
        match removed_once(store, event_id, destination, fate).await {
            Ok(row) => return Ok(row),
            Err(failure) => tries.again(failure)?,
        }
    }
}

async fn removed_once(
    store: &OutboxStore,
    event_id: EventId,
    destination: &str,
    fate: Fate,
) -> Result<Option<Row>, StoreFailure> {
    let (tx, dialect) = store.begin().await?;
    let removal = Removal { tx: &tx, dialect, tables: store.tables(), event_id: event_id.into(), destination };
    let Some(row) = removal.find().await? else { return Ok(None) };
    removal.lock(row.shard).await?;
    if fate == Fate::Replayed {
        removal.hold(&row).await?;
    }
    if removal.remove().await? == 0 {
        return Ok(None);
    }
    removal.let_go_on(&row).await?;
    tx.commit().await?;
    Ok(Some(row))
}

/// The removal of one dead letter and its transaction.
struct Removal<'a> {
    tx: &'a DatabaseTransaction,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    event_id: Uuid,
    destination: &'a str,
}

impl Removal<'_> {
    async fn find(&self) -> Result<Option<Row>, DbErr> {
        let select = self.of_letter(self.sql("SELECT shard, aggregate_type, aggregate_id, parks"));
        let row = self.tx.query_one_raw(select.build()).await?;
        row.map(|row| {
            Ok(Row {
                shard: row.try_get_by_index(0)?,
                aggregate_type: row.try_get_by_index(1)?,
                aggregate_id: row.try_get_by_index(2)?,
                parks: row.try_get_by_index(3)?,
            })
        })
        .transpose()
    }

    async fn lock(&self, shard: ShardId) -> Result<(), DbErr> {
        let raise = format!("UPDATE {} SET revision = revision + 1 WHERE shard = ", self.tables.shard());
        self.tx.execute_raw(self.sql(&raise).bind(shard).build()).await?;
        Ok(())
    }

    /// Copies the dead letter to the held rows as if it had never been tried, but for those who got it nevertheless. It takes its
    /// place again if its aggregate has waited for it; otherwise it is due at once.
    async fn hold(&self, row: &Row) -> Result<(), DbErr> {
        let held = self.tables.held();
        let due = if row.parks { "NULL" } else { self.dialect.now() };
        let insert = self.sql(&format!(
            "INSERT INTO {held} (shard, position, destination, {MOVED}, ordered, attempts, retry_after, delivered) \
             SELECT shard, position, destination, {MOVED}, parks, 0, {due}, delivered"
        ));
        let insert = self.of_letter(insert).push(&self.dialect.or_leave(held, &["shard", "destination", "position"]));
        self.tx.execute_raw(insert.build()).await?;
        Ok(())
    }

    async fn remove(&self) -> Result<u64, DbErr> {
        Ok(self.tx.execute_raw(self.of_letter(self.sql("DELETE")).build()).await?.rows_affected())
    }

    /// The aggregate goes on, unless another dead letter parks it.
    async fn let_go_on(&self, row: &Row) -> Result<(), DbErr> {
        if row.aggregate_id.is_empty() {
            return Ok(());
        }
        let stream = StreamKey {
            destination: self.destination.into(),
            aggregate_type: row.aggregate_type.clone(),
            aggregate_id: row.aggregate_id.clone(),
        };
        park_or_promote(self.tx, self.dialect, self.tables, row.shard, &BTreeSet::from([stream])).await
    }

    fn of_letter(&self, sql: Sql) -> Sql {
        sql.push(&format!(" FROM {} WHERE event_id = ", self.tables.dead_letter()))
            .bind(self.event_id)
            .push(" AND destination = ")
            .bind(self.destination)
    }

    fn sql(&self, text: &str) -> Sql {
        Sql::new(self.dialect, text)
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use sea_orm::{DatabaseConnection, DbBackend, Statement};

    use super::*;
    use crate::dialect;
    use crate::test_database::on_postgres;

    const MANY: &str = "
        INSERT INTO bento_dead_letter (shard, position, destination, event_id, event_type, schema_version, aggregate_type,
            aggregate_id, occurred_at, payload, attempts, error_message, cause, parks, first_failed_at, failed_at)
        SELECT n % 64, n, 'default', gen_random_uuid(), 'thing.happened', 1, 'thing', n::text, now(), '', 5, '', 'permanent',
            true, now(), now() FROM generate_series(1, 20000) n";

    async fn plan(db: &DatabaseConnection, query: &DeadLetterQuery) -> String {
        let list = list_statement(dialect::of(DbBackend::Postgres).unwrap(), &Tables::default(), query).build();
        let explain = format!("EXPLAIN {}", list.sql);
        let explain = Statement::from_sql_and_values(DbBackend::Postgres, explain, list.values.unwrap());
        let rows = db.query_all_raw(explain).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn the_dead_letters_of_an_aggregate_are_found_by_an_index() {
        on_postgres(async |db| {
            db.execute_unprepared(MANY).await.unwrap();
            db.execute_unprepared("ANALYZE bento_dead_letter").await.unwrap();
            let mut query = DeadLetterQuery::default();
            query.aggregate = Some(("thing".to_owned(), "17".to_owned()));
            let plan = plan(&db, &query).await;
            assert!(plan.contains("bento_dead_letter_aggregate") && !plan.contains("Seq Scan"), "{plan}");
        })
        .await;
    }
}
