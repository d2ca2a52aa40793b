//! The errors of handlers, and of their set.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bento_core::names::{Hint, Listed};
use bento_core::report::with_causes;
use bento_seaorm::ProjectionKey;

use crate::settings::SettingFault;

/// The class of a failed call, which decides about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Transient,
    Permanent,
    Unavailable,
    /// Another transaction was in the way.
    NotTried,
    /// The event is newer than this release.
    Newer,
    Skip,
}

impl Class {
    /// The name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Unavailable => "unavailable",
            Self::NotTried | Self::Newer => "not_tried",
            Self::Skip => "skip",
        }
    }
}

/// The error of a handler.
///
/// Every error converts to a transient one, so that `?` works; the others are made here.
///
/// | error | attempt | the event |
/// |---|---|---|
/// | [`transient`](Self::transient), any other error, a panic | counts | is tried again, and is a dead letter after the last attempt |
/// | [`permanent`](Self::permanent) | counts | is a dead letter at once |
/// | [`unavailable`](Self::unavailable) | does not count | waits until the handler can work again: the circuit opens after several in a row |
/// | [`skip`](Self::skip) | – | is done, without the handler's effect |
///
/// ```
/// use bento_handlers::HandleError;
///
/// fn parse(amount: &str) -> Result<i64, HandleError> {
///     amount.parse().map_err(|error| HandleError::permanent("invalid amount").because(error))
/// }
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid amount");
/// ```
pub struct HandleError {
    pub(crate) class: Class,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl HandleError {
    fn new(class: Class, message: Cow<'static, str>) -> Self {
        Self {
            class,
            message,
            retry_after: None,
            source: None,
        }
    }

    /// A failure that may not repeat. After the last attempt the event is a dead letter.
    #[must_use]
    pub fn transient(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Transient, message.into())
    }

    /// A failure that repeats with the event, which becomes a dead letter at once.
    #[must_use]
    pub fn permanent(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Permanent, message.into())
    }

    /// The handler cannot work at all now, because a system that it needs is away. After several in
    /// a row its circuit opens, and its events wait without an attempt.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Unavailable, message.into())
    }

    /// The event does not concern the handler. It is recorded as skipped, and what the handler has
    /// written is rolled back.
    #[must_use]
    pub fn skip(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Skip, reason.into())
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Asks for at least this wait before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same failure as one that does not count as an attempt.
    pub(crate) fn not_tried(self) -> Self {
        Self {
            class: Class::NotTried,
            ..self
        }
    }

    /// The same failure as one that waits for a newer release.
    pub(crate) fn of_newer_version(self) -> Self {
        Self {
            class: Class::Newer,
            ..self
        }
    }

    pub(crate) fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The cause, as the error that was given or converted.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.source.as_deref()
    }

    /// The message and those of every cause, joined by `: `.
    #[must_use]
    pub fn chain(&self) -> String {
        match &self.source {
            Some(source) if self.message.is_empty() => with_causes(&**source),
            Some(source) => format!("{}: {}", self.message, with_causes(&**source)),
            None => self.message.clone().into_owned(),
        }
    }
}

/// Every error becomes a transient one, with its own message.
impl<E: StdError + Send + Sync + 'static> From<E> for HandleError {
    fn from(error: E) -> Self {
        Self::transient("").because(error)
    }
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) if self.message.is_empty() => source.fmt(f),
            _ => f.write_str(&self.message),
        }
    }
}

impl fmt::Debug for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleError")
            .field("class", &self.class)
            .field("message", &self.chain())
            .finish_non_exhaustive()
    }
}

/// The faults of a set of handlers, all of them.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.faults))]
pub struct BuildError {
    faults: Vec<BuildFault>,
}

impl BuildError {
    pub(crate) fn check(faults: Vec<BuildFault>) -> Result<(), Self> {
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Self { faults })
        }
    }

    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[BuildFault] {
        &self.faults
    }
}

fn list(faults: &[BuildFault]) -> String {
    let each: Vec<_> = faults.iter().map(ToString::to_string).collect();
    format!("the handlers cannot be built: {}", each.join("; "))
}

fn both(first: &(&str, u32), second: &(&str, u32)) -> String {
    let ((one, version), (other, other_version)) = (first, second);
    format!("`{one}` version {version} and `{other}` version {other_version}")
}

