//! The errors of a consumer that does not start.

use bento_relay::source::SourceError;
use bento_relay::{RelayError, StartError, StoreError};
use bento_seaorm::TablePrefix;

/// A setting of a consumer is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`consumer.{setting}` is {value}, and {rule}")]
pub struct ConsumerSettingsError {
    /// The name of the setting.
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// The rule.
    pub rule: &'static str,
}

/// A consumer did not start, or has ended with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// A setting is out of range.
    #[error(transparent)]
    Settings(#[from] ConsumerSettingsError),
    /// The inbox and the handlers have tables of different prefixes or schemas, so that what was
    /// handled would be remembered elsewhere.
    #[error(
        "the inbox has the table prefix `{inbox}`, and the connection of the handlers \
         `{handlers}`: give both the same, with `Inbox::with_table_prefix` and \
         `OutboxConnectionBuilder::table_prefix`"
    )]
    OtherTables {
        /// The prefix of the inbox.
        inbox: TablePrefix,
        /// The prefix of the connection of the handlers.
        handlers: TablePrefix,
    },
    /// The program has no handlers, so that every event would be left out.
    #[error(
        "the consumer has no handlers: a crate that the program names nowhere is not linked; name \
         it, as in `use stock as _;`, or `add` the handlers"
    )]
    NoHandlers,
    /// Two sources have one name, or a name cannot be stored.
    #[error("source `{name}`: {rule}")]
    SourceName {
        /// The name.
        name: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// The broker refuses a source: an operator has to repair something.
    #[error("source `{name}` cannot be read")]
    Refused {
        /// The name of the source.
        name: String,
        /// The answer of the broker, and the way out.
        source: SourceError,
    },
    /// A broker could not be reached in time.
    #[error(
        "source `{name}` could not be reached within `start_timeout`; start its broker, or let the \
         consumer wait for it, with `start_in_background`"
    )]
    Unreachable {
        /// The name of the source.
        name: String,
        /// The last attempt.
        source: SourceError,
    },
    /// The relay of the inbox did not start.
    #[error("the relay of the inbox did not start")]
    Start(#[from] StartError),
    /// The relay of the inbox has ended with an error.
    #[error("the relay of the inbox has ended")]
    Relay(#[from] RelayError),
    /// The database of the inbox does not answer as it should.
    #[error("the inbox cannot be used")]
    Store(#[from] StoreError),
}
