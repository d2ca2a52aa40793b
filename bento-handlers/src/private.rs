//! Not public API: everything that an expansion of `#[event_handler]` may name.
//!
//! The macro is pinned to exactly this version, so anything here may change in a patch release.

use std::future::Future;

use bento_core::codec::DecodeError;
use bento_core::unit_of_work::ReturnedEvents;
use chrono::{DateTime, Utc};

pub use std::option::Option::{None, Some};
pub use std::primitive::u8;
pub use std::result::Result::Ok;
pub use std::time::Duration;
pub use std::{file, line, module_path, unreachable};

pub use bento_core::event::Declaration;
pub use inventory;

use crate::call::Call;
pub use crate::descriptor::Running;
pub use crate::descriptor::{HandlerDescriptor, HandlerRegistration, StartFrom};
pub use crate::effect::{Effect, one_more, the_one};
use crate::error::HandleError;
pub use crate::extract::{FromCall, ProvidedBy};
pub use crate::handlers::Handler;
pub use crate::input::{HandlerInput, at_once, events, patterns};
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
