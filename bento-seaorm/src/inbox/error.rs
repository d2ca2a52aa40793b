//! The errors of storing what has arrived.

use bento_relay::store::StoreError;

/// Nothing of what has arrived is stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// Another consumer reads the source now. Stop reading it, and acknowledge nothing.
    #[error(
        "the lease of source `{name}` at epoch {epoch} is lost; another consumer reads the source"
    )]
    LeaseLost {
        /// The name of the source.
        name: String,
        /// The epoch that is no longer current.
        epoch: i64,
    },
    /// No handler is recorded for the inbox, so that every event would be left out.
    #[error(
        "no handler is recorded for the inbox: start the relay of the inbox with its handlers \
         before its sources, as `Consumer` does"
    )]
    NoHandlers,
    /// The database did not store them.
    #[error(transparent)]
    Store(#[from] StoreError),
}
