//! A background task that can be stopped.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A running task. Dropping it tells the task to stop.
#[derive(Debug)]
pub(crate) struct Task {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The signal to a task to stop.
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

    /// Tells the task to stop and waits for it.
    ///
    /// # Panics
    /// If the task panicked, which is a defect.
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
    /// Waits for this time or for the signal to stop; true after the signal.
    pub(crate) async fn within(&mut self, time: Duration) -> bool {
        // A dropped sender means the same.
        self.is_told() || timeout(time, self.0.changed()).await.is_ok()
    }

    pub(crate) fn is_told(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}
