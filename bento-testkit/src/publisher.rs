//! The conformance suite for publishers: every broker adapter runs it against the real broker and
//! behaves the same.
//!
//! Each rule is a public function named for it, in the module of its subject. A rule is a test: it
//! is not made to be dropped before its end. An adapter implements [`PublisherHarness`] for its
//! tests and lets [`publisher_conformance!`](crate::publisher_conformance) make one
//! `#[tokio::test]` of each rule. What a broker does not have, its harness does not offer; the
//! rules about it then say that they were skipped.
//!
//! ```
//! use bento_relay::publish::MemoryPublisher;
//! use bento_testkit::publisher::{Mode, PublisherHarness, Received, Traits};
//!
//! struct Memory(MemoryPublisher);
//!
//! impl PublisherHarness for Memory {
//!     type Publisher = MemoryPublisher;
//!
//!     fn traits(&self) -> Traits {
//!         Traits { wire: None, ..Traits::default() }
//!     }
//!
//!     async fn publisher(&self, _: Mode) -> MemoryPublisher {
//!         self.0.clone()
//!     }
//!
//!     fn topic(&self) -> &str {
//!         "events"
//!     }
//!
//!     async fn received(&self, at_least: usize) -> Vec<Received> {
//!         self.0.wait_for(at_least).await;
//!         self.0.published().iter().map(Received::unchanged).collect()
//!     }
//! }
//!
//! async fn memory() -> Option<Memory> {
//!     Some(Memory(MemoryPublisher::chaining()))
//! }
//!
//! bento_testkit::publisher_conformance!(a_broker_in_memory, memory());
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use bento_relay::publish::{Delivery, Publisher};
use bytes::Bytes;

mod bench;
mod cloud_event;
pub mod delivery;
pub mod formats;
pub mod outages;
pub mod refusals;

/// The password with which an adapter is to connect where it must not succeed. No error may show
/// it.
pub const WRONG_PASSWORD: &str = "not-the-password-7f3a";

/// The form in which a publisher is asked to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// CloudEvents, binary content mode.
    Binary,
    /// CloudEvents, structured content mode.
    Structured,
    /// The payload, with the other facts in headers.
    Plain,
}

/// The abilities of a broker.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// The wire format of messages; `None` if events are kept as they are.
    pub wire: Option<Wire>,
    /// True if an event that is published again arrives once.
    pub deduplicates: bool,
    /// True if the partition key arrives as the message's key.
    pub has_keys: bool,
    /// A payload of this many bytes is too large. `None` if there is no limit to reach.
    pub too_large: Option<usize>,
    /// A call answers within this time, also while the broker is away.
    pub answers_within: Duration,
}

impl Default for Traits {
    fn default() -> Self {
        let wire = Some(Wire {
            prefix: "ce-",
            is_encoded: true,
        });
        Self {
            wire,
            deduplicates: false,
            has_keys: false,
            too_large: None,
            answers_within: Duration::from_secs(15),
        }
    }
}

/// The form in which a protocol writes the attributes of an event.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// The beginning of their names.
    pub prefix: &'static str,
    /// True if values are percent-encoded.
    pub is_encoded: bool,
}

/// A message as a consumer got it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Its topic, as [`PublisherHarness::topic`] spells it.
    pub topic: String,
    /// The key by which the broker keeps order, if it has one.
    pub key: Option<String>,
    /// Its headers as they travelled: an encoded value is read by
    /// [`decode_header`](bento_core::metadata::decode_header). The content type is one of them,
    /// `content-type`.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Bytes,
}