/// One fault of a set of handlers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildFault {
    /// A handler takes a state that was not given.
    #[error(
        "handler `{handler}` takes `State<{state}>`, which is missing: add `.state(…)` with a \
         value of this type"
    )]
    MissingState {
        /// The name of the handler.
        handler: &'static str,
        /// The type of the state.
        state: &'static str,
    },
    /// Two handlers have one name.
    #[error(
        "two handlers are named `{handler}`, at {first} and {second}: the name tells what was \
         handled, so each handler has its own"
    )]
    SameName {
        /// The name.
        handler: &'static str,
        /// The place of the first.
        first: String,
        /// The place of the second.
        second: String,
    },
    /// There are settings for a handler that the program does not have.
    #[error(
        "there are settings for the handler `{handler}`, which this program does not have: the \
         handlers are {}{}",
        Listed(.known), Hint::among(.handler, .known)
    )]
    UnknownHandler {
        /// The name in the settings.
        handler: String,
        /// The names of the handlers of the program.
        known: Vec<String>,
    },
    /// A setting of a handler breaks a rule.
    #[error("a setting of handler `{handler}` is invalid: {fault}")]
    Setting {
        /// The name of the handler.
        handler: &'static str,
        /// The setting, and the rule.
        fault: SettingFault,
    },
    /// A projection with fields was not given.
    #[error(
        "projection `{projection}`, declared at {declared}, has fields: hand its value over, by \
         `.projection(…)`"
    )]
    MissingProjection {
        /// The name of the projection with its version, `balances@2`.
        projection: String,
        /// The place of the declaration.
        declared: String,
    },
    /// A projection takes events whose aggregates do not number them.
    #[error(
        "projection `{projection}` takes `{event_type}` of `{aggregate}`, whose events have no \
         sequence, by which a projection knows what it has seen: give the aggregate a version \
         (`#[aggregate(version)]` on a field), or take the event by a handler"
    )]
    NoSequence {
        /// The name of the projection.
        projection: &'static str,
        /// The event type.
        event_type: &'static str,
        /// The aggregate that raises it.
        aggregate: &'static str,
    },
    /// A projection takes several events that have one number, because an integration event has
    /// that of the domain event that it is made from.
    #[error(
        "projection `{projection}` takes {}, which have one number in their aggregate when they \
         tell of the same event, so it would take the second for a repetition of the first: take \
         the domain event, and nothing that is made from it",
        both(.first, .second)
    )]
    SameNumber {
        /// The name of the projection.
        projection: &'static str,
        /// The event type and the version of one.
        first: (&'static str, u32),
        /// The event type and the version of another one.
        second: (&'static str, u32),
    },
    /// There are settings for a projection that the program does not have.
    #[error(
        "there are settings for the projection `{projection}`, which this program does not have: \
         the projections are {}{}",
        Listed(.known), Hint::among(.projection, .known)
    )]
    UnknownProjection {
        /// The name in the settings.
        projection: String,
        /// The names of the projections of the program.
        known: Vec<String>,
    },
    /// A setting of a projection breaks a rule.
    #[error("a setting of projection `{projection}` is invalid: {fault}")]
    ProjectionSetting {
        /// The name of the projection.
        projection: &'static str,
        /// The setting, and the rule.
        fault: SettingFault,
    },
    /// A handler runs more calls at once than the pool has connections.
    #[error(
        "handler `{handler}` runs {concurrency} calls at once, and the pool of the dispatcher has \
         {pool} connection(s): lower `concurrency`, or raise `max_connections` of the pool"
    )]
    PoolTooSmall {
        /// The name of the handler.
        handler: &'static str,
        /// The calls at once.
        concurrency: u32,
        /// The connections of the pool.
        pool: u32,
    },
}

/// A fault of a projection that is known before its first event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionFault {
    /// A view is to show a table that is missing.
    #[error(
        "{key} needs the table `{table}`, which is missing: run the migration that creates it, and \
         retry the projection"
    )]
    MissingTable {
        /// The version.
        key: ProjectionKey,
        /// The table.
        table: String,
    },
    /// A version has seen events that the store does not have, as after a restored backup.
    #[error(
        "{key} has seen event {checkpoint} of aggregate `{aggregate_id}`, and the event store ends \
         at {stored}: the store was restored, or its events were deleted; give the projection a \
         higher version to build it anew"
    )]
    AheadOfStore {
        /// The version.
        key: ProjectionKey,
        /// The key of one of the aggregates.
        aggregate_id: String,
        /// The number of the last event that the version has seen.
        checkpoint: i64,
        /// The number of the last event that is stored.
        stored: i64,
    },
    /// A higher version is live.
    #[error(
        "{key} is below version {live}, which is live: it is kept up to date as long as this \
         process serves it, and readers find version {live}; deploy the release with that version, \
         or give this one a higher number"
    )]
    LowerVersion {
        /// The version.
        key: ProjectionKey,
        /// The live version.
        live: u32,
    },
    /// A version is recorded that no relay serves, and whose name the program does not have.
    #[error(
        "{key} is recorded, and no relay serves it: if the projection got another name, its old \
         one is ended by `Projections::forget`; else start the program that has it"
    )]
    Unserved {
        /// The version.
        key: ProjectionKey,
    },
}

impl ProjectionFault {
    /// True if the version cannot go on.
    pub(crate) fn stops(&self) -> bool {
        matches!(self, Self::MissingTable { .. } | Self::AheadOfStore { .. })
    }
}
