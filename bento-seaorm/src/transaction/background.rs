//! Statements that nobody waits for any more, finished in the background.
//!
//! A future that is dropped in the middle of a statement leaves the answer of the server unread. The MySQL driver loses count
//! of the answers then, if the statement was being prepared: it takes one statement's answer for that of the next, or waits for
//! ever. So the statement is read to its end, and what comes after it on the connection waits.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// How many statements are being finished.
#[derive(Clone, Debug, Default)]
pub(super) struct Background(watch::Sender<usize>);

impl Background {
    /// Finishes a statement. Outside a tokio runtime it is dropped instead.
    pub(super) fn finish(&self, statement: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else { return };
        self.0.send_modify(|running| *running += 1);
        let finished = Finished(self.0.clone());
        runtime.spawn(async move {
            statement.await;
            drop(finished);
        });
    }

    /// Waits until all are finished, and have let go of the connection.
    pub(super) async fn finished(&self) {
        // It fails when the sender is gone, which is in `self`.
        let _ = self.0.subscribe().wait_for(|running| *running == 0).await;
    }
}

struct Finished(watch::Sender<usize>);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}
