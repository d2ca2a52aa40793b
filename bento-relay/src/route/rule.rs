//! One rule of a router.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::HeadOfLine;
use super::condition::Condition;

/// Which events go where, and how.
///
/// Several rules may apply to one event: it goes to the destinations of all of them, to each once
/// and as the first rule with that destination says, up to a rule that says [`stop`](Self::stop).
///
/// ```
/// use std::time::Duration;
/// use bento_relay::route::{Rule, Transform, field};
///
/// let rule = Rule::new("large orders")
///     .events(["order.*"])
///     .when(field("payload.total").gte(1000))
///     .to(["fraud"])
///     .transform(Transform::default().include(["order_id", "total"]).rename("total", "amount"))
///     .delay(Duration::from_secs(30))
///     .retry("aggressive");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// The name of the rule, which no other has.
    pub name: String,
    /// Schemas, or patterns of them in which `*` stands for any characters.
    pub events: Vec<String>,
    /// What else an event has to be like.
    pub when: Option<Condition>,
    /// The names of the destinations.
    pub to: Vec<String>,
    /// What several destinations are to each other.
    pub strategy: Strategy,
    /// What becomes of the payload.
    pub transform: Option<Transform>,
    /// The share of the events that take the rule, above 0 and up to 1.
    pub sample: Option<f64>,
    /// The wait from an event's `occurred_at` until it is delivered.
    pub delay: Option<Duration>,
    /// Whether a delayed event delays the later ones of its aggregate too.
    pub keeps_order: bool,
    /// The time from an event's `occurred_at` until it is given up if it is not delivered.
    pub expires_after: Option<Duration>,
    /// The name of a retry policy.
    pub retry: Option<String>,
    /// What a failing event means for the later ones of its aggregate.
    pub head_of_line: HeadOfLine,
    /// The destination of what fails permanently, if not the router's fallback; `dead_letter_queue`
    /// for none.
    pub fallback: Option<String>,
    /// Whether the rules behind it are not asked about an event that has taken it.
    pub stop: bool,
    /// Whether it comes on top of what the other rules say: an event that only such rules apply to
    /// still goes to the router's fallback.
    pub copy: bool,
}

/// What several destinations of one rule are to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Each is settled alone: one that is stuck holds nothing for the others.
    #[default]
    BestEffort,
    /// Settled when all have confirmed; if one does not, the dead letter names who has.
    AllOrNothing,
}

/// What becomes of the payload on its way: include, exclude, rename and add, in this order,
/// whatever order they are given in.
///
/// Paths start in the payload, `customer.country`. They do not reach into lists. What is not named
/// keeps its bytes.
///
/// The copy that a route makes is a message of its own: its id is a UUIDv5 of the event's id and
/// the name of the route, the same for each attempt. It has the type that
/// [`event_type`](Self::event_type) says, or else the type of the event and no schema version,
/// because it is not what that version says.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Transform {
    /// What is kept; empty for everything.
    pub include: Vec<String>,
    /// What is taken out.
    pub exclude: Vec<String>,
    /// Old names and new ones, all at once, so that two may change places. What is missing stays
    /// missing.
    pub rename: BTreeMap<String, String>,
    /// What is set, whether it was there or not.
    pub add: BTreeMap<String, Value>,
    /// The event type of the copy; that of the event by default, without a schema version.
    pub event_type: Option<String>,
    /// The schema version of the copy, 1 by default; only beside an `event_type`.
    pub version: Option<u32>,
}

impl Rule {
    /// A rule for every event, with no destination yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            events: vec!["*".to_owned()],
            when: None,
            to: Vec::new(),
            strategy: Strategy::default(),
            transform: None,
            sample: None,
            delay: None,
            keeps_order: false,
            expires_after: None,
            retry: None,
            head_of_line: HeadOfLine::default(),
            fallback: None,
            stop: false,
            copy: false,
        }
    }

    /// Of these event types only; `*` stands for any characters: `order.*`.
    #[must_use]
    pub fn events<S: Into<String>>(self, events: impl IntoIterator<Item = S>) -> Self {
        Self {
            events: events.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// Of events that are like this only.
    #[must_use]
    pub fn when(self, condition: Condition) -> Self {
        Self {
            when: Some(condition),
            ..self
        }
    }

    /// To these destinations.
    #[must_use]
    pub fn to<S: Into<String>>(self, destinations: impl IntoIterator<Item = S>) -> Self {
        Self {
            to: destinations.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// Settled when all destinations have confirmed.
    #[must_use]
    pub fn all_or_nothing(self) -> Self {
        Self {
            strategy: Strategy::AllOrNothing,
            ..self
        }
    }

    /// With a payload made of the event's.
    #[must_use]
    pub fn transform(self, transform: Transform) -> Self {
        Self {
            transform: Some(transform),
            ..self
        }
    }

    /// A share of the events, above 0 and up to 1. An event is in the sample of every rule with
    /// this share or a larger one, or in none.
    #[must_use]
    pub fn sample(self, share: f64) -> Self {
        Self {
            sample: Some(share),
            ..self
        }
    }

    /// Delivered so long after their `occurred_at`, out of their aggregate's order unless
    /// [`keeps_order`](Self::keeps_order) is said too.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self {
            delay: Some(delay),
            ..self
        }
    }

    /// A delayed event delays the later ones of its aggregate.
    #[must_use]
    pub fn keeps_order(self) -> Self {
        Self {
            keeps_order: true,
            ..self
        }
    }

    /// Given up so long after their `occurred_at`.
    #[must_use]
    pub fn expires_after(self, after: Duration) -> Self {
        Self {
            expires_after: Some(after),
            ..self
        }
    }

    /// Tried again by the retry policy of this name.
    #[must_use]
    pub fn retry(self, policy: impl Into<String>) -> Self {
        Self {
            retry: Some(policy.into()),
            ..self
        }
    }

    /// What a failing event means for the later ones of its aggregate.
    #[must_use]
    pub fn head_of_line(self, head_of_line: HeadOfLine) -> Self {
        Self {
            head_of_line,
            ..self
        }
    }

    /// Where what fails permanently goes instead of to the router's fallback.
    #[must_use]
    pub fn fallback(self, destination: impl Into<String>) -> Self {
        Self {
            fallback: Some(destination.into()),
            ..self
        }
    }

    /// The rules behind it are not asked about an event that has taken it. One that the sample left
    /// out is asked about.
    #[must_use]
    pub fn stop(self) -> Self {
        Self { stop: true, ..self }
    }

    /// On top of what the other rules say: an event that only such rules apply to still goes to the
    /// router's fallback, or is a dead letter.
    #[must_use]
    pub fn copy(self) -> Self {
        Self { copy: true, ..self }
    }
}

impl Transform {
    /// Keeps only these.
    #[must_use]
    pub fn include<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.include.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Takes these out.
    #[must_use]
    pub fn exclude<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.exclude.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Gives one a new name, which no other value may have.
    #[must_use]
    pub fn rename(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rename.insert(from.into(), to.into());
        self
    }

    /// Sets one.
    #[must_use]
    pub fn add(mut self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.add.insert(path.into(), value.into());
        self
    }

    /// Gives the copy an event type and a schema version of its own.
    #[must_use]
    pub fn event_type(self, event_type: impl Into<String>, version: u32) -> Self {
        Self {
            event_type: Some(event_type.into()),
            version: Some(version),
            ..self
        }
    }
}
