//! The conformance suite for sources: every broker adapter runs it against the real broker and
//! behaves the same.
//!
//! Each rule is a public function named for it, in the module of its subject. A rule is a test: it
//! is not made to be dropped before its end. An adapter implements [`SourceBench`] for its tests
//! and lets [`source_conformance!`](crate::source_conformance) make one `#[tokio::test]` of each
//! rule. What a broker does not have, its bench does not offer; the rules about it then say that
//! they were skipped.
//!
//! ```
//! use bento_relay::source::MemorySource;
//! use bento_testkit::source::{Sent, SourceBench, Traits};
//!
//! struct Memory(MemorySource);
//!
//! impl SourceBench for Memory {
//!     type Source = MemorySource;
//!
//!     fn traits(&self) -> Traits {
//!         Traits { has_places: true, rewinds: true, ..Traits::default() }
//!     }
//!
//!     fn source(&self) -> MemorySource {
//!         self.0.clone()
//!     }
//!
//!     async fn send(&self, messages: &[Sent]) {
//!         messages.iter().for_each(|sent| self.0.send_message(sent.unchanged()));
//!     }
//! }
//!
//! async fn memory() -> Option<Memory> {
//!     Some(Memory(MemorySource::default()))
//! }
//!
//! bento_testkit::source_conformance!(a_source_in_memory, memory());
//! ```

use std::time::Duration;

use bento_core::{Envelope, EventId};
use bento_relay::source::{Message, RawMessage, Source};
use bytes::Bytes;

pub mod again;
mod bench;
pub mod hostile;
pub mod order;
pub mod outages;

/// The abilities of a broker.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// True if a subscription begins behind its cursor, whether the messages before it were
    /// acknowledged or not. False if the broker alone knows what comes next.
    pub has_places: bool,
    /// True if messages that were acknowledged come again for an older cursor, as after the restore
    /// of a backup.
    pub rewinds: bool,
    /// The bytes of a large body that the broker takes; 5 MiB by default.
    pub large: usize,
    /// The time within which a new subscription has the messages of one that was dropped or cut
    /// off, for a lease of [`LEASE`]; 20 s by default.
    pub takes_over_within: Duration,
}

/// The lease for which every rule subscribes.
pub const LEASE: Duration = Duration::from_secs(2);

impl Default for Traits {
    fn default() -> Self {
        Self {
            has_places: false,
            rewinds: false,
            large: 5 << 20,
            takes_over_within: Duration::from_secs(20),
        }
    }
}

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The key by which a broker with partitions keeps order: the id of the aggregate.
    pub key: String,
    /// The headers, names and values. Names are printable ASCII without spaces; the values of
    /// hostile messages are any bytes. A name may occur more than once. What the broker's protocol
    /// cannot carry, the bench leaves out or changes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The content type, for the broker's own field or a header `content-type`.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
    event: Option<Envelope>,
}

impl Sent {
    /// A message of Bento's in the plain format, the same on every broker.
    pub fn event(event: Envelope) -> Self {
        let sequence = event.sequence.map(|sequence| sequence.to_string());
        let headers = [
            ("bento-event-id", Some(event.event_id.to_string())),
            ("bento-event-type", Some(event.event_type.to_string())),
            (
                "bento-schema-version",
                Some(event.schema_version.to_string()),
            ),
            (
                "bento-aggregate-type",
                Some(event.aggregate_type.to_string()),
            ),
            ("bento-aggregate-id", Some(event.aggregate_id.clone())),
            ("bento-aggregate-sequence", sequence),
            ("bento-occurred-at", Some(event.occurred_at.to_rfc3339())),
            ("bento-route", Some("outside".to_owned())),
        ];
        let headers = headers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into_bytes())));
        Self {
            key: event.aggregate_id.clone(),
            headers: headers.collect(),
            content_type: Some("application/json".to_owned()),
            body: event.payload.clone(),
            event: Some(event),
        }
    }

    /// A message that carries no event of Bento's.
    pub fn raw(key: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            headers: Vec::new(),
            content_type: None,
            body: body.into(),
            event: None,
        }
    }

    /// The message of a source that keeps events as they are: the event, or else an unreadable one.
    pub fn unchanged(&self) -> Message {
        match &self.event {
            Some(event) => Message::event(event.clone()),
            None => {
                let raw = RawMessage::new("memory", self.body.clone());
                Message::unreadable(EventId::new(), "it is not an event", raw)
            }
        }
    }
}

