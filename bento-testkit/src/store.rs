//! The conformance suite for the relay's seam to a database: every [`RelayStore`] runs it and
//! behaves the same.
//!
//! Each rule is a public function named for it, in the module of its subject. A rule is a test: it
//! is not made to be dropped before its end. A store implements [`StoreHarness`] for its tests and
//! lets [`relay_store_conformance!`](crate::relay_store_conformance) make one `#[tokio::test]` of
//! each rule:
//!
//! ```
//! # use std::time::Duration;
//! # use bento_core::outbox::{OutboxEntry, Sharding};
//! # use bento_relay::{ManualClock, MemoryStore, Staged};
//! use bento_testkit::store::StoreHarness;
//!
//! struct Memory(MemoryStore, ManualClock);
//!
//! impl StoreHarness for Memory {
//!     type Store = MemoryStore;
//!     type Staged = Staged;
//!
//!     async fn store(&self, sharding: Sharding) -> MemoryStore {
//!         self.0.configured_for(sharding)
//!     }
//!
//!     async fn append(&self, entries: Vec<OutboxEntry>) {
//!         self.0.append(entries);
//!     }
//!
//!     async fn stage(&self, entries: Vec<OutboxEntry>) -> Option<Staged> {
//!         Some(self.0.stage(entries))
//!     }
//!
//!     async fn commit(&self, staged: Staged) {
//!         staged.commit();
//!     }
//!
//!     async fn pass(&self, time: Duration) {
//!         self.1.advance(time);
//!     }
//! }
//!
//! async fn memory() -> Option<Memory> {
//!     let (store, clock) = MemoryStore::with_manual_clock(Sharding::default());
//!     Some(Memory(store, clock))
//! }
//!
//! bento_testkit::relay_store_conformance!(a_store_in_memory, memory());
//! ```

use std::time::Duration;

use bento_core::outbox::{OutboxEntry, Sharding};
use bento_relay::RelayStore;
use bento_relay::dead_letter::{AlertStore, DeadLetters};
use bento_relay::handler_control::HandlerControl;
use bento_relay::held::HeldEvents;
use bento_relay::inspect::Inspect;
use bento_relay::tenant::Pauses;

pub use self::bench::{Bench, event, event_of_tenant, numbers, unordered_event};

pub mod alerts;
pub mod amendments;
mod bench;
pub mod dead_letters;
pub mod handle_again;
pub mod handler_control;
pub mod handlers;
pub mod held;
pub mod inspection;
pub mod leases;
pub mod names;
pub mod operators;
pub mod pauses;
pub mod published;
pub mod replay;
pub mod retry_now;
pub mod routes;
pub mod rows;
pub mod shares;
pub mod unroutable;
pub mod whole;

/// The store under test, as the suite uses it: an empty outbox of its own, made anew for each rule.
#[expect(
    async_fn_in_trait,
    reason = "the rules await them in the test's own task"
)]
pub trait StoreHarness {
    /// The store.
    type Store: RelayStore
        + DeadLetters
        + AlertStore
        + Inspect
        + Pauses
        + HeldEvents
        + HandlerControl;
    /// A transaction that is still open, see [`stage`](Self::stage).
    type Staged;

    /// A store for the same outbox, as another process makes it that is configured for `sharding`.
    /// The outbox is not opened yet.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn store(&self, sharding: Sharding) -> Self::Store;

    /// Writes events in one committed transaction, in order, the way applications do: an event id
    /// that is supplied and known is not written again. The shard is the one that the entry names.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn append(&self, entries: Vec<OutboxEntry>);

    /// Writes events in a transaction that stays open while others commit after it. `None` if the
    /// back end has one writer at a time: rules about late commits then have nothing to prove.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn stage(&self, entries: Vec<OutboxEntry>) -> Option<Self::Staged>;

    /// Commits such a transaction.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn commit(&self, staged: Self::Staged);

    /// Lets the store's clock go on by at least `time`.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn pass(&self, time: Duration);

