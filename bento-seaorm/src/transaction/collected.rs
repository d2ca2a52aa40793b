//! The types that a transaction takes pending events from.

use bento_core::Aggregate;

/// An aggregate whose pending events a transaction takes over. It is implemented for every
/// aggregate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no pending events to be collected",
    label = "not an aggregate",
    note = "an `ActiveModel` has no events: collect the model before `into_active_model()`",
    note = "a struct of your own becomes an aggregate with `#[aggregate(events(…))]` above its \
            derives"
)]
pub trait Collected: Aggregate {}

#[diagnostic::do_not_recommend]
impl<A: Aggregate> Collected for A {}
