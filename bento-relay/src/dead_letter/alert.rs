//! Alerts about dead letters, each at least once.
//!
//! A task of its own asks the store for dead letters without an alert, so it sees only committed
//! ones, and a slow hook delays no relay. The task marks them when the hook has answered; after a
//! crash before that, they are reported again. Several processes may run the task: dead letters
//! taken by one process are hidden from the others for the time that its hook may take.
//!
//! Decision: docs/decisions/0022-an-alert-is-taken-for-a-while.md

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::{self, TARGET_DEAD_LETTER};
use bento_core::report::with_causes;
use futures_util::FutureExt;
use tokio::time::timeout;

use super::DeadLetter;
use crate::retry::RetryPolicy;
use crate::store::StoreError;
use crate::task::{Stop, Task};

/// Reports dead letters to people.
///
/// ```
/// use bento_relay::dead_letter::{AlertError, AlertHook, DeadLetter};
///
/// #[derive(Debug)]
/// struct Pager;
///
/// impl AlertHook for Pager {
///     async fn alert(&self, dead_letters: &[DeadLetter]) -> Result<(), AlertError> {
///         let (count, first) = (dead_letters.len(), &dead_letters[0].error);
///         page(&format!("{count} dead letters, the first: {first}"))
///             .await
///             .map_err(|error| AlertError::new("the pager cannot be reached").because(error))
///     }
/// }
/// # async fn page(_: &str) -> Result<(), std::io::Error> { Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an alert hook",
    label = "dead letters cannot be told through this",
    note = "implement `AlertHook`; `LogAlert` writes each to the log"
)]
pub trait AlertHook: fmt::Debug + Send + Sync + 'static {
    /// Reports these dead letters, at least one. They are reported again if the hook fails, is too
    /// slow or panics, and may be reported again if it succeeds.
    ///
    /// # Cancel safety
    /// The future is dropped after [`AlertSettings::timeout`]; the dead letters are reported again.
    fn alert(
        &self,
        dead_letters: &[DeadLetter],
    ) -> impl Future<Output = Result<(), AlertError>> + Send;
}

impl<H: AlertHook> AlertHook for Arc<H> {
    fn alert(
        &self,
        dead_letters: &[DeadLetter],
    ) -> impl Future<Output = Result<(), AlertError>> + Send {
        (**self).alert(dead_letters)
    }
}

/// The error of an alert that was not delivered.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AlertError {
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl AlertError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause of the error.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }
}

/// Writes one line at level ERROR for each dead letter, under [`TARGET_DEAD_LETTER`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAlert;

impl AlertHook for LogAlert {
    async fn alert(&self, dead_letters: &[DeadLetter]) -> Result<(), AlertError> {
        for dead_letter in dead_letters {
            let event = &dead_letter.envelope;
            tracing::error!(
                target: TARGET_DEAD_LETTER,
                event_id = %event.event_id,
                event_type = &*event.event_type,
                aggregate_id = event.aggregate_id,
                tenant_id = event.tenant_id,
                route = &*dead_letter.route,
                attempts = dead_letter.attempts,
                parks = dead_letter.parks,
                cause = dead_letter.cause,
                error = dead_letter.error,
                "an event was given up; replay or discard it",
            );
        }
        Ok(())
    }
}

/// The part of a store that records which dead letters were reported.
pub trait AlertStore: Send + Sync + 'static {
    /// Takes at most `limit` unreported dead letters, the oldest failure first, and hides them from
    /// other callers for `hold`, by the store's clock.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// Dead letters may have been taken without a report. They are due again after `hold`.
    fn take_unalerted(
        &self,
        limit: u32,
        hold: Duration,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, StoreError>> + Send;

    /// Records the outcomes of taken dead letters. A dead letter that was replayed or discarded
    /// meanwhile, or failed again, is left alone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the dead letters are taken again when `hold` is over.
    ///
    /// # Cancel safety
    /// The outcome is recorded or not. If not, the dead letters may be reported once more.
    fn settle_alerts(
        &self,
        dead_letters: &[DeadLetter],
        outcome: AlertOutcome,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The outcome of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertOutcome {
    /// The hook has reported the dead letter.
    Told,
    /// The hook failed; the dead letter is due again after this wait.
    Failed(Duration),
}

/// The settings of [`Alerts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// The interval between two looks for new dead letters: 1 s.
    pub poll: Duration,
    /// The largest number of dead letters in one call of the hook: 50.
    pub batch: u32,
    /// The time limit of one call of the hook: 10 s.
    pub timeout: Duration,
    /// The wait after the hook failed: 0.5 s up to 60 s. The number of attempts has no limit.
    pub retry: RetryPolicy,
}

impl Default for AlertSettings {
    fn default() -> Self {
        let retry = RetryPolicy::exponential(
            Duration::from_millis(500),
            Duration::from_secs(60),
            u32::MAX,
        );
        Self {
            poll: Duration::from_secs(1),
            batch: 50,
            timeout: Duration::from_secs(10),
            retry,
        }
    }
}

/// Reports dead letters to a hook.
///
/// ```
/// # use bento_relay::dead_letter::{AlertSettings, Alerts, LogAlert};
/// # use bento_relay::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let store = MemoryStore::default();
/// let alerts = Alerts::start(store, LogAlert, AlertSettings::default());
/// // … when the service stops:
/// alerts.stop().await;
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Alerts;

impl Alerts {
    /// Starts the task. Its first start reports all existing dead letters, batch by batch.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        store: impl AlertStore,
        hook: impl AlertHook,
        settings: AlertSettings,
    ) -> AlertsHandle {
        AlertsHandle(Task::spawn(|stop| run(store, hook, settings, stop)))
    }
}

