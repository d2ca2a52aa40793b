//! The kinds of events that a rule takes.

use bento_core::event::EventKind;

/// The kinds of events that a rule takes: written as `domain`, `integration` or `any`.
///
/// In a program that declares integration events, every rule says its kinds. Otherwise a rule takes
/// both, so a domain event would leave its context by the same way as its integration event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kinds {
    /// Events of one kind.
    Only(EventKind),
    /// Events of every kind.
    Any,
}

impl Kinds {
    /// The names of the values, as rules write them.
    pub(super) const NAMES: [(&'static str, Self); 3] = [
        (EventKind::Domain.as_str(), Self::Only(EventKind::Domain)),
        (
            EventKind::Integration.as_str(),
            Self::Only(EventKind::Integration),
        ),
        ("any", Self::Any),
    ];

    /// True for an event of this kind.
    #[must_use]
    pub fn take(self, kind: EventKind) -> bool {
        match self {
            Self::Only(only) => only == kind,
            Self::Any => true,
        }
    }
}

impl From<EventKind> for Kinds {
    fn from(kind: EventKind) -> Self {
        Self::Only(kind)
    }
}
