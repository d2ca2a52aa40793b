//! The faults of a configuration.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use bento_core::names::{Hint, Listed};
use bento_relay::route::{KeyPath, RouterFault, Step};

use super::origin::Origin;

/// A configuration cannot be used. It shows no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not of its format.
    #[error("{origin}: {message}")]
    Syntax {
        /// The file, with the line where it is known.
        origin: Origin,
        /// The rule that is broken.
        message: String,
    },
    /// A variable of the environment does not hold text.
    #[error("{name} does not hold UTF-8")]
    Variable {
        /// Its name.
        name: String,
    },
    /// Everything that is wrong with what was configured.
    #[error(transparent)]
    Faults(#[from] Faults),
}

/// Everything that is wrong with what was configured; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// Each fault.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

/// One line for each.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut faults = self.0.iter();
        if let Some(first) = faults.next() {
            write!(f, "{first}")?;
        }
        faults.try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

impl std::error::Error for Faults {}

/// One thing that is wrong with what was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The path of the key: `publishers.nats.url`.
    pub path: KeyPath,
    /// The place of the value: a line of a file, or a variable.
    pub origin: Origin,
    /// The kind of the fault.
    pub kind: FaultKind,
}

impl Fault {
    pub(super) fn invalid(
        path: impl Into<KeyPath>,
        origin: Origin,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            origin,
            kind: FaultKind::Invalid {
                reason: reason.into(),
            },
        }
    }
}

/// The kinds of faults that a key can have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The key does not exist.
    UnknownKey {
        /// The valid key with a similar name, as it is to be written, if there is one.
        meant: Option<String>,
        /// The valid ones.
        known: Vec<String>,
    },
    /// The value is not one of the valid ones. It is not shown: it may be a secret in the
    /// wrong place.
    UnknownValue {
        /// The valid value with a similar name, if there is one.
        meant: Option<String>,
        /// The valid ones.
        known: Vec<String>,
    },
    /// A kind of publisher, or a section, that this program was built without.
    FeatureOff {
        /// The cargo feature of `bento-events` that has it.
        feature: String,
    },
    /// A key that has to be there is not.
    Missing,
    /// A file is not of its format.
    Syntax {
        /// The rule that is broken.
        message: String,
    },
    /// Something about the rules of the router.
    Router(RouterFault),
    /// The value cannot be what it is.
    Invalid {
        /// The rule that is broken.
        reason: String,
    },
}

/// `bento.toml:3: unknown key …`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, origin, kind } = self;
        write!(f, "{origin}: ")?;
        // Rules write their paths by themselves, with the paths in payloads as they are.
        if let FaultKind::Router(fault) = kind {
            return match path.steps() {
                [] => write!(f, "{fault}"),
                _ => write!(f, "`{path}`: {fault}"),
            };
        }
        let path = written(path.steps());
        match kind {
            FaultKind::UnknownKey { meant, known } if meant.is_some() || known.is_empty() => {
                write!(f, "unknown key `{path}`{}", Hint(meant.as_deref()))
            }
            FaultKind::UnknownKey { known, .. } => {
                write!(f, "unknown key `{path}`; the keys are {}", Listed(known))
            }
            FaultKind::UnknownValue { meant, known } => {
                let (known, hint) = (Listed(known), Hint(meant.as_deref()));
                write!(f, "`{path}` must be one of {known}{hint}")
            }
            FaultKind::FeatureOff { feature } => write!(
                f,
                "`{path}` needs the cargo feature `{feature}` of `bento-events`, without which \
                 this program was built"
            ),
            FaultKind::Syntax { message } => f.write_str(message),
            FaultKind::Router(fault) => write!(f, "{fault}"),
            FaultKind::Missing => write!(f, "`{path}` is missing"),
            FaultKind::Invalid { reason } => write!(f, "`{path}`: {reason}"),
        }
    }
}

impl std::error::Error for Fault {}

/// The path as TOML writes it: `publishers.nats.servers[2]`, `publishers."my nats"`.
pub(super) fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                let is_bare = !key.is_empty()
                    && key
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
                text.push_str(&if is_bare {
                    Cow::Borrowed(key.as_str())
                } else {
                    Cow::Owned(format!("{key:?}"))
                });
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

pub(super) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
