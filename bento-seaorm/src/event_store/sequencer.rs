//! The order of all events on MySQL and MariaDB, which say nothing of the order of commits.
//!
//! Each append leaves a row without a position in the log. Before all events are read, the rows of
//! committed appends get the next positions. One transaction at a time gives positions: it holds
//! the row of the sequencer until its commit. So no position becomes visible below one that was.

use sea_orm::{ConnectionTrait, DbErr};

use crate::connection::OutboxConnection;
use crate::dialect::{self, Dialect, Sql, binds};
use crate::error::Error;
use crate::session;
use crate::tables::Tables;
use crate::transaction::OutboxTransaction;

/// The number of events that get their positions in one transaction.
const AT_ONCE: u64 = 500;

/// Gives positions to the events that are committed and have none. Does nothing where positions are
/// given by the database.
///
/// # Errors
/// An error of the database.
pub(crate) async fn run(db: &OutboxConnection) -> Result<(), Error> {
    let dialect = dialect::of(db.get_database_backend())?;
    if !dialect.logs_events() {
        return Ok(());
    }
    let refused = |error| Error::from_statement(dialect.backend(), error);
    // Most of the time there is none, and nothing needs a lock.
    while is_behind(db, dialect, db.tables()).await.map_err(refused)? {
        let (connection, tables) = (db.inner().clone(), db.tables().clone());
        let numbered = session::to_the_end(async move {
            let tx = session::begin(&connection, dialect.relay_transaction(), None).await?;
            number(&tx, dialect, &tables).await?;
            tx.commit().await
        });
        numbered.await.map_err(refused)?;
    }
    Ok(())
}

/// Does the same within a transaction at READ COMMITTED, which then holds the row of the sequencer
/// to its end: every event that is committed when this begins has its position in it.
///
/// # Errors
/// An error of the database.
pub(crate) async fn run_within(tx: &OutboxTransaction) -> Result<(), Error> {
    let dialect = dialect::of(tx.get_database_backend())?;
    if !dialect.logs_events() {
        return Ok(());
    }
    let refused = |error| Error::from_statement(dialect.backend(), error);
    while is_behind(tx, dialect, tx.tables()).await.map_err(refused)? {
        let numbered = number(tx, dialect, tx.tables()).await;
        numbered.map_err(refused)?;
    }
    Ok(())
}

async fn is_behind<C: ConnectionTrait>(
    db: &C,
    dialect: &'static dyn Dialect,
    tables: &Tables,
) -> Result<bool, DbErr> {
    let any = "SELECT 1 FROM {event_log} WHERE position IS NULL LIMIT 1";
    let any = Sql::new(dialect, tables, any, binds![]).build();
    Ok(db.query_one_raw(any).await?.is_some())
}

/// Gives the next positions to the rows that have none, in the order of their numbers: those of an
/// aggregate were given while its head was locked.
async fn number<C: ConnectionTrait>(
    tx: &C,
    dialect: &'static dyn Dialect,
    tables: &Tables,
) -> Result<(), DbErr> {
    let sql = |text, binds: Vec<_>| Sql::new(dialect, tables, text, binds).build();
    let last = sql(
        "SELECT position FROM {event_sequencer} WHERE id = 1{lock_rows}",
        vec![],
    );
    let last = tx.query_one_raw(last).await?;
    let last: i64 = last
        .ok_or_else(|| DbErr::RecordNotFound(format!("the row of {}", tables.event_sequencer())))?
        .try_get_by_index(0)?;
    let rows = sql(
        "SELECT nth FROM {event_log} WHERE position IS NULL ORDER BY nth LIMIT ?",
        binds![AT_ONCE].into(),
    );
    let rows = tx.query_all_raw(rows).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut values = Vec::with_capacity(rows.len() * 2);
    let mut position = last;
    for row in &rows {
        position += 1;
        values.extend(binds![row.try_get_by_index::<i64>(0)?, position]);
    }
    let others = " UNION ALL SELECT ?, ?".repeat(rows.len() - 1);
    // Each row is looked up by its key: a scan would wait for rows of transactions that are open.
    let write = format!(
        "UPDATE (SELECT ? AS of_nth, ? AS place{others}) given STRAIGHT_JOIN {{event_log}} log \
         FORCE INDEX (PRIMARY) ON log.nth = given.of_nth SET log.position = given.place"
    );
    tx.execute_raw(sql(&write, values)).await?;
    let raise = "UPDATE {event_sequencer} SET position = ? WHERE id = 1";
    tx.execute_raw(sql(raise, binds![position].into())).await?;
    Ok(())
}
