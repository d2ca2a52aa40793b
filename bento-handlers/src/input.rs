//! The first parameter of a handler.

use bento_core::codec::DecodeError;
use bento_core::envelope::FromEnvelope;
use bento_core::event::{EventDescriptor, EventRole};

use crate::batch::Batch;
use crate::call::Call;

/// The first parameter of a handler: an event in its current version, the enum of an aggregate's
/// events, `Envelope` for a pattern of event types, or a [`Batch`] of one of them.
///
/// Implemented for every type that is [`FromEnvelope`]; not meant to be implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "a handler takes an event first",
    note = "the first parameter is a struct with `#[domain_event]`, the enum of an aggregate's \
            events, `Envelope`, or `Batch<E>` of one of them"
)]
pub trait HandlerInput: Sized + Send {
    /// The events that the handler takes; empty for any event type of its pattern.
    const EVENTS: &'static [&'static EventDescriptor];
    /// True if the handler takes several events at once.
    const IS_BATCH: bool;
    /// True if the type can hold any event. Not public API.
    #[doc(hidden)]
    const TAKES_ANY: bool;

    /// Reads the event, or the events.
    ///
    /// # Errors
    /// [`DecodeError`] of the first that cannot be read.
    fn from_call(call: &Call) -> Result<Self, DecodeError>;
}

#[diagnostic::do_not_recommend]
impl<E: FromEnvelope> HandlerInput for E {
    const EVENTS: &'static [&'static EventDescriptor] = E::EVENTS;
    const IS_BATCH: bool = false;
    const TAKES_ANY: bool = E::TAKES_ANY;

    fn from_call(call: &Call) -> Result<Self, DecodeError> {
        E::from_envelope(call.envelope())
    }
}

impl<E: FromEnvelope> HandlerInput for Batch<E> {
    const EVENTS: &'static [&'static EventDescriptor] = E::EVENTS;
    const IS_BATCH: bool = true;
    const TAKES_ANY: bool = E::TAKES_ANY;

    fn from_call(call: &Call) -> Result<Self, DecodeError> {
        let events = call.contexts().iter().map(|context| {
            let event = E::from_envelope(context.envelope())?;
            Ok((event, context.clone()))
        });
        Ok(Self::new(events.collect::<Result<_, DecodeError>>()?))
    }
}

/// Returns the events that a handler takes. Not public API: the macro calls it in a constant.
///
/// # Panics
/// If one of them is superseded, or none is named where any could come.
#[doc(hidden)]
#[must_use]
#[track_caller]
pub const fn events<I: HandlerInput>(has_patterns: bool) -> &'static [&'static EventDescriptor] {
    assert!(
        has_patterns || !I::TAKES_ANY,
        "an `Envelope` can hold any event: say which event types the handler takes, as in \
         `events = \"order.*\"`"
    );
    let mut index = 0;
    while index < I::EVENTS.len() {
        assert!(
            !matches!(I::EVENTS[index].role, EventRole::Superseded),
            "this is a superseded version of its event: take the current version, to which stored \
             payloads of earlier ones are brought forward"
        );
        index += 1;
    }
    I::EVENTS
}

/// Returns the most calls of a handler at once. Not public API: the macro calls it in a constant.
///
/// # Panics
/// If the handler takes batches.
#[doc(hidden)]
#[must_use]
#[track_caller]
pub const fn at_once<I: HandlerInput>(calls: u32) -> u32 {
    assert!(
        !I::IS_BATCH,
        "a handler of batches has one call for all events that the relay hands over together, so \
         `concurrency` does not apply to it: remove it"
    );
    calls
}

/// Returns the patterns of event types that a handler takes. Not public API: the macro calls it in
/// a constant.
///
/// # Panics
/// If the first parameter names the events already.
#[doc(hidden)]
#[must_use]
#[track_caller]
pub const fn patterns<I: HandlerInput>(
    patterns: &'static [&'static str],
) -> &'static [&'static str] {
    assert!(
        I::TAKES_ANY,
        "`events` is for a handler that takes an `Envelope`: the type of this one's first \
         parameter says which events it takes, so remove `events`"
    );
    patterns
}
