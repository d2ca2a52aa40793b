//! The parameters of a handler after the event.

use std::any::type_name;

use bento_seaorm::OutboxTransaction;
use tokio_util::sync::CancellationToken;

use crate::call::{Call, EventContext};
use crate::effect::Effect;
use crate::key::IdempotencyKey;
use crate::state::{FromRef, Provided, Required};

/// A parameter that a handler can take after the event.
///
/// Implemented for [`&OutboxTransaction`](OutboxTransaction), [`IdempotencyKey`], [`State`],
/// [`EventContext`] and [`CancellationToken`]. A parameter of your own has no effect, and is made
/// of what the call holds:
///
/// ```
/// use bento_handlers::{Call, FromCall};
///
/// struct Tenant(Option<String>);
///
/// impl<'a> FromCall<'a> for Tenant {
///     fn from_call(call: &'a Call) -> Self {
///         Self(call.envelope().tenant_id.clone())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a handler",
    label = "unknown to handlers",
    note = "after the event a handler takes `&OutboxTransaction`, `IdempotencyKey`, `State<T>`, \
            `EventContext` or `CancellationToken`, or a type that implements `FromCall`"
)]
pub trait FromCall<'a>: Sized {
    /// The effect that the parameter gives the handler.
    const EFFECT: Effect = Effect::None;

    /// Takes the parameter from the call.
    ///
    /// [`build`](crate::Handlers::build) checks the states that handlers name as parameters, not
    /// those that an implementation takes by itself: give the `Handlers` each of them.
    ///
    /// # Panics
    /// A panic is a failed attempt at the event, as one of the handler.
    fn from_call(call: &'a Call) -> Self;

    /// The state that has to be there. Not public API.
    #[doc(hidden)]
    #[must_use]
    fn required() -> Option<Required> {
        None
    }
}

impl<'a> FromCall<'a> for &'a OutboxTransaction {
    const EFFECT: Effect = Effect::Transaction;

    fn from_call(call: &'a Call) -> Self {
        let transaction = call.transaction.as_ref();
        transaction.expect("a handler with this parameter is called in a transaction")
    }
}

impl FromCall<'_> for IdempotencyKey {
    const EFFECT: Effect = Effect::Key;

    fn from_call(call: &Call) -> Self {
        call.key
    }
}

impl FromCall<'_> for EventContext {
    fn from_call(call: &Call) -> Self {
        call.contexts()[0].clone()
    }
}

/// Cancelled when the call is over, also when its time is up: for what the handler has spawned.
impl FromCall<'_> for CancellationToken {
    fn from_call(call: &Call) -> Self {
        call.cancelled.clone()
    }
}

/// A part of the state that [`Handlers`](crate::Handlers) was given, cloned for each call.
///
/// ```
/// use bento_handlers::State;
///
/// async fn handler(State(name): State<String>) -> usize {
///     name.len()
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct State<T>(pub T);

impl<T: Clone + Send + Sync + 'static> FromCall<'_> for State<T> {
    fn from_call(call: &Call) -> Self {
        let state = call.states.get::<T>();
        let missing = || {
            panic!(
                "`State<{0}>` is missing: add `.state(…)` with a `{0}` to the `Handlers`",
                type_name::<T>()
            )
        };
        Self(state.unwrap_or_else(missing).clone())
    }

    fn required() -> Option<Required> {
        Some(Required::of::<T>())
    }
}

/// A parameter that can be taken where the state of the application is an `S`. Not public API: the
/// macro bounds `handler` by it, so that the compiler checks the state.
#[doc(hidden)]
pub trait ProvidedBy<S> {
    /// Takes the parameter's value out of the state.
    fn provide(state: &S, provided: &mut Provided);
}

impl<S, T: FromRef<S> + Send + Sync + 'static> ProvidedBy<S> for State<T> {
    fn provide(state: &S, provided: &mut Provided) {
        provided.0.insert(T::from_ref(state));
    }
}
