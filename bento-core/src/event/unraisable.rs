//! Types that no aggregate raises, and the compiler's message for each. Not public API: named by
//! the macros.
//!
//! Each of these traits is the condition of a [`RaisedBy`] for one kind of mistake, and nothing
//! implements it. The compiler therefore reports the condition, which knows the mistake, and not a
//! type that is not an event.

use std::convert::Infallible;
use std::sync::Arc;

use super::{AnyEvent, RaisedBy};

#[diagnostic::on_unimplemented(
    message = "an event is raised by value",
    label = "this only points to a `{E}`",
    note = "raise the `{E}` itself, or a clone of it"
)]
pub trait RaisesPointers<E: ?Sized> {
    const NEVER: Infallible;
}

#[diagnostic::on_unimplemented(
    message = "`{E}` is not an event but the enum of all events of an aggregate",
    label = "a variant of `{E}`",
    note = "raise the event itself, without the variant around it"
)]
pub trait RaisesVariants<E: ?Sized> {
    const NEVER: Infallible;
}

#[diagnostic::on_unimplemented(
    message = "`{E}` is an earlier version of an event, which is not raised any more",
    label = "this version is marked `superseded`",
    note = "raise the current version, the struct of the same schema without `superseded`"
)]
pub trait RaisesSuperseded<E: ?Sized> {
    const NEVER: Infallible;
}

#[diagnostic::on_unimplemented(
    message = "`{E}` is a view of an event that another context raises",
    label = "this event is marked `consumes`",
    note = "raise an event of your own, with a schema of its own"
)]
pub trait RaisesConsumed<E: ?Sized> {
    const NEVER: Infallible;
}

#[diagnostic::on_unimplemented(
    message = "`{E}` is an integration event, which is not raised",
    label = "it is made from its domain event",
    note = "raise the domain event that `from` names: the flush makes the `{E}` from it"
)]
pub trait RaisesIntegration<E: ?Sized> {
    const NEVER: Infallible;
}

macro_rules! pointers {
    ($($pointer:ty),*) => {$(
        impl<A: ?Sized + RaisesPointers<E>, E: ?Sized> RaisedBy<A> for $pointer {
            fn into_any(self) -> Arc<dyn AnyEvent> {
                match A::NEVER {}
            }
        }
    )*};
}
pointers!(&E, Box<E>, Arc<E>);
