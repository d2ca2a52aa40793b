//! Telling somebody of dead letters, at least once each.
//!
//! A task of its own asks the store for dead letters that nobody was told of, so it sees only
//! committed ones, and nothing that the hook does delays a relay. It marks them when the hook has
//! answered; whoever dies before that leaves them to be told again. Several processes may run it:
//! what one has taken is kept from the others for as long as its hook may take.

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

/// Tells somebody of dead letters.
///
/// ```
/// use bento_relay::dead_letter::{AlertError, AlertHook, DeadLetter};
///
/// #[derive(Debug)]
/// struct Pager;
///
/// impl AlertHook for Pager {
///     async fn alert(&self, letters: &[DeadLetter]) -> Result<(), AlertError> {
///         page(&format!("{} dead letters, the first: {}", letters.len(), letters[0].error))
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
    /// Tells of these, at least one. They come again if it fails, is too slow or panics, and may
    /// come again if it does not.
    ///
    /// # Cancel safety
    /// It is dropped after [`AlertSettings::timeout`]; the letters come again.
    fn alert(&self, letters: &[DeadLetter]) -> impl Future<Output = Result<(), AlertError>> + Send;
}

impl<H: AlertHook> AlertHook for Arc<H> {
    fn alert(&self, letters: &[DeadLetter]) -> impl Future<Output = Result<(), AlertError>> + Send {
        (**self).alert(letters)
    }
}

/// Nobody could be told.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AlertError {
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl AlertError {
    /// With what went wrong.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Keeps what caused it.
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
    async fn alert(&self, letters: &[DeadLetter]) -> Result<(), AlertError> {
        for letter in letters {
            let event = &letter.envelope;
            tracing::error!(
                target: TARGET_DEAD_LETTER,
                event_id = %event.event_id,
                event_type = &*event.event_type,
                aggregate_id = event.aggregate_id,
                tenant_id = event.tenant_id,
                route = &*letter.route,
                attempts = letter.attempts,
                parks = letter.parks,
                cause = letter.cause,
                error = letter.error,
                "an event was given up; replay or discard it",
            );
        }
        Ok(())
    }
}

/// Where it is remembered of which dead letters somebody was told.
pub trait AlertStore: Send + Sync + 'static {
    /// Takes dead letters that nobody was told of, oldest failure first, at most `limit`, and keeps
    /// them from others for `hold`, by the store's clock.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// Letters may have been taken that nobody was told of. They are due again after `hold`.
    fn take_unalerted(
        &self,
        limit: u32,
        hold: Duration,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, StoreError>> + Send;

    /// Records what became of letters that were taken. Those that were replayed or discarded
    /// meanwhile, or died again, are left alone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: they are taken again when the time they are held for is over.
    ///
    /// # Cancel safety
    /// The outcome is recorded or not. If not, somebody may be told of the letters once more.
    fn settle_alerts(
        &self,
        letters: &[DeadLetter],
        outcome: AlertOutcome,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertOutcome {
    /// Somebody was told.
    Told,
    /// It failed, and is due again after a wait.
    Failed(Duration),
}

/// How alerts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// How often to look for new dead letters: 1 s.
    pub poll: Duration,
    /// How many the hook gets at once at most: 50.
    pub batch: u32,
    /// How long the hook may take: 10 s.
    pub timeout: Duration,
    /// How long to wait after the hook failed: 0.5 s up to 60 s. It is tried for ever.
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

/// Tells a hook of dead letters.
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
    /// Starts the task. At its first start it tells of all dead letters that are there, batch by
    /// batch.
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
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.0.is_running()
    }

    /// Stops it: an alert that is on its way ends or runs out of time.
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
                    "dead letters cannot be looked for, will try again",
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
    // Twice as long as the hook may take, so that nobody else takes them while their outcome is
    // recorded.
    let hold = settings.timeout.saturating_mul(2);
    let letters = in_time(hold, store.take_unalerted(settings.batch.max(1), hold)).await?;
    if letters.is_empty() {
        return Ok(Round::Nothing);
    }
    let Err(error) = tell(hook, &letters, settings.timeout).await else {
        telemetry::count(telemetry::ALERTED_EVENTS, letters.len() as u64);
        in_time(hold, store.settle_alerts(&letters, AlertOutcome::Told)).await?;
        return Ok(Round::Told);
    };
    let wait = settings.retry.wait(failures + 1, random);
    telemetry::count(telemetry::FAILED_ALERTS, 1);
    tracing::warn!(
        target: TARGET_DEAD_LETTER, letters = letters.len(), error = with_causes(&error), ?wait,
        "nobody could be told of dead letters, will try again",
    );
    in_time(
        hold,
        store.settle_alerts(&letters, AlertOutcome::Failed(wait)),
    )
    .await?;
    Ok(Round::Failed(wait))
}

/// A hook that hangs or panics has failed.
async fn tell(
    hook: &impl AlertHook,
    letters: &[DeadLetter],
    limit: Duration,
) -> Result<(), AlertError> {
    match timeout(limit, AssertUnwindSafe(hook.alert(letters)).catch_unwind()).await {
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
