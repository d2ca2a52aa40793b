//! The constant data that `#[event_handler]` leaves in the binary.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bento_core::event::{Declaration, EventDescriptor};
use bento_relay::publish::HandlerRoute;
pub use bento_relay::publish::StartFrom;
use bento_relay::route::covers;

use crate::call::Call;
use crate::effect::Effect;
use crate::error::HandleError;
use crate::state::Required;

/// A call of a handler that runs.
#[doc(hidden)]
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<(), HandleError>> + Send + 'a>>;

/// The declaration of a handler, as the macro read it.
#[derive(Clone, Debug)]
pub struct HandlerDescriptor {
    /// The stable name, `stock.reserve`: what is stored beside the events that it handled.
    pub name: &'static str,
    /// The events that it takes; empty for those of its patterns.
    pub events: &'static [&'static EventDescriptor],
    /// The patterns of event types that it takes, `order.*`.
    pub patterns: &'static [&'static str],
    /// The effect.
    pub effect: Effect,
    /// True if it takes several events at once.
    pub is_batch: bool,
    /// The time for one call; `None` for that of the relay.
    pub timeout: Option<Duration>,
    /// The most calls at once in a process; `None` for the default.
    pub concurrency: Option<u32>,
    /// The name of the retry policy; `None` for that of the relay.
    pub retry: Option<&'static str>,
    /// False if the events of an aggregate may be handled in any order.
    pub is_ordered: bool,
    /// The events with which a new handler starts.
    pub from: StartFrom,
    /// The place of the declaration.
    pub declared: Declaration,
    /// The doc comment of the function.
    pub docs: &'static str,
    /// The states that it takes. Not public API.
    #[doc(hidden)]
    pub states: &'static [fn() -> Option<Required>],
    /// The function. Not public API.
    #[doc(hidden)]
    pub run: for<'a> fn(&'a Call) -> Running<'a>,
}

impl HandlerDescriptor {
    /// The event types that the handler takes, without its patterns.
    pub fn event_types(&self) -> impl Iterator<Item = &'static str> {
        self.events.iter().map(|event| event.schema)
    }

    /// The event types that the handler takes, or patterns of them.
    pub(crate) fn takes(&self) -> impl Iterator<Item = &'static str> {
        self.event_types().chain(self.patterns.iter().copied())
    }

    /// True if the handler takes events of this type, by its name or by a pattern.
    #[must_use]
    pub fn takes_event_type(&self, event_type: &str) -> bool {
        self.takes().any(|pattern| covers(pattern, event_type))
    }

    /// The route that a relay records.
    pub(crate) fn route(&self) -> HandlerRoute {
        HandlerRoute::new(self.name, self.takes())
            .ordered(self.is_ordered)
            .from(self.from)
    }
}

/// A handler that is linked into the binary.
#[derive(Clone, Copy, Debug)]
pub struct HandlerRegistration(pub &'static HandlerDescriptor);

inventory::collect!(HandlerRegistration);
