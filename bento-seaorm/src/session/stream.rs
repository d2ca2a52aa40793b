//! The rows of a statement outside of a transaction.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt as _};
use sea_orm::{DbErr, QueryResult, QueryStream};
use tokio::runtime::Handle;

use super::shield::finish;

/// The rows of a statement that runs outside of a transaction, one by one.
///
/// It may be dropped at any time: if an answer is on its way, it is awaited in the background
/// before the connection goes back to the pool.
pub struct ConnectionStream {
    rows: Option<QueryStream>,
    /// The runtime on which an answer is awaited.
    awaited_on: Option<Handle>,
}

impl ConnectionStream {
    pub(crate) fn new(rows: QueryStream) -> Self {
        Self {
            rows: Some(rows),
            awaited_on: None,
        }
    }
}

impl Stream for ConnectionStream {
    type Item = Result<QueryResult, DbErr>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(rows) = &mut self.rows else {
            return Poll::Ready(None);
        };
        let polled = rows.poll_next_unpin(cx);
        self.awaited_on = polled
            .is_pending()
            .then(Handle::try_current)
            .and_then(Result::ok);
        polled
    }
}

impl Drop for ConnectionStream {
    fn drop(&mut self) {
        if let (Some(mut rows), Some(runtime)) = (self.rows.take(), self.awaited_on.take()) {
            runtime.spawn(finish(Box::pin(async move {
                let _ = rows.next().await;
            })));
        }
    }
}

impl fmt::Debug for ConnectionStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionStream").finish_non_exhaustive()
    }
}