/// The running task. Dropping it stops the task in the background; [`stop`](Self::stop) also waits
/// for it.
#[derive(Debug)]
#[must_use = "dropping the handle stops the alerts"]
pub struct AlertsHandle(Task);

impl AlertsHandle {
    /// True until the task has ended.
    pub fn is_running(&self) -> bool {
        self.0.is_running()
    }

    /// Stops the task: a running call of the hook ends or runs out of time.
    ///
    /// # Cancel safety
    /// The task ends nevertheless; only the wait is over.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

async fn run(
    store: impl AlertStore,
    hook: impl AlertHook,
    settings: AlertSettings,
    mut stop: Stop,
) {
    let mut failures = 0;
    let mut random = fastrand::Rng::new();
    while !stop.is_told() {
        let wait = match round(&store, &hook, &settings, failures, &mut random).await {
            Ok(Round::Told) => {
                failures = 0;
                continue;
            }
            Ok(Round::Nothing) => settings.poll,
            Ok(Round::Failed(wait)) => {
                failures += 1;
                wait
            }
            Err(error) => {
                failures += 1;
                let wait = settings
                    .retry
                    .wait(failures, &mut random)
                    .max(settings.poll);
                let error = with_causes(&error);
                tracing::warn!(
                    target: TARGET_DEAD_LETTER,
                    error,
                    ?wait,
                    "new dead letters could not be read, will try again",
                );
                wait
            }
        };
        stop.within(wait).await;
    }
}

enum Round {
    Nothing,
    Told,
    Failed(Duration),
}

async fn round(
    store: &impl AlertStore,
    hook: &impl AlertHook,
    settings: &AlertSettings,
    failures: u32,
    random: &mut fastrand::Rng,
) -> Result<Round, StoreError> {
    // Twice the time limit of the hook, so that no other process takes the dead letters while their
    // outcome is recorded.
    let hold = settings.timeout.saturating_mul(2);
    let dead_letters = in_time(hold, store.take_unalerted(settings.batch.max(1), hold)).await?;
    if dead_letters.is_empty() {
        return Ok(Round::Nothing);
    }
    let Err(error) = tell(hook, &dead_letters, settings.timeout).await else {
        telemetry::count(telemetry::ALERTED_EVENTS, dead_letters.len() as u64);
        in_time(hold, store.settle_alerts(&dead_letters, AlertOutcome::Told)).await?;
        return Ok(Round::Told);
    };
    let wait = settings.retry.wait(failures + 1, random);
    telemetry::count(telemetry::FAILED_ALERTS, 1);
    tracing::warn!(
        target: TARGET_DEAD_LETTER, dead_letters = dead_letters.len(),
        error = with_causes(&error), ?wait,
        "the alert hook failed, will try again",
    );
    in_time(
        hold,
        store.settle_alerts(&dead_letters, AlertOutcome::Failed(wait)),
    )
    .await?;
    Ok(Round::Failed(wait))
}

/// Calls the hook; one that hangs or panics has failed.
async fn tell(
    hook: &impl AlertHook,
    dead_letters: &[DeadLetter],
    limit: Duration,
) -> Result<(), AlertError> {
    match timeout(
        limit,
        AssertUnwindSafe(hook.alert(dead_letters)).catch_unwind(),
    )
    .await
    {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(AlertError::new("the alert hook panicked")),
        Err(_) => Err(AlertError::new(format!(
            "the alert hook did not answer within {limit:?}"
        ))),
    }
}

async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, call)
        .await
        .unwrap_or_else(|elapsed| Err(StoreError::unavailable(elapsed)))
}
