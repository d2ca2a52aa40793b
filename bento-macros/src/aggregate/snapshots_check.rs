//! Checks of an aggregate that keeps snapshots of its state.

use super::input::Aggregate;
use crate::diagnostics::Errors;
use crate::keyed::Keyed;

/// Checks that the state can be made again from what a snapshot holds.
pub(super) fn check(aggregate: &Aggregate, errors: &mut Errors) {
    let Some(Keyed { key, .. }) = &aggregate.attribute.snapshots else {
        return;
    };
    if !aggregate.is_event_sourced() && !aggregate.attribute.faulty.explains("event_sourced") {
        errors.on(
            key,
            "a snapshot stands for the stored events before it, and this aggregate has none: add \
             `event_sourced`, or remove `snapshots`",
        );
    }
    for field in aggregate.fields() {
        if let Some(skipped) = field.serde_skips
            && !field.keeps_events()
        {
            errors.on(
                skipped,
                format_args!(
                    "a snapshot would lose `{}`: it holds what serde writes and reads of the \
                     state; let serde keep the field, or compute it in a method",
                    field.ident
                ),
            );
        }
    }
}
