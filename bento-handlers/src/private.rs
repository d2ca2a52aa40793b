//! Not public API: everything that an expansion of `#[event_handler]` or `#[projection]` may name.
//!
//! The macro is pinned to exactly this version, so anything here may change in a patch release.

use std::any::Any;
use std::future::{Future, Ready, ready};
use std::marker::PhantomData;

use bento_core::codec::DecodeError;
use bento_core::event::{EventDescriptor, EventRole};
use bento_core::unit_of_work::ReturnedEvents;
use bento_core::{Envelope, envelope::FromEnvelope};
use bento_seaorm::OutboxTransaction;
use chrono::{DateTime, Utc};

pub use std::option::Option::{None, Some};
pub use std::primitive::u8;
pub use std::result::Result::Ok;
pub use std::sync::Arc;
pub use std::time::Duration;
pub use std::{file, line, module_path, unreachable};

pub use bento_core::event::Declaration;
pub use inventory;

use crate::batch::Batch;
use crate::call::Call;
pub use crate::descriptor::Running;
pub use crate::descriptor::{HandlerDescriptor, HandlerRegistration, StartFrom};
pub use crate::effect::{Effect, one_more, the_one};
use crate::error::HandleError;
pub use crate::extract::{FromCall, ProvidedBy};
pub use crate::handlers::Handler;
pub use crate::input::{HandlerInput, at_once, events, patterns};
pub use crate::projection::{Projection, ProjectionDescriptor, ProjectionRegistration};
pub use crate::state::Undecided;

/// The time so many seconds after 1970, and nanoseconds beside them. The macro has read it.
#[must_use]
pub const fn moment(seconds: i64, nanos: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, nanos).expect("the macro has read a time")
}

/// The result of a handler.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not a `Result` of `()` or events",
    note = "return `Result<(), HandleError>`, or `Result<E, HandleError>` with the events that it \
            raises"
)]
pub trait HandlerResult {
    /// The effect of what is returned.
    const EFFECT: Effect;

    /// Raises what is returned.
    ///
    /// # Errors
    /// The error of the handler.
    #[track_caller]
    fn finish(self) -> Result<(), HandleError>;
}

impl<T: ReturnedEvents, E: HandlerFailure> HandlerResult for Result<T, E> {
    const EFFECT: Effect = if T::ARE_EVENTS {
        Effect::Returned
    } else {
        Effect::None
    };

    #[track_caller]
    fn finish(self) -> Result<(), HandleError> {
        let events = self.map_err(HandlerFailure::into_error)?;
        Ok(events.raise_all()?)
    }
}

/// The error in the result of a handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a handler",
    label = "neither `HandleError` nor an error",
    note = "return `Result<_, HandleError>`, or an error type that implements `std::error::Error` \
            and is `Send + Sync + 'static`, which becomes a transient `HandleError`"
)]
pub trait HandlerFailure {
    /// The failure with its class.
    fn into_error(self) -> HandleError;
}

#[diagnostic::do_not_recommend]
impl<E: Into<HandleError>> HandlerFailure for E {
    fn into_error(self) -> HandleError {
        self.into()
    }
}

/// Reads the first parameter of a handler.
///
/// # Errors
/// A permanent failure if the event cannot be read; an event that is newer than this release waits.
pub fn input<I: HandlerInput>(call: &Call) -> Result<I, HandleError> {
    I::from_call(call).map_err(|error| match error {
        DecodeError::NewerVersion { .. } => HandleError::from(error).of_newer_version(),
        _ => HandleError::permanent("").because(error),
    })
}

/// The call of a handler: it starts by taking the parameters, and ends with `finish` of the result.
pub fn run<'a, F: Future + Send + 'a>(
    start: impl FnOnce() -> Result<F, HandleError> + Send + 'a,
    finish: fn(F::Output) -> Result<(), HandleError>,
) -> Running<'a>
where
    F::Output: 'a,
{
    Box::pin(async move { finish(start()?.await) })
}

