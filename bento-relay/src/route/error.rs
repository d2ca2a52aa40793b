//! Faults in the rules of a router.

use std::fmt;

use bento_core::names::{Hint, Listed};

use crate::reading::{KeyPath, Step};

/// All faults in the rules of a router, each with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterErrors(pub(super) Vec<RouterError>);

impl RouterErrors {
    /// The faults; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &RouterError> {
        self.0.iter()
    }
}

impl fmt::Display for RouterErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors = self.0.iter();
        if let Some(first) = errors.next() {
            write!(f, "{first}")?;
        }
        errors.try_for_each(|error| write!(f, "\n{error}"))
    }
}

impl std::error::Error for RouterErrors {}

/// One fault in the rules of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterError {
    /// The key, in the form of the configuration: `rules[2].when.all[0].payload.total.gt`. Empty
    /// for the whole text.
    pub path: KeyPath,
    /// The fault.
    pub fault: RouterFault,
}

impl fmt::Display for RouterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, fault } = self;
        if path.steps().is_empty() {
            write!(f, "{fault}")
        } else {
            write!(f, "{path}: {fault}")
        }
    }
}

impl std::error::Error for RouterError {}

/// The kinds of faults in the rules of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouterFault {
    /// The text does not have the expected format.
    Syntax {
        /// The message of the parser.
        message: String,
    },
    /// This release does not read this version of the configuration.
    Version {
        /// The version found.
        found: String,
    },
    /// The key is unknown.
    UnknownKey {
        /// The key.
        key: String,
        /// The known keys.
        known: Vec<&'static str>,
    },
    /// A required key is missing.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The value is invalid.
    Invalid {
        /// The expected value, and the way out.
        reason: String,
    },
    /// The name is used twice.
    Duplicate {
        /// The name.
        name: String,
    },
    /// The router does not define a destination of this name.
    UnknownDestination {
        /// The name.
        name: String,
        /// The defined destinations.
        known: Vec<String>,
    },
    /// The name is reserved for the dead letters, and can only be a fallback.
    Reserved,
    /// The router does not define a retry policy of this name.
    UnknownRetryPolicy {
        /// The name.
        name: String,
        /// The defined policies.
        known: Vec<String>,
    },
    /// An event can never take this rule.
    NeverMatches {
        /// The reason.
        reason: String,
    },
    /// Two steps of a transform give one name to two values.
    Collision {
        /// The name.
        name: String,
    },
    /// Two rules lead to one destination, and one of them is all-or-nothing: events of an aggregate
    /// that take both would overtake each other there.
    Shared {
        /// The name of the destination.
        destination: String,
        /// The names of both rules, in their order.
        rules: Box<[String; 2]>,
        /// The name of the rule that is all-or-nothing.
        whole: String,
    },
    /// A fallback is a member of an all-or-nothing rule: events that fall back and events of the
    /// rule would overtake each other there.
    SharedFallback {
        /// The name of the destination.
        destination: String,
        /// The name of the rule that is all-or-nothing.
        whole: String,
    },
}

impl fmt::Display for RouterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { message } => write!(f, "invalid syntax: {message}"),
            Self::Version { found } => write!(
                f,
                "unsupported version {found}: this release reads version 1 of the configuration"
            ),
            Self::UnknownKey { key, known } => {
                write!(
                    f,
                    "unknown key `{key}`: the keys are {}{}",
                    Listed(known),
                    Hint::among(key, known)
                )
            }
            Self::Missing { key } => write!(f, "`{key}` is missing"),
            Self::Invalid { reason } => f.write_str(reason),
            Self::Duplicate { name } => write!(f, "the name `{name}` is used twice"),
            Self::UnknownDestination { name, known } if known.is_empty() => {
                write!(
                    f,
                    "unknown destination `{name}`: no destinations are defined; define it under \
                     `destinations`"
                )
            }
            Self::UnknownDestination { name, known } => {
                write!(
                    f,
                    "unknown destination `{name}`: the destinations are {}{}",
                    Listed(known),
                    Hint::among(name, known)
                )
            }
            Self::Reserved => f.write_str(
                "`dead_letter_queue` is reserved for the dead letters: use it only as a fallback",
            ),
            Self::UnknownRetryPolicy { name, known } => {
                write!(
                    f,
                    "unknown retry policy `{name}`: the policies are {}{}",
                    Listed(known),
                    Hint::among(name, known)
                )
            }
            Self::NeverMatches { reason } => {
                write!(f, "this rule can never apply: {reason}")
            }
            Self::Collision { name } => write!(f, "two values would have the name `{name}`"),
            Self::Shared {
                destination,
                rules,
                whole,
            } => write!(
                f,
                "rules `{}` and `{}` both lead to `{destination}`, and rule `{whole}` is \
                 all-or-nothing: events of one aggregate would overtake each other there; give \
                 one of them a destination of its own, with the same publisher and topic",
                rules[0], rules[1]
            ),
            Self::SharedFallback { destination, whole } => write!(
                f,
                "`{destination}` belongs to the all-or-nothing rule `{whole}`, whose events and \
                 those that fall back would overtake each other there; fall back on a destination \
                 of its own, with the same publisher and topic"
            ),
        }
    }
}

/// The faults found so far, and the path that is being checked.
#[derive(Debug, Default)]
pub(super) struct Faults {
    path: Vec<Step>,
    found: Vec<RouterError>,
}

impl Faults {
    /// Checks the value below a key.
    pub(super) fn at<R>(&mut self, key: &str, look: impl FnOnce(&mut Self) -> R) -> R {
        self.within(&[key.into()], look)
    }

    /// Checks an element of a list.
    pub(super) fn at_index<R>(&mut self, index: usize, look: impl FnOnce(&mut Self) -> R) -> R {
        self.within(&[Step::Index(index)], look)
    }

    /// Checks a value some steps below.
    pub(super) fn within<R>(&mut self, steps: &[Step], look: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        self.path.extend_from_slice(steps);
        let seen = look(self);
        self.path.truncate(length);
        seen
    }

    pub(super) fn add(&mut self, fault: RouterFault) {
        self.found.push(RouterError {
            path: self.path.iter().cloned().collect(),
            fault,
        });
    }

    pub(super) fn invalid(&mut self, reason: impl Into<String>) {
        self.add(RouterFault::Invalid {
            reason: reason.into(),
        });
    }

    /// The number of faults found so far.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    pub(super) fn into_result(self) -> Result<(), RouterErrors> {
        if self.found.is_empty() {
            Ok(())
        } else {
            Err(RouterErrors(self.found))
        }
    }
}
