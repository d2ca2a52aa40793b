//! The end of a frame: commit, release, rollback.

use std::sync::Arc;

use bento_core::unit_of_work::{FrameError, FrameId, UnitOfWork};
use sea_orm::ConnectionTrait;

use super::OutboxTransaction;
use super::health::Savepoint;
use crate::error::Error;
use crate::session::to_the_end;

/// Flushes and commits the outermost transaction; on any error everything is rolled back.
pub(super) async fn commit(transaction: OutboxTransaction) -> Result<(), Error> {
    match transaction.physical.prepare_commit(transaction.frame).await {
        Ok(()) => commit_prepared(transaction).await,
        Err(error) => refuse(transaction, error).await,
    }
}

/// Releases a savepoint and hands its events down; on any error it is rolled back.
pub(super) async fn release(
    transaction: OutboxTransaction,
    savepoint: Savepoint,
) -> Result<(), Error> {
    match transaction
        .physical
        .release(transaction.frame, savepoint)
        .await
    {
        Ok(()) => Ok(()),
        Err(error) => refuse(transaction, error).await,
    }
}

/// Rolls back a frame and those above it.
pub(super) async fn rollback(transaction: OutboxTransaction) -> Result<(), Error> {
    transaction
        .physical
        .abandon(transaction.frame, transaction.savepoint);
    if transaction.savepoint.is_some() {
        return transaction.physical.roll_back_abandoned().await;
    }
    // If a nested transaction is still there it can do nothing any more, and takes the connection
    // with it when it goes.
    let Some(physical) = Arc::into_inner(transaction.close()) else {
        return Ok(());
    };
    Ok(physical.roll_back().await?)
}

async fn refuse(transaction: OutboxTransaction, reason: Error) -> Result<(), Error> {
    // The reason is what the caller wants to know. Where this fails, giving the connection back
    // rolls back.
    let _ = rollback(transaction).await;
    Err(reason)
}

async fn commit_prepared(transaction: OutboxTransaction) -> Result<(), Error> {
    let frame = transaction.frame;
    let physical = transaction.close();
    let ending = Ending {
        unit_of_work: physical.unit_of_work().clone(),
        frame,
    };
    let settings = Arc::clone(physical.settings());
    let written = physical.written();
    // A nested transaction outlives its frame when one around it was rolled back; it still has the
    // connection.
    let physical = Arc::into_inner(physical).ok_or(FrameError::ChildOpen)?;
    let database = physical
        .into_database()
        .await
        .ok_or(FrameError::ChildOpen)?;
    let backend = database.get_database_backend();
    let commit = async move {
        database.commit().await?;
        if let Some((known, shards)) = written {
            settings.writer.confirm(known);
            settings.wake(&shards);
        }
        Ok(())
    };
    to_the_end(commit)
        .await
        .map_err(|error| Error::from_commit(backend, error))?;
    ending.unit_of_work.committed();
    Ok(())
}

/// Discards the frame if the commit fails or its future is dropped.
struct Ending {
    unit_of_work: UnitOfWork,
    frame: FrameId,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.unit_of_work.discard(self.frame);
    }
}
