//! A task in the background that ends when it is told to.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A running task. Dropping it tells the task to end.
#[derive(Debug)]
pub(crate) struct Task {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How a task learns that it is to end.
#[derive(Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Task {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(
        run: impl FnOnce(Stop) -> F,
    ) -> Self {
        let (stop, told) = watch::channel(false);
        Self {
            stop,
            task: tokio::spawn(run(Stop(told))),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// Tells it to end and waits for it.
    ///
    /// # Panics
    /// If the task did: a defect.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        match self.task.await {
            Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
            // Otherwise the runtime is shutting down and has dropped the task.
            _ => {}
        }
    }
}

impl Stop {
    /// Waits so long, or until it is told to end; then true.
    pub(crate) async fn within(&mut self, time: Duration) -> bool {
        // A sender that is gone means the same.
        self.is_told() || timeout(time, self.0.changed()).await.is_ok()
    }

    pub(crate) fn is_told(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}
