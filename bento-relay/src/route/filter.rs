//! A condition without a rule, asked of one event at a time.

use std::sync::Arc;

use bento_core::envelope::Envelope;

use super::build::Conditions;
use super::check::Check;
use super::condition::Condition;
use super::contradiction::Events;
use super::error::{Faults, RouterErrors, RouterFault};
use super::facts::{Facts, Wanted};
use super::glob::Glob;
use super::kinds::Kinds;

/// A condition, checked as that of a rule and compiled once. Cheap to clone.
///
/// ```
/// use bento_core::envelope::Envelope;
/// use bento_relay::route::{Filter, field};
///
/// let large = Filter::new(&field("payload.total").gte(1000), ["order.*"])?;
/// let of = |payload: &'static str| Envelope::new("order.placed", 1, chrono::Utc::now(), payload);
/// assert!(large.holds(&of(r#"{"total": 1250}"#)));
/// assert!(!large.holds(&of(r#"{"total": 5}"#)));
///
/// let error = Filter::new(&field("total").gte(1000), ["*"]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "when.total: invalid path `total`: begin it with `payload.` or `envelope.`"
/// );
/// # Ok::<_, bento_relay::route::RouterErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    compiled: Arc<(Check, Wanted)>,
}

impl Filter {
    /// Compiles a condition for the events of these types, or patterns of them as in rules.
    ///
    /// # Errors
    /// Everything that is wrong with the condition, with its path below `when`: unknown paths,
    /// operands that no event can hold, and a condition that no event of these types can meet.
    pub fn new<T: AsRef<str>>(
        when: &Condition,
        event_types: impl IntoIterator<Item = T>,
    ) -> Result<Self, RouterErrors> {
        let globs = event_types.into_iter();
        let globs: Vec<_> = globs.map(|pattern| Glob::new(pattern.as_ref())).collect();
        let (mut conditions, mut faults) = (Conditions::default(), Faults::default());
        let events = Events {
            types: &globs,
            kinds: Kinds::Any,
        };
        let check = conditions.when(when, events, &mut faults);
        faults.into_result().map_err(without_rule)?;
        let check = check.unwrap_or_else(|| Check::All(Vec::new()));
        Ok(Self {
            compiled: Arc::new((check, conditions.wanted)),
        })
    }

    /// True if the event meets the condition. The payload is read only if the condition asks about
    /// it, and at most once.
    #[must_use]
    pub fn holds(&self, envelope: &Envelope) -> bool {
        let (check, wanted) = &*self.compiled;
        check.holds(&Facts::new(envelope, wanted))
    }
}

/// The same faults, where the condition is not that of a rule.
fn without_rule(mut errors: RouterErrors) -> RouterErrors {
    for error in &mut errors.0 {
        if let RouterFault::NeverMatches { reason } = &error.fault {
            error.fault = RouterFault::Invalid {
                reason: format!("no event can meet this condition: {reason}"),
            };
        }
    }
    errors
}
