//! The policy for pending events that are dropped.

use std::sync::atomic::{AtomicBool, Ordering};

use super::raised::RaisedEvent;
use crate::telemetry;

/// The policy for an aggregate that is dropped with events that no transaction has collected. Those
/// events are lost either way.
///
/// The policy holds for the whole process; set it once, at the start of the program. An aggregate
/// that is consumed before the commit, as `into_active_model` does, is dropped inside the
/// transaction: with [`Panic`](Self::Panic) the panic unwinds through the transaction, which is
/// rolled back, so that no row is committed without its event. An aggregate that outlives the
/// commit is too late for that; the panic then tells of the loss and does not undo it. While a
/// panic unwinds already, the loss is only logged.
///
/// ```
/// use bento_core::ForgottenEvents;
///
/// ForgottenEvents::Panic.install();
/// # ForgottenEvents::Log.install();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForgottenEvents {
    /// A warning with the event type and the line that raised the first event, and the counter
    /// `bento_forgotten_events_total`.
    #[default]
    Log,
    /// The same, and then a panic.
    Panic,
}

static PANIC_WHEN_FORGOTTEN: AtomicBool = AtomicBool::new(false);

impl ForgottenEvents {
    /// Makes this the policy of the process.
    pub fn install(self) {
        PANIC_WHEN_FORGOTTEN.store(self == Self::Panic, Ordering::Relaxed);
    }

    /// The policy of the process.
    pub fn current() -> Self {
        if PANIC_WHEN_FORGOTTEN.load(Ordering::Relaxed) {
            Self::Panic
        } else {
            Self::Log
        }
    }
}

/// Logs the loss of `count` events, and panics if that is the policy.
pub(super) fn report(first: &RaisedEvent, count: usize) {
    tracing::warn!(
        target: telemetry::TARGET_RAISE,
        event_id = %first.event_id,
        event_type = %first.event_type(),
        raised_at = %first.raised_at,
        count,
        "pending events were dropped and are lost; save the aggregate with `tx.insert`, \
         `tx.update` or `tx.save`, raise in a transaction's scope, or call `tx.collect(&mut \
         aggregate)`",
    );
    if ForgottenEvents::current() == ForgottenEvents::Panic && !std::thread::panicking() {
        panic!(
            "{count} pending event(s) were dropped, the first is `{}` raised at {}",
            first.event_type(),
            first.raised_at
        );
    }
}

static STRICT: AtomicBool = AtomicBool::new(false);

/// Makes oversights that are only logged in production panic, in the whole process. For tests.
#[doc(hidden)]
pub fn set_strict(strict: bool) {
    STRICT.store(strict, Ordering::Relaxed);
    if strict {
        ForgottenEvents::Panic
    } else {
        ForgottenEvents::Log
    }
    .install();
}

/// True if oversights panic.
#[doc(hidden)]
pub fn is_strict() -> bool {
    STRICT.load(Ordering::Relaxed)
}
