//! One rule of a router.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::HeadOfLine;
use super::condition::Condition;
use super::kinds::Kinds;

/// A rule: the events that it applies to, their destinations, and the policies of delivery.
///
/// Several rules may apply to one event. It goes to the destinations of all of them, once to each,
/// by the first rule with that destination; a rule with [`stop`](Self::stop) ends the search.
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
    /// The name of the rule, which must be unique.
    pub name: String,
    /// Event types, or patterns of them in which `*` stands for any characters.
    pub events: Vec<String>,
    /// The kinds of events that the rule takes; `None` for both, which a relay refuses in a program
    /// that declares integration events.
    pub kind: Option<Kinds>,
    /// The condition that an event must meet.
    pub when: Option<Condition>,
    /// The names of the destinations.
    pub to: Vec<String>,
    /// The strategy for several destinations.
    pub strategy: Strategy,
    /// The transform of the payload.
    pub transform: Option<Transform>,
    /// The share of the events that take the rule, above 0 and up to 1.
    pub sample: Option<f64>,
    /// The wait from an event's `occurred_at` to its delivery.
    pub delay: Option<Duration>,
    /// True if a delayed event delays the later ones of its aggregate too.
    pub keeps_order: bool,
    /// The time from an event's `occurred_at` after which it is given up.
    pub expires_after: Option<Duration>,
    /// The name of a retry policy.
    pub retry: Option<String>,
    /// The effect of a failing event on the later ones of its aggregate.
    pub head_of_line: HeadOfLine,
    /// The destination for events that fail permanently; `None` for the router's fallback,
    /// `dead_letter_queue` for dead letters.
    pub fallback: Option<String>,
    /// True if the rules behind it are not evaluated for an event that has taken it.
    pub stop: bool,
    /// True if it adds to the other rules: an event to which only such rules apply still goes to
    /// the router's fallback.
    pub copy: bool,
}

/// The strategy for several destinations of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Each destination is settled alone: a failing one holds nothing back for the others.
    #[default]
    BestEffort,
    /// Settled when all destinations have confirmed; otherwise the dead letter names those that
    /// have.
    AllOrNothing,
}

/// The transform of a payload: include, exclude, rename and add are applied in this order, whatever
/// order they are written in.
///
/// Paths start in the payload, `customer.country`, and do not reach into lists. Values that are not
/// named keep their bytes.
///
/// The copy that a route makes is a message of its own: its id is a UUIDv5 of the event's id and
/// the name of the route, the same for each attempt. It has the type in
/// [`event_type`](Self::event_type), or else the type of the event without a schema version,
/// because it does not have the fields of that version.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Transform {
    /// The paths to keep; empty for all.
    pub include: Vec<String>,
    /// The paths to remove.
    pub exclude: Vec<String>,
    /// Old and new names, all applied at once, so that two may swap places. Missing values stay
    /// missing.
    pub rename: BTreeMap<String, String>,
    /// The values to set, whether they exist or not.
    pub add: BTreeMap<String, Value>,
    /// The event type of the copy; `None` for that of the event, without a schema version.
    pub event_type: Option<String>,
    /// The schema version of the copy, 1 by default; requires an `event_type`.
    pub version: Option<u32>,
}

impl Rule {
    /// A rule for every event, without destinations yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            events: vec!["*".to_owned()],
            kind: None,
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

    /// Applies only to these event types; `*` stands for any characters: `order.*`.
    #[must_use]
    pub fn events<S: Into<String>>(self, events: impl IntoIterator<Item = S>) -> Self {
        Self {
            events: events.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// Applies only to events of this kind, or with [`Kinds::Any`] to both.
    ///
    /// ```
    /// use bento_core::event::EventKind;
    /// use bento_relay::route::Rule;
    ///
    /// let rule = Rule::new("partners").kind(EventKind::Integration).to(["partners"]);
    /// ```
    #[must_use]
    pub fn kind(self, kinds: impl Into<Kinds>) -> Self {
        Self {
            kind: Some(kinds.into()),
            ..self
        }
    }

    /// Applies only to events that meet this condition.
    #[must_use]
    pub fn when(self, condition: Condition) -> Self {
        Self {
            when: Some(condition),
            ..self
        }
    }

    /// Sends the events to these destinations.
    #[must_use]
    pub fn to<S: Into<String>>(self, destinations: impl IntoIterator<Item = S>) -> Self {
        Self {
            to: destinations.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// Settles an event when all destinations have confirmed.
    #[must_use]
    pub fn all_or_nothing(self) -> Self {
        Self {
            strategy: Strategy::AllOrNothing,
            ..self
        }
    }

    /// Transforms the payload.
    #[must_use]
    pub fn transform(self, transform: Transform) -> Self {
        Self {
            transform: Some(transform),
            ..self
        }
    }

    /// Takes a share of the events, above 0 and up to 1. An event in the sample of a rule is also
    /// in the sample of every rule with a larger share.
    #[must_use]
    pub fn sample(self, share: f64) -> Self {
        Self {
            sample: Some(share),
            ..self
        }
    }

    /// Delivers events this long after their `occurred_at`, out of their aggregate's order unless
    /// [`keeps_order`](Self::keeps_order) is set too.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self {
            delay: Some(delay),
            ..self
        }
    }

    /// Makes a delayed event delay the later ones of its aggregate.
    #[must_use]
    pub fn keeps_order(self) -> Self {
        Self {
            keeps_order: true,
            ..self
        }
    }

    /// Gives events up this long after their `occurred_at`.
    #[must_use]
    pub fn expires_after(self, after: Duration) -> Self {
        Self {
            expires_after: Some(after),
            ..self
        }
    }

    /// Retries by the policy of this name.
    #[must_use]
    pub fn retry(self, policy: impl Into<String>) -> Self {
        Self {
            retry: Some(policy.into()),
            ..self
        }
    }

    /// Sets the effect of a failing event on the later ones of its aggregate.
    #[must_use]
    pub fn head_of_line(self, head_of_line: HeadOfLine) -> Self {
        Self {
            head_of_line,
            ..self
        }
    }

    /// Sends events that fail permanently here instead of to the router's fallback.
    #[must_use]
    pub fn fallback(self, destination: impl Into<String>) -> Self {
        Self {
            fallback: Some(destination.into()),
            ..self
        }
    }

    /// Ends the search of rules for an event that has taken this one. An event that the sample left
    /// out goes on.
    #[must_use]
    pub fn stop(self) -> Self {
        Self { stop: true, ..self }
    }

    /// Adds to the other rules: an event to which only such rules apply still goes to the router's
    /// fallback, or becomes a dead letter.
    #[must_use]
    pub fn copy(self) -> Self {
        Self { copy: true, ..self }
    }
}

impl Transform {
    /// Keeps only these paths.
    #[must_use]
    pub fn include<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.include.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Removes these paths.
    #[must_use]
    pub fn exclude<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.exclude.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Gives a value a new name, which must be free.
    #[must_use]
    pub fn rename(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rename.insert(from.into(), to.into());
        self
    }

    /// Sets a value.
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
