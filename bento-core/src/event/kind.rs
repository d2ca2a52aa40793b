//! The kind of an event: internal, or published for other contexts.

use std::fmt;

/// The kind of an event, by which the relay routes it.
///
/// ```
/// use bento_core::event::EventKind;
///
/// assert_eq!(EventKind::Integration.as_str(), "integration");
/// assert_eq!(EventKind::from_name("domain"), Some(EventKind::Domain));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A domain event: what an aggregate raised, in the words of its own context.
    #[default]
    Domain,
    /// An integration event: made from a domain event, in the form that other contexts rely on.
    Integration,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Domain, Self::Integration];

    /// The name in settings and in the database: `domain` or `integration`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Integration => "integration",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