impl Received {
    /// The message of a broker that keeps events as they are, with the application's own headers.
    pub fn unchanged(delivery: &Delivery) -> Self {
        Self {
            topic: delivery.topic().into_owned(),
            key: None,
            headers: delivery
                .envelope
                .headers()
                .map(|headers| headers.extra)
                .unwrap_or_default(),
            body: delivery.envelope.payload.clone(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// The publisher under test and its broker, as the suite uses them: with a topic of its own, made
/// anew for each rule.
#[expect(
    async_fn_in_trait,
    reason = "the rules await them in the test's own task"
)]
pub trait PublisherHarness: Sized {
    /// The publisher.
    type Publisher: Publisher;

    /// The abilities of the broker.
    fn traits(&self) -> Traits;

    /// A publisher that sends in this form. It is made without asking the broker, which may be
    /// away. One without [`Traits::wire`] has no forms.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn publisher(&self, mode: Mode) -> Self::Publisher;

    /// The topic, which nothing else uses.
    fn topic(&self) -> &str;

    /// Everything that is in the topic, in the broker's order, once there are `at_least` this many.
    ///
    /// # Panics
    /// If they do not come in time.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn received(&self, at_least: usize) -> Vec<Received>;

    /// A topic that the broker does not have. `None` if it makes every topic.
    fn missing_topic(&self) -> Option<String> {
        None
    }

    /// A name that no topic can have. `None` if every text is one.
    fn impossible_topic(&self) -> Option<String> {
        None
    }

    /// The error of connecting with [`WRONG_PASSWORD`]. `None` if the broker asks for none.
    ///
    /// # Panics
    /// If that succeeds.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn wrong_credentials(&self) -> Option<Box<dyn Error>> {
        None
    }

    /// The error of connecting, with [`WRONG_PASSWORD`], to `address`, where no server listens.
    /// `None` if there is no connection.
    ///
    /// # Panics
    /// If that succeeds.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn refused(&self, _address: &str) -> Option<Box<dyn Error>> {
        None
    }

    /// The same with a broker of its own that may be stopped. `None` if none can be started.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn private(&self) -> Option<Self> {
        None
    }

    /// Stops such a broker, as a crash does.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn stop(&self) {
        unreachable!("a harness with a private broker stops it");
    }

    /// Starts it again, at the same address with what it stored.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn start(&self) {
        unreachable!("a harness with a private broker starts it");
    }
}

/// Makes a module with one `#[tokio::test]` for each rule of the suite.
///
/// The second argument is a future of `Option<impl PublisherHarness>`, evaluated for each rule;
/// `None` skips it, for a server that is not there. See [`publisher`](crate::publisher).
#[macro_export]
macro_rules! publisher_conformance {
    ($module:ident, $harness:expr) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;

            $crate::__publisher_rules! { $harness;
                delivery::an_empty_batch_has_no_answers
                delivery::every_event_arrives_with_its_body_and_headers
                delivery::a_payload_that_is_no_json_arrives_whole
                delivery::a_large_batch_is_answered_one_by_one
                delivery::an_aggregate_keeps_its_order_over_batches
                delivery::a_chained_batch_keeps_the_order_of_an_aggregate
                delivery::a_chained_batch_stops_an_aggregate_at_its_first_failure
                delivery::calls_at_the_same_time_all_arrive
                delivery::an_event_for_two_destinations_arrives_for_each
                delivery::an_event_published_again_arrives_as_often_as_the_broker_says
                refusals::an_oversized_message_is_refused_alone
                refusals::a_topic_that_is_not_there_is_waited_for_and_costs_no_other_event
                refusals::a_topic_that_cannot_be_is_refused_alone
                refusals::a_header_that_cannot_travel_is_refused_alone
                refusals::headers_that_cannot_be_read_are_refused_alone
                formats::binary_is_a_cloud_event
                formats::structured_is_a_cloud_event
                formats::plain_is_the_payload_with_the_facts_beside_it
                formats::route_and_trace_are_headers_in_every_form
                formats::a_header_of_any_text_is_read_as_it_was_written
                outages::a_broker_that_stops_in_mid_stream_loses_nothing_it_confirmed
                outages::a_publisher_that_is_made_while_the_broker_is_away_goes_on_when_it_is_there
                outages::wrong_credentials_are_a_typed_error_at_connect
                outages::a_refused_connection_names_the_address_and_no_password
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __publisher_rules {
    ($harness:expr; $($subject:ident::$rule:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            match $harness.await {
                Some(harness) => $crate::publisher::$subject::$rule(&harness).await,
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
        let listed = include_str!("publisher.rs");
        let subjects = [
            ("delivery", include_str!("publisher/delivery.rs")),
            ("refusals", include_str!("publisher/refusals.rs")),
            ("formats", include_str!("publisher/formats.rs")),
            ("outages", include_str!("publisher/outages.rs")),
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
