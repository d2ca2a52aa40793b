//! Statements whose future was dropped, finished in the background.
//!
//! A future that is dropped in the middle of a statement leaves the answer of the server unread.
//! The MySQL driver loses count of the answers then, if the statement was being prepared: it takes
//! one statement's answer for that of the next, or waits for ever. So the statement is read to its
//! end, and what comes after it on the connection waits.

use std::future::Future;
use std::pin::pin;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::session::{Session, UNATTENDED};

/// The statements that are being finished.
#[derive(Clone, Debug)]
pub(super) struct Background {
    running: watch::Sender<usize>,
    is_given_up: watch::Sender<bool>,
    /// The runtime for a statement that is dropped outside of one.
    runtime: Option<Handle>,
}

impl Background {
    pub(super) fn new() -> Self {
        Self {
            running: watch::Sender::new(0),
            is_given_up: watch::Sender::new(false),
            runtime: Handle::try_current().ok(),
        }
    }

    /// Finishes a statement. Outside a tokio runtime it is dropped instead. One that takes too long
    /// is dropped as well, and its session closed.
    pub(super) fn finish(
        &self,
        session: Session,
        statement: impl Future<Output = ()> + Send + 'static,
    ) {
        let Some(runtime) = Handle::try_current().ok().or_else(|| self.runtime.clone()) else {
            return;
        };
        self.running.send_modify(|running| *running += 1);
        let (finished, mut given_up) =
            (Finished(self.running.clone()), self.is_given_up.subscribe());
        let in_time = async move {
            let mut statement = pin!(statement);
            if timeout(UNATTENDED, statement.as_mut()).await.is_err() {
                session.give_up();
            }
        };
        runtime.spawn(async move {
            tokio::select! {
                () = in_time => {}
                // It fails when the transaction is gone, which gives nothing up.
                true = async { given_up.wait_for(|is_given_up| *is_given_up).await.is_ok() } => {}
            }
            drop(finished);
        });
    }

    /// Drops the statements that are being finished.
    pub(super) fn give_up(&self) {
        self.is_given_up.send_replace(true);
    }

    /// Waits until all are finished, and have let go of the connection.
    pub(super) async fn finished(&self) {
        // It fails when the sender is gone, which is in `self`.
        let _ = self
            .running
            .subscribe()
            .wait_for(|running| *running == 0)
            .await;
    }
}

struct Finished(watch::Sender<usize>);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}
