//! What is wrong with the rules of a router.

use std::fmt;

/// Everything that is wrong with the rules of a router, each with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterErrors(pub(super) Vec<RouterError>);

impl RouterErrors {
    /// Each error; at least one.
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

/// One thing that is wrong with the rules of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterError {
    /// The key, as it stands in the configuration: `rules[2].when.all[0].payload.total.gt`. Empty
    /// for the whole.
    pub path: String,
    /// What is wrong there.
    pub fault: RouterFault,
}

impl fmt::Display for RouterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, fault } = self;
        if path.is_empty() {
            write!(f, "{fault}")
        } else {
            write!(f, "{path}: {fault}")
        }
    }
}

impl std::error::Error for RouterError {}

/// What can be wrong with the rules of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouterFault {
    /// The text is not of the format it should have.
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// The version of the configuration is none that this release reads.
    Version {
        /// The version it has.
        found: String,
    },
    /// There is no such key.
    UnknownKey {
        /// The key.
        key: String,
        /// The valid ones.
        known: Vec<&'static str>,
    },
    /// A key that has to be there is not.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value cannot be what it is.
    Invalid {
        /// What is expected, and the way out.
        reason: String,
    },
    /// Two things have one name.
    Duplicate {
        /// The name.
        name: String,
    },
    /// No destination of this name is defined.
    UnknownDestination {
        /// The name.
        name: String,
        /// The defined ones.
        known: Vec<String>,
    },
    /// The name stands for the dead letters, and can only be a fallback.
    Reserved,
    /// No retry policy of this name is defined.
    UnknownRetryPolicy {
        /// The name.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// No event can ever take this rule.
    NeverMatches {
        /// Why.
        reason: String,
    },
    /// Two steps of a transform give one name to two values.
    Collision {
        /// The name.
        name: String,
    },
    /// Two rules lead to one destination, and one of them is all-or-nothing: the events of an
    /// aggregate that take both would overtake each other there.
    Shared {
        /// The name of the destination.
        destination: String,
        /// The names of both rules, in their order.
        rules: Box<[String; 2]>,
        /// The name of the rule that is all-or-nothing.
        whole: String,
    },
    /// A fallback is a member of an all-or-nothing rule: what falls back and what the rule sends
    /// would overtake each other there.
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
            Self::Syntax { message } => write!(f, "the text cannot be read: {message}"),
            Self::Version { found } => write!(
                f,
                "this release reads version 1 of the configuration, not {found}"
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
            Self::Duplicate { name } => write!(f, "the name `{name}` is taken already"),
            Self::UnknownDestination { name, known } if known.is_empty() => {
                write!(
                    f,
                    "there is no destination `{name}`, nor any other: define it under \
                     `destinations`"
                )
            }
            Self::UnknownDestination { name, known } => {
                write!(
                    f,
                    "there is no destination `{name}`: there are {}{}",
                    Listed(known),
                    Hint::among(name, known)
                )
            }
            Self::Reserved => f.write_str(
                "`dead_letter_queue` stands for the dead letters: it can be a fallback only",
            ),
            Self::UnknownRetryPolicy { name, known } => {
                write!(
                    f,
                    "there is no retry policy `{name}`: there are {}{}",
                    Listed(known),
                    Hint::among(name, known)
                )
            }
            Self::NeverMatches { reason } => {
                write!(f, "no event can ever take this rule: {reason}")
            }
            Self::Collision { name } => write!(f, "the name `{name}` would be that of two values"),
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

/// `` `a`, `b` ``.
struct Listed<'a, T>(&'a [T]);

impl<T: AsRef<str>> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            write!(
                f,
                "{}`{}`",
                if index == 0 { "" } else { ", " },
                name.as_ref()
            )?;
        }
        Ok(())
    }
}

/// `; did you mean …?`, where one of the names is near.
struct Hint<'a>(Option<&'a str>);

impl<'a> Hint<'a> {
    fn among<T: AsRef<str>>(wrong: &str, names: &'a [T]) -> Self {
        let by_distance = names
            .iter()
            .map(|name| (strsim::levenshtein(wrong, name.as_ref()), name.as_ref()));
        Self(
            by_distance
                .min()
                .filter(|(distance, _)| *distance <= wrong.len().div_ceil(3))
                .map(|(_, name)| name),
        )
    }
}

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |name| write!(f, "; did you mean `{name}`?"))
    }
}

/// Faults as they are found, each with the place that is being looked at.
#[derive(Debug, Default)]
pub(super) struct Faults {
    path: String,
    found: Vec<RouterError>,
}

impl Faults {
    /// Looks below a key.
    pub(super) fn at<R>(&mut self, key: &str, look: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        let seen = look(self);
        self.path.truncate(length);
        seen
    }

    /// Looks at an element of a list.
    pub(super) fn at_index<R>(&mut self, index: usize, look: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        let seen = look(self);
        self.path.truncate(length);
        seen
    }

    pub(super) fn add(&mut self, fault: RouterFault) {
        self.found.push(RouterError {
            path: self.path.clone(),
            fault,
        });
    }

    pub(super) fn invalid(&mut self, reason: impl Into<String>) {
        self.add(RouterFault::Invalid {
            reason: reason.into(),
        });
    }

    /// How many were found so far.
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
