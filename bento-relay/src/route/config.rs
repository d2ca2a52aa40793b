//! The rules of a router, as they are written in code or read from a file.

use std::collections::BTreeMap;

use super::condition::Condition;
use super::kinds::Kinds;
use super::rule::Rule;
use crate::publish::Destination;
use crate::retry::RetryPolicies;

/// The name under which rows are kept whose routes are not known yet.
pub(crate) const UNROUTABLE: &str = "unroutable";

/// The name under which pending rows are kept that cannot be read.
pub(crate) const UNREADABLE: &str = "unreadable";

/// True for a name under which rows without a route are kept, so that no destination and no rule
/// can have it.
pub(crate) fn is_reserved(name: &str) -> bool {
    [UNROUTABLE, UNREADABLE].contains(&name)
}

/// Destinations and the rules that lead to them, written in code or read by serde from JSON, TOML
/// or another format.
///
/// ```
/// use bento_relay::publish::Destination;
/// use bento_relay::route::{RouterConfig, Rule, field};
///
/// let router = RouterConfig::default()
///     .destination(Destination::new("orders").via("nats"))
///     .destination(Destination::new("audit").with_topic("audit.log"))
///     .rule(Rule::new("orders").events(["order.*"]).to(["orders"]))
///     .rule(Rule::new("large").when(field("payload.total").gte(1000)).to(["audit"]))
///     .fallback("audit")
///     .build()?;
/// # Ok::<_, bento_relay::route::RouterErrors>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RouterConfig {
    /// The destinations of events. Names are not repeated, and none is `dead_letter_queue`,
    /// `unroutable` or `unreadable`.
    pub destinations: Vec<Destination>,
    /// The rules, in the order in which they are asked.
    pub rules: Vec<Rule>,
    /// The destination of what no rule applies to and of what fails permanently; without one, or as
    /// `dead_letter_queue`, those are dead letters.
    pub fallback: Option<String>,
    /// Retry policies that rules name, besides [those that are there](RetryPolicies::named).
    pub retry_policies: BTreeMap<String, RetryPolicies>,
}

impl RouterConfig {
    /// The form of the configuration that this release reads.
    pub const VERSION: u64 = 1;

    /// The name that stands for the dead letters where a fallback is named.
    pub const DEAD_LETTER_QUEUE: &'static str = "dead_letter_queue";

    /// Each event to one destination, by the first pattern that its event type fits. Each
    /// destination is served by the publisher of its name.
    ///
    /// ```
    /// # use bento_relay::route::RouterConfig;
    /// let router = RouterConfig::by_event_type([("order.*", "orders"), ("*", "rest")]).build()?;
    /// # Ok::<_, bento_relay::route::RouterErrors>(())
    /// ```
    pub fn by_event_type<P: Into<String>, D: AsRef<str>>(
        pairs: impl IntoIterator<Item = (P, D)>,
    ) -> Self {
        let mut config = Self::default();
        for (pattern, destination) in pairs {
            let rule = Rule::new(config.next_name("by event_type"))
                .events([pattern])
                .to([destination.as_ref()])
                .stop();
            config = config.with_known(destination.as_ref()).rule(rule);
        }
        config
    }

    /// Each event to every destination whose condition it meets. Each destination is served by the
    /// publisher of its name.
    pub fn by_condition<D: AsRef<str>>(pairs: impl IntoIterator<Item = (Condition, D)>) -> Self {
        let mut config = Self::default();
        for (condition, destination) in pairs {
            let rule = Rule::new(config.next_name("by condition"))
                .when(condition)
                .to([destination.as_ref()]);
            config = config.with_known(destination.as_ref()).rule(rule);
        }
        config
    }

    /// Adds a destination.
    #[must_use]
    pub fn destination(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }

    /// Adds a rule behind those that are there.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sends a share of all events to `destination` too, whatever the other rules say. It is served
    /// by the publisher of its name unless it is defined.
    #[must_use]
    pub fn sampled_copy(mut self, destination: &str, share: f64) -> Self {
        let rule = Rule::new(self.next_name("sampled copy"))
            .to([destination])
            .kind(Kinds::Any)
            .sample(share)
            .copy();
        // In front, because a rule that stops ends the search.
        self.rules.insert(0, rule);
        self.with_known(destination)
    }

    /// Sets the kind of the events that a rule takes, for the rules so far that do not say it.
    ///
    /// ```
    /// # use bento_core::event::EventKind;
    /// # use bento_relay::route::RouterConfig;
    /// let router = RouterConfig::by_event_type([("shop.*", "partners")])
    ///     .kind(EventKind::Integration)
    ///     .build()?;
    /// # Ok::<_, bento_relay::route::RouterErrors>(())
    /// ```
    #[must_use]
    pub fn kind(mut self, kinds: impl Into<Kinds>) -> Self {
        let kinds = kinds.into();
        for rule in &mut self.rules {
            rule.kind.get_or_insert(kinds);
        }
        self
    }

    /// Sets the destination of events that no rule applies to, and of events that fail permanently.
    #[must_use]
    pub fn fallback(self, destination: impl Into<String>) -> Self {
        Self {
            fallback: Some(destination.into()),
            ..self
        }
    }

    /// Adds a retry policy that rules can name.
    #[must_use]
    pub fn retry_policy(
        mut self,
        name: impl Into<String>,
        policies: impl Into<RetryPolicies>,
    ) -> Self {
        self.retry_policies.insert(name.into(), policies.into());
        self
    }

    fn with_known(self, name: &str) -> Self {
        let is_known = self.destinations.iter().any(|known| *known.name == *name);
        if is_known {
            self
        } else {
            self.destination(Destination::new(name))
        }
    }

    fn next_name(&self, what: &str) -> String {
        let mut names = (1..).map(|number| format!("{what} {number}"));
        names
            .find(|name| self.rules.iter().all(|rule| rule.name != *name))
            .expect("there are finitely many rules")
    }
}