/// The method `project` of a projection: which events it takes, and how it is called. Each mention
/// of the method in an expansion is such a call, so that the compiler reports a mistake once.
pub const fn project<'a, P, Arguments, F>(method: F) -> Project<'a, P, Arguments, F>
where
    F: Method<Arguments> + Copy + Send + 'a,
    P: ProjectedBy<'a, Arguments> + Projection,
    F::Returned: Asynchronous<Returned: ProjectResult> + Send + 'a,
{
    Project {
        method,
        events: P::Events::EVENTS,
        takes_any: P::Events::TAKES_ANY,
        run: run_project::<P, Arguments, F>,
        of: PhantomData,
    }
}

/// The method `project` of the projection `P`.
#[derive(Debug)]
pub struct Project<'a, P, Arguments, F> {
    method: F,
    events: &'static [&'static EventDescriptor],
    takes_any: bool,
    run: fn(F, &'a (dyn Any + Send + Sync), &'a Call) -> Running<'a>,
    of: PhantomData<fn(&'a P, Arguments)>,
}

impl<'a, P, Arguments, F: Copy> Project<'a, P, Arguments, F> {
    /// Returns the events that the projection takes.
    ///
    /// # Panics
    /// If one of them is superseded, or none is named where any could come.
    #[must_use]
    #[track_caller]
    pub const fn events(self, has_patterns: bool) -> &'static [&'static EventDescriptor] {
        assert!(
            has_patterns || !self.takes_any,
            "an `Envelope` can hold any event: say which event types the projection takes, as in \
             `events = \"order.*\"`"
        );
        let mut index = 0;
        while index < self.events.len() {
            assert!(
                !matches!(self.events[index].role, EventRole::Superseded),
                "`project` takes a superseded version of an event: take the current version, to \
                 which stored payloads of earlier ones are brought forward"
            );
            index += 1;
        }
        self.events
    }

    /// Returns the patterns of event types that the projection takes.
    ///
    /// # Panics
    /// If the method names the events already.
    #[must_use]
    #[track_caller]
    pub const fn patterns(self, patterns: &'static [&'static str]) -> &'static [&'static str] {
        assert!(
            self.takes_any,
            "`events` is for a projection whose `project` takes a `Batch<Envelope>`: the type of \
             this one's batch says which events it takes, so remove `events`"
        );
        patterns
    }

    /// Calls the method of this projection.
    pub fn run(self, projection: &'a (dyn Any + Send + Sync), call: &'a Call) -> Running<'a> {
        (self.run)(self.method, projection, call)
    }
}

fn run_project<'a, P, Arguments, F>(
    method: F,
    projection: &'a (dyn Any + Send + Sync),
    call: &'a Call,
) -> Running<'a>
where
    F: Method<Arguments> + Send + 'a,
    P: ProjectedBy<'a, Arguments> + Projection,
    F::Returned: Asynchronous<Returned: ProjectResult> + Send + 'a,
{
    let projection: &P = projection
        .downcast_ref()
        .expect("a projection is called with its own struct");
    let start = move || {
        let transaction = <&OutboxTransaction>::from_call(call);
        Ok(method.call(projection.arguments(input(call)?, transaction)))
    };
    run(start, ProjectResult::finish)
}

/// A method, and the types of its parameters.
pub trait Method<Arguments> {
    /// The type of what it returns.
    type Returned;

    /// Calls the method.
    fn call(self, arguments: Arguments) -> Self::Returned;
}

macro_rules! methods_with {
    ($($parameter:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<F, $($parameter,)* Returned> Method<($($parameter,)*)> for F
        where
            F: FnOnce($($parameter),*) -> Returned,
        {
            type Returned = Returned;

            #[allow(non_snake_case, reason = "a value is named as its type")]
            fn call(self, ($($parameter,)*): ($($parameter,)*)) -> Returned {
                self($($parameter),*)
            }
        }
    };
}

methods_with!();
methods_with!(A);
methods_with!(A B);
methods_with!(A B C);
methods_with!(A B C D);
methods_with!(A B C D E);

/// The parameters that `project` has to have.
#[diagnostic::on_unimplemented(
    message = "the method `project` of the projection `{Self}` has other parameters",
    label = "its `project` takes `{Arguments}`",
    note = "write `async fn project(&self, events: Batch<AccountEvent>, tx: &OutboxTransaction) \
            -> Result<(), HandleError>`"
)]
pub trait ProjectedBy<'a, Arguments> {
    /// The batch.
    type Events: HandlerInput;

    /// Puts the arguments together.
    fn arguments(&'a self, events: Self::Events, transaction: &'a OutboxTransaction) -> Arguments;
}

