//! The steps of the simulation.

use proptest::prelude::*;

use super::handlers::{KEEN, NEW};

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A transaction commits an event of a stream.
    Append(u8),
    /// A transaction takes a position, and commits at the next such step.
    Stage(u8),
    /// A relay makes its next move; the bits of `fails` choose the deliveries that fail, with
    /// `hopeless` for good; with `repeats` the answer of the store is lost and the call repeated.
    Move {
        relay: usize,
        fails: u8,
        hopeless: bool,
        repeats: bool,
    },
    /// A relay ends its batch before everything is answered.
    Break(usize),
    /// The waves of a relay that are out become late.
    Postpone(usize),
    /// One of its late waves comes back.
    Back(usize, u8),
    /// Its late waves are not listened for any more.
    GiveUp(usize),
    /// A relay is of an older release, which has no rules and not all destinations, or of the newer
    /// one.
    Age(usize, bool),
    /// Time passes, and the relay that does not own the shard claims it: the owner is a zombie now.
    TakeOver,
    /// Time passes.
    Wait,
    /// The new handler is recorded.
    Record,
    /// A destination goes away, may be tried, has no free slot, or is back.
    Turn(&'static str, u8),
    /// An operator pauses a tenant, or lets it go on.
    Pause(bool),
    /// An operator takes the oldest dead letter.
    Replay,
    Discard,
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let step = (0..2_usize, any::<u8>(), any::<bool>(), any::<bool>());
    let name = prop_oneof![
        Just("x"),
        Just("alone"),
        Just("prone"),
        Just(KEEN),
        Just(NEW)
    ];
    prop_oneof![
        6 => (0..4_u8).prop_map(Step::Append),
        1 => (1..4_u8).prop_map(Step::Stage),
        24 => step.prop_map(|(relay, fails, hopeless, repeats)| {
            Step::Move { relay, fails: fails & 3, hopeless, repeats }
        }),
        1 => (0..2_usize).prop_map(Step::Break),
        4 => (0..2_usize).prop_map(Step::Postpone),
        4 => (0..2_usize, any::<u8>()).prop_map(|(relay, which)| Step::Back(relay, which)),
        1 => (0..2_usize).prop_map(Step::GiveUp),
        1 => (0..2_usize, any::<bool>()).prop_map(|(relay, is_old)| Step::Age(relay, is_old)),
        1 => Just(Step::TakeOver),
        2 => Just(Step::Wait),
        1 => Just(Step::Record),
        2 => (name, 0..4_u8).prop_map(|(name, turn)| Step::Turn(name, turn)),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => Just(Step::Replay),
        1 => Just(Step::Discard),
    ]
}
