//! The conformance suite for stores of events: every [`EventStore`] with its [`InspectEvents`] runs
//! it and behaves the same.
//!
//! Each rule is a public function named for it, in the module of its subject. A rule is a test: it
//! is not made to be dropped before its end. A store implements [`EventStoreBench`] for its tests
//! and lets [`event_store_conformance!`](crate::event_store_conformance) make one `#[tokio::test]`
//! of each rule:
//!
//! ```
//! # use bento_core::Envelope;
//! # use bento_relay::MemoryEvents;
//! use bento_testkit::event_store::{EventStoreBench, Never};
//!
//! struct Memory(MemoryEvents);
//!
//! impl EventStoreBench for Memory {
//!     type Store = MemoryEvents;
//!     type Staged = Never;
//!
//!     fn store(&self) -> MemoryEvents {
//!         self.0.clone()
//!     }
//!
//!     async fn restore(&self, events: Vec<Envelope>) -> bool {
//!         self.0.restore(events);
//!         true
//!     }
//! }
//!
//! async fn memory() -> Option<Memory> {
//!     Some(Memory(MemoryEvents::default()))
//! }
//!
//! bento_testkit::event_store_conformance!(events_in_memory, memory());
//! ```

use bento_core::Envelope;
use bento_relay::event_store::EventStore;
use bento_relay::inspect::InspectEvents;

pub use self::aggregates::{
    Counted, Credited, Credits, Gauge, GaugeEvent, Opened, Purse, PurseEvent,
};

mod aggregates;
mod bench;
pub mod concurrency;
pub mod cursors;
pub mod faults;
pub mod inspect;
pub mod moments;
pub mod pages;
pub mod saving;

/// The transaction of a bench that cannot leave one open.
#[derive(Debug)]
pub enum Never {}

/// The store under test, as the suite uses it: empty, made anew for each rule.
#[expect(
    async_fn_in_trait,
    reason = "the rules await them in the test's own task"
)]
pub trait EventStoreBench: Sized {
    /// The store.
    type Store: EventStore + InspectEvents + Send + 'static;
    /// A transaction that is still open, see [`stage`](Self::stage); [`Never`] if there is none.
    type Staged;

    /// The store, as another process would make it: every call names the same events.
    fn store(&self) -> Self::Store;

    /// Stores events as they are, with their own sequences and without any check, as an earlier
    /// release wrote them or as damage left them. The head of each aggregate is the last of its
    /// events. Returns false if it cannot be done.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn restore(&self, _events: Vec<Envelope>) -> bool {
        false
    }

    /// Saves an aggregate in a transaction that stays open while others commit after it. `None` if
    /// the store has one writer at a time: rules about late commits then have nothing to prove.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn stage(&self, _purse: &mut Purse) -> Option<Self::Staged> {
        None
    }

    /// Commits such a transaction.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn commit(&self, _staged: Self::Staged) {}
}

/// Makes a module with one `#[tokio::test]` for each rule of the suite.
///
/// The second argument is a future of `Option<impl EventStoreBench>`, evaluated for each rule;
/// `None` skips it, for a server that is not there. See [`event_store`](crate::event_store).
#[macro_export]
macro_rules! event_store_conformance {
    ($module:ident, $bench:expr) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;

            $crate::__event_store_rules! { $bench;
                saving::an_aggregate_is_loaded_as_it_was_saved
                saving::an_id_without_events_has_no_aggregate
                saving::a_save_without_events_stores_nothing
                saving::the_second_of_two_saves_is_a_conflict_with_both_numbers
                saving::of_two_new_aggregates_of_one_id_the_second_is_a_conflict
                saving::after_a_conflict_the_events_are_back_and_a_repetition_succeeds
                saving::an_event_id_that_is_stored_is_refused
                saving::an_event_id_that_occurs_twice_in_a_save_is_refused
                saving::an_empty_id_is_refused
                saving::an_id_that_was_changed_is_refused
                saving::an_id_that_cannot_be_stored_has_no_aggregate
                saving::a_version_that_no_integer_holds_is_refused
                saving::what_an_event_carries_is_stored
                saving::integration_events_are_not_stored
                saving::ids_of_any_text_are_aggregates_of_their_own
                saving::many_events_are_saved_at_once
                concurrency::writers_at_once_lose_nothing
                concurrency::of_many_writers_of_a_new_id_one_succeeds
                moments::an_aggregate_is_loaded_as_it_was_after_an_event
                moments::an_aggregate_is_loaded_as_it_was_at_a_time
                moments::a_moment_is_exact_to_the_microsecond
                moments::an_aggregate_of_the_past_is_not_saved
                faults::a_hole_is_told
                faults::a_missing_beginning_is_told
                faults::an_unknown_event_type_is_told
                faults::a_newer_version_is_told
                faults::a_malformed_payload_is_told
                faults::an_event_that_the_aggregate_does_not_list_is_told
                faults::an_aggregate_is_loaded_as_it_was_before_a_fault
                faults::an_event_of_an_old_version_is_upcast
                faults::events_that_cannot_be_decoded_are_read_as_they_are
                pages::a_view_is_made_of_each_event_of_its_aggregate
                pages::an_empty_store_has_an_empty_last_page
                pages::pages_of_every_size_give_each_event_once
                pages::a_selection_holds_its_own_events_alone
                pages::aggregates_of_two_types_with_one_id_are_apart
                pages::reading_goes_on_when_more_was_stored
                pages::a_stream_ends_at_the_present
                pages::an_event_that_commits_later_is_read_later
                cursors::reading_goes_on_behind_any_event
                cursors::a_cursor_is_kept_as_text
                cursors::a_cursor_of_garbage_is_refused
                inspect::an_empty_store_has_no_counts
                inspect::aggregates_and_events_are_counted_by_type
                inspect::the_last_position_rises
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __event_store_rules {
    ($bench:expr; $($subject:ident::$rule:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            match $bench.await {
                Some(bench) => $crate::event_store::$subject::$rule(&bench).await,
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
        let listed = include_str!("event_store.rs");
        let subjects = [
            ("concurrency", include_str!("event_store/concurrency.rs")),
            ("cursors", include_str!("event_store/cursors.rs")),
            ("faults", include_str!("event_store/faults.rs")),
            ("inspect", include_str!("event_store/inspect.rs")),
            ("moments", include_str!("event_store/moments.rs")),
            ("pages", include_str!("event_store/pages.rs")),
            ("saving", include_str!("event_store/saving.rs")),
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