impl<'a, P, B: SeveralEvents> ProjectedBy<'a, (&'a P, B, &'a OutboxTransaction)> for P {
    type Events = B;

    fn arguments(
        &'a self,
        events: B,
        transaction: &'a OutboxTransaction,
    ) -> (&'a P, B, &'a OutboxTransaction) {
        (self, events, transaction)
    }
}

/// With it the compiler has two implementations for every projection, and does not take the
/// parameters of the other one for those of the method.
#[diagnostic::do_not_recommend]
impl<'a, P> ProjectedBy<'a, (Undecided, Undecided, Undecided)> for P {
    type Events = Batch<Envelope>;

    fn arguments(
        &'a self,
        _: Batch<Envelope>,
        _: &'a OutboxTransaction,
    ) -> (Undecided, Undecided, Undecided) {
        unreachable!("no method takes values of a type that has none")
    }
}

/// The events of a projection.
#[diagnostic::on_unimplemented(
    message = "a projection takes several events at once, and this one's `project` takes \
               `{Self}`",
    label = "its `project` takes no `Batch` by value",
    note = "write `events: Batch<AccountEvent>`, with an event, the enum of an aggregate's events, \
            or `Envelope`"
)]
pub trait SeveralEvents: HandlerInput {}

impl<E: OneOfSeveral> SeveralEvents for Batch<E> {}

/// One of the events of a projection.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "its `project` takes a batch of `{Self}`",
    note = "the batch is one of a struct with `#[domain_event]`, of the enum of an aggregate's \
            events, or of `Envelope`"
)]
pub trait OneOfSeveral: FromEnvelope {}

#[diagnostic::do_not_recommend]
impl<E: FromEnvelope> OneOfSeveral for E {}

/// The future of an `async fn`.
#[diagnostic::on_unimplemented(
    message = "the method `project` of a projection is an `async fn`, and this one returns \
               `{Self}` at once",
    label = "its `project` is not `async`",
    note = "write `async fn project(…)`"
)]
pub trait Asynchronous: Future<Output = Self::Returned> {
    /// The result.
    type Returned;
}

#[diagnostic::do_not_recommend]
impl<F: Future> Asynchronous for F {
    type Returned = F::Output;
}

/// The result of a projection.
#[diagnostic::on_unimplemented(
    message = "the method `project` of a projection cannot return `{Self}`",
    label = "its `project` returns no `Result<(), HandleError>`",
    note = "return `Result<(), HandleError>`, or another error type that implements \
            `std::error::Error` and is `Send + Sync + 'static`"
)]
pub trait ProjectResult {
    /// Ends the call.
    ///
    /// # Errors
    /// The error of the projection.
    fn finish(self) -> Result<(), HandleError>;
}

#[diagnostic::do_not_recommend]
impl<E: HandlerFailure> ProjectResult for Result<(), E> {
    fn finish(self) -> Result<(), HandleError> {
        self.map_err(HandlerFailure::into_error)
    }
}

/// The method `project` of a projection that has none. A method of the struct itself goes before
/// this one.
pub trait MissingProject {
    /// Does nothing.
    fn project(&self, _: Batch<Envelope>, _: &OutboxTransaction) -> Ready<Result<(), HandleError>>
    where
        Self: HasProject,
    {
        ready(Ok(()))
    }
}

impl<P> MissingProject for P {}

/// Implemented by nothing: reported where a projection has no method `project`.
#[diagnostic::on_unimplemented(
    message = "the projection `{Self}` has no method `project`",
    label = "the read model of `{Self}` is written by its `project`",
    note = "write `async fn project(&self, events: Batch<AccountEvent>, tx: &OutboxTransaction) \
            -> Result<(), HandleError>` in an `impl` of `{Self}`"
)]
pub trait HasProject {}

/// The declaration of a projection whose attribute has a mistake.
pub const MISTAKEN_PROJECTION: &ProjectionDescriptor = &ProjectionDescriptor {
    name: "",
    version: 0,
    events: &[],
    patterns: &[],
    views: &[],
    declared: Declaration {
        module_path: "",
        package: "",
        package_version: "",
        file: "",
        line: 0,
    },
    docs: "",
    run: |_, _| unreachable!("a program with this mistake does not compile"),
};