/// The source under test and its broker, as the suite uses them: with a stream, queue or topic of
/// its own, made anew for each rule.
#[expect(
    async_fn_in_trait,
    reason = "the rules await them in the test's own task"
)]
pub trait SourceBench: Sized {
    /// The source.
    type Source: Source;

    /// The abilities of the broker.
    fn traits(&self) -> Traits;

    /// The source, as another process would make it: every call names the same stream, group and
    /// durable. It reads everything from the beginning, and has no mapping.
    fn source(&self) -> Self::Source;

    /// Sends messages in their order, and returns when the broker has them.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn send(&self, messages: &[Sent]);

    /// Ends the connections of the sources without a word, or starts the broker anew with what it
    /// stored. Returns when the broker can be used again; false if it cannot be done.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn sever(&self) -> bool {
        false
    }

    /// Deletes the stream with everything in it, and makes it anew. False if it has no incarnation
    /// that could be told from the one before.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn make_anew(&self) -> bool {
        false
    }

    /// A source whose stream, queue or topic is not there, and is not to be made.
    fn missing(&self) -> Option<Self::Source> {
        None
    }

    /// A source whose broker would be at `address`, where no server listens.
    fn unreachable(&self, _address: &str) -> Option<Self::Source> {
        None
    }
}

/// Makes a module with one `#[tokio::test]` for each rule of the suite.
///
/// The second argument is a future of `Option<impl SourceBench>`, evaluated for each rule; `None`
/// skips it, for a server that is not there. See [`source`](crate::source).
#[macro_export]
macro_rules! source_conformance {
    ($module:ident, $bench:expr) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;

            $crate::__source_rules! { $bench;
                order::an_aggregate_keeps_its_order
                order::a_message_sent_after_the_subscription_is_received
                order::an_idle_receive_is_empty_after_the_wait
                order::no_more_messages_come_than_asked_for
                order::no_more_bytes_come_than_asked_for
                order::a_large_message_comes_whole
                order::what_is_not_acknowledged_is_counted
                again::unacknowledged_messages_come_again_after_a_close
                again::unacknowledged_messages_come_again_after_a_drop
                again::acknowledged_messages_do_not_come_again
                again::what_is_stored_is_left_out_unacknowledged
                again::an_older_cursor_brings_acknowledged_ones_again
                again::another_subscriber_takes_over_in_order
                again::crashes_lose_nothing_and_keep_the_order
                outages::a_severed_connection_loses_nothing
                outages::a_stream_made_anew_is_read_from_its_beginning
                outages::a_missing_stream_is_refused
                outages::a_broker_that_is_away_is_unavailable
                hostile::an_event_comes_as_it_was_sent
                hostile::what_is_no_event_comes_whole
                hostile::whatever_a_message_holds_it_comes
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __source_rules {
    ($bench:expr; $($subject:ident::$rule:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            match $bench.await {
                Some(bench) => $crate::source::$subject::$rule(&bench).await,
                None => $crate::store::skipped(stringify!($rule)),
            }
        }
    )*};
}

/// Says that a rule had nothing to prove.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(rule: &str, why: &str) {
    eprintln!("skipped: {rule}: {why}");
}

#[cfg(test)]
mod tests {
    /// A rule that is not in the macro would never run.
    #[test]
    fn the_macro_runs_every_rule() {
        let listed = include_str!("source.rs");
        let subjects = [
            ("order", include_str!("source/order.rs")),
            ("again", include_str!("source/again.rs")),
            ("outages", include_str!("source/outages.rs")),
            ("hostile", include_str!("source/hostile.rs")),
        ];
        for module in listed
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod "))
        {
            let module = module.trim_end_matches(';');
            let is_known = subjects.iter().any(|(subject, _)| *subject == module);
            assert!(is_known, "the rules of `{module}` are not looked at here");
        }
        for (subject, source) in subjects {
            for rule in source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn "))
            {
                let name = rule.split('<').next().expect("a function has a name");
                assert!(
                    listed.contains(&format!("{subject}::{name}\n")),
                    "`{subject}::{name}` is not in the macro"
                );
            }
        }
    }
}