    /// A store on a database without tables. `None` if the back end has no tables.
    ///
    /// # Cancel safety
    /// No rule drops it.
    async fn unmigrated(&self) -> Option<Self::Store> {
        None
    }

    /// A lease or a wait that is short enough to be waited for.
    fn short(&self) -> Duration {
        Duration::from_millis(250)
    }
}

/// Makes a module with one `#[tokio::test]` for each rule of the suite.
///
/// The second argument is a future of `Option<impl StoreHarness>`, evaluated for each rule; `None`
/// skips it, for a server that is not there. See [`store`](crate::store).
#[macro_export]
macro_rules! relay_store_conformance {
    ($module:ident, $harness:expr) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;

            $crate::__relay_store_rules! { $harness;
                leases::a_relay_alone_claims_every_shard
                leases::a_lease_is_not_claimed_while_it_lasts
                leases::an_expired_lease_is_taken_over_with_a_higher_epoch
                leases::a_lost_lease_settles_and_returns_nothing
                leases::an_expired_lease_that_nobody_took_is_still_held
                leases::a_heartbeat_renews_every_lease
                leases::an_advance_renews_its_lease
                shares::a_newcomer_gets_its_share_of_what_is_idle
                shares::a_shard_that_is_not_offered_is_not_given_away
                shares::a_relay_that_does_not_claim_gets_nothing
                leases::a_released_shard_is_free_at_once
                shares::a_relay_that_died_counts_for_nothing
                shares::many_relays_share_within_one_shard
                shares::a_relay_serves_only_its_lanes
                shares::what_is_handed_over_is_of_the_lane_that_is_shared
                shares::no_shard_goes_to_two_relays_that_ask_at_once
                shares::a_shard_outside_of_the_division_is_served_while_it_holds_events
                leases::the_division_is_recorded_and_another_one_refused
                leases::a_missing_table_is_named
                leases::a_heartbeat_tells_the_time_of_the_store
                leases::relays_that_are_alive_are_listed_with_their_lanes
                rows::rows_come_in_position_order_up_to_the_limit
                rows::a_row_comes_until_it_is_settled
                rows::a_shard_returns_only_its_own_rows
                rows::a_call_for_no_rows_only_settles
                rows::repeating_a_call_changes_nothing_more
                rows::settling_what_is_gone_is_no_error
                rows::a_late_commit_is_neither_lost_nor_settled_with_later_rows
                rows::an_envelope_comes_back_whole
                rows::a_known_event_id_is_not_written_again
                rows::many_rows_are_settled_at_once
                rows::the_widest_event_goes_through_every_table
                rows::a_poll_tells_which_shards_have_work
                held::a_failed_row_waits_by_the_clock_of_the_store
                held::the_head_that_was_due_first_comes_first
                held::followers_come_behind_their_head_in_position_order
                held::a_waiting_head_holds_back_its_followers
                held::a_confirmed_head_makes_way_for_its_follower
                held::a_head_that_fails_again_waits_again_with_its_attempts
                held::streams_that_wait_are_listed_when_asked_for
                held::events_without_order_wait_alone
                held::the_next_due_row_is_foretold
                held::fewer_held_rows_than_asked_for_are_all_there_are
                routes::routes_hold_independently
                held::a_row_that_keeps_no_place_holds_nothing_back
                held::a_delayed_row_waits_by_the_clock_of_the_store
                routes::those_who_have_confirmed_are_remembered
                held::a_replay_keeps_a_place_only_if_it_parked
                routes::a_held_row_moves_to_another_route
                routes::rows_of_a_route_that_is_away_are_not_wanted
                unroutable::an_unroutable_row_says_for_how_long_it_is
                unroutable::an_unroutable_row_that_is_given_up_begins_anew_when_it_is_replayed
                unroutable::a_held_row_that_moves_to_where_it_is_stays_there
                unroutable::a_held_row_moves_to_several_routes_at_once
                routes::a_poll_passes_over_routes_that_are_away
                held::a_poll_finds_what_another_relay_held_back
                handlers::a_handler_is_recorded_once
                handlers::a_changed_record_changes_the_revision_of_every_shard
                handlers::recorded_handlers_are_told_with_the_streams
                handlers::a_new_handler_starts_after_the_last_position
                handlers::an_event_that_commits_later_is_not_missed
                handlers::a_handler_may_start_with_the_beginning
                handlers::a_handler_may_start_with_a_time
                handlers::a_record_keeps_what_a_living_relay_serves
                handlers::a_heartbeat_adds_what_its_relay_serves
                handlers::a_retired_handler_is_told_no_more
                handlers::a_relay_with_handlers_alone_takes_no_published_outbox
                handlers::what_is_left_is_counted_by_route
                handlers::relays_that_serve_every_handler_come_first
                handlers::living_relays_are_shown_with_their_handlers
                handlers::without_such_a_relay_any_relay_goes_on
                handlers::names_that_differ_by_a_space_or_the_case_are_handlers_of_their_own
                handler_control::held_rows_of_a_paused_handler_wait_until_it_is_resumed
                handler_control::a_wait_goes_on_while_its_handler_is_paused
                handler_control::pausing_a_handler_changes_the_revision_of_every_shard
                handler_control::a_paused_handler_is_told_and_stays_paused
                handler_control::a_poll_passes_over_paused_handlers
                handler_control::a_pause_changes_no_share
                handler_control::handlers_are_listed_with_what_waits_and_who_serves
                handler_control::a_pause_needs_a_recorded_handler_and_a_text
                handler_control::a_handler_that_is_not_recorded_is_not_retired
                handle_again::an_event_that_waits_is_not_put_back
                handle_again::a_pending_event_before_the_beginning_is_put_back
                handle_again::a_dead_letter_of_the_handler_is_replayed
                handle_again::what_is_put_back_is_out_of_order
                handle_again::a_row_of_another_route_is_found
                handle_again::a_settlement_under_way_does_not_settle_it
                handle_again::each_time_the_generation_is_raised_once
                handle_again::a_replay_keeps_the_generation
                handle_again::an_event_that_is_gone_comes_from_the_caller
                handle_again::what_no_handler_takes_is_refused
                pauses::held_rows_of_a_paused_tenant_wait_until_it_is_resumed
                pauses::pausing_and_resuming_change_the_revision_of_every_shard
                pauses::paused_tenants_are_told_with_the_streams
                pauses::a_poll_passes_over_paused_tenants
                pauses::a_paused_tenant_is_listed_with_the_first_reason
                pauses::texts_that_cannot_be_stored_are_refused
                retry_now::what_waits_is_due_at_once_with_its_attempts_and_its_followers
                retry_now::only_what_the_filter_names_is_due_at_once
                retry_now::what_waits_for_another_event_goes_on_waiting
                retry_now::an_unroutable_row_keeps_the_time_since_when_it_is
                retry_now::only_the_shards_concerned_have_another_revision
                retry_now::a_poll_finds_what_is_due_at_once
                retry_now::a_running_relay_tries_at_its_next_poll_and_keeps_the_order
                retry_now::an_event_is_not_delivered_before_its_delay
                retry_now::an_operator_of_one_tenant_leaves_the_others_waiting
                published::a_published_row_is_known_only_if_it_is_kept
                published::a_held_row_is_kept_when_it_is_published
                published::what_is_held_or_dead_is_not_published
                published::an_event_that_several_got_is_kept_once
                published::what_is_old_enough_is_pruned_and_then_unknown
                published::one_relay_prunes_at_a_time
                dead_letters::a_dead_letter_is_kept_whole
                dead_letters::the_first_failure_is_remembered
                dead_letters::waiting_without_an_attempt_is_no_failure
                dead_letters::a_dead_letter_parks_its_aggregate_only
                dead_letters::a_held_row_can_be_given_up
                replay::a_replay_comes_first_with_its_id_and_position
                replay::a_replay_that_did_not_park_says_that_later_ones_may_be_out
                replay::a_discard_lets_the_followers_go
                replay::every_dead_letter_that_parks_must_go_first
                dead_letters::a_row_that_cannot_be_read_parks_its_aggregate_on_every_route
                dead_letters::an_event_without_order_parks_nothing
                replay::replay_and_discard_change_the_revision
                replay::replay_and_discard_need_the_right_route
                dead_letters::dead_letters_are_listed_oldest_first_and_paged
                dead_letters::dead_letters_are_filtered
                operators::a_filtered_replay_keeps_the_order_of_a_stream
                operators::a_part_of_a_replay_lets_nothing_overtake
                operators::a_replay_goes_through_all_pages
                operators::a_dry_run_changes_nothing
                operators::a_discard_keeps_its_reason
                operators::a_filtered_discard_lets_the_followers_go
                amendments::a_dry_run_tells_of_headers_that_cannot_be_sent
                amendments::an_amended_letter_is_replayed_with_its_new_headers
                amendments::headers_can_be_added_and_taken_away
                amendments::an_amendment_that_cannot_be_sent_changes_nothing
                amendments::a_letter_that_is_gone_cannot_be_amended
                amendments::an_amendment_and_a_replay_at_once_agree
                alerts::a_letter_comes_until_somebody_was_told
                alerts::a_failed_alert_is_due_again
                alerts::the_oldest_letters_are_told_of_first
                alerts::a_letter_that_died_again_is_told_again
                inspection::events_are_counted_by_status
                inspection::events_are_counted_by_tenant
                inspection::the_oldest_pending_event_has_an_age
                inspection::the_backlog_is_told_by_tenant_and_route
                inspection::leases_are_shown
                inspection::relays_are_shown_with_their_lanes
                names::names_that_differ_by_a_space_or_the_case_are_streams_of_their_own
                names::names_that_differ_by_a_space_or_the_case_are_routes_of_their_own
                names::names_that_differ_by_a_space_or_the_case_are_tenants_of_their_own
                names::names_that_differ_by_a_space_or_the_case_are_filtered_apart
                names::a_time_of_any_year_with_four_digits_comes_back_whole
                names::a_filter_reaches_as_far_as_it_says
                whole::a_relay_empties_the_outbox_in_order
                whole::relays_share_the_work_and_lose_nothing
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __relay_store_rules {
    ($harness:expr; $($subject:ident::$rule:ident)*) => {$(
        #[tokio::test]
        async fn $rule() {
            match $harness.await {
                Some(harness) => $crate::store::$subject::$rule(&harness).await,
                None => $crate::store::skipped(stringify!($rule)),
            }
        }
    )*};
}

/// Says that a rule had no store to run on.
#[doc(hidden)]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn skipped(rule: &str) {
    eprintln!("skipped: {rule} has no server to run on");
}

#[cfg(test)]
mod tests {
    /// A rule that is not in the macro would never run.
    #[test]
    fn the_macro_runs_every_rule() {
        let listed = include_str!("store.rs");
        let subjects = [
            ("leases", include_str!("store/leases.rs")),
            ("shares", include_str!("store/shares.rs")),
            ("rows", include_str!("store/rows.rs")),
            ("held", include_str!("store/held.rs")),
            ("routes", include_str!("store/routes.rs")),
            ("handlers", include_str!("store/handlers.rs")),
            ("handler_control", include_str!("store/handler_control.rs")),
            ("handle_again", include_str!("store/handle_again.rs")),
            ("pauses", include_str!("store/pauses.rs")),
            ("retry_now", include_str!("store/retry_now.rs")),
            ("unroutable", include_str!("store/unroutable.rs")),
            ("published", include_str!("store/published.rs")),
            ("dead_letters", include_str!("store/dead_letters.rs")),
            ("replay", include_str!("store/replay.rs")),
            ("operators", include_str!("store/operators.rs")),
            ("amendments", include_str!("store/amendments.rs")),
            ("alerts", include_str!("store/alerts.rs")),
            ("names", include_str!("store/names.rs")),
            ("inspection", include_str!("store/inspection.rs")),
            ("whole", include_str!("store/whole.rs")),
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
