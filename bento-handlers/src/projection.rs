//! The constant data that `#[projection]` leaves in the binary.

use std::any::Any;
use std::sync::Arc;

use bento_core::event::{Declaration, EventDescriptor};

use crate::call::Call;
use crate::descriptor::Running;

/// A read model that is made of events, in a version of its own.
///
/// Implemented by [`#[projection]`](macro@crate::projection).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection",
    label = "a struct without `#[projection]`",
    note = "write `#[projection(name = \"balances\", version = 1)]` above the struct, and the \
            method `project` in an `impl` of it"
)]
pub trait Projection: Send + Sync + 'static {
    /// The declaration.
    const DESCRIPTOR: &'static ProjectionDescriptor;
}

/// The declaration of a projection, as the macro read it.
///
/// ```
/// use bento_handlers::{Batch, HandleError, Projection, projection};
/// use bento_seaorm::OutboxTransaction;
/// # use bento_core::domain_event;
/// # #[domain_event(schema = "order.confirmed", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderConfirmed { pub order_id: u64 }
///
/// #[projection(name = "open_orders", version = 2)]
/// pub struct OpenOrders;
///
/// impl OpenOrders {
///     async fn project(
///         &self,
///         events: Batch<OrderConfirmed>,
///         tx: &OutboxTransaction,
///     ) -> Result<(), HandleError> {
///         # let _ = (events, tx);
///         Ok(())
///     }
/// }
///
/// let descriptor = OpenOrders::DESCRIPTOR;
/// assert_eq!(descriptor.route(), "open_orders@2");
/// assert_eq!(descriptor.takes().collect::<Vec<_>>(), ["order.confirmed"]);
/// ```
#[derive(Clone, Debug)]
pub struct ProjectionDescriptor {
    /// The stable name, `balances`.
    pub name: &'static str,
    /// The version of the read model, counted from 1.
    pub version: u32,
    /// The events that it takes; empty for those of its patterns.
    pub events: &'static [&'static EventDescriptor],
    /// The patterns of event types that it takes, `order.*`.
    pub patterns: &'static [&'static str],
    /// The names under which the read model of the live version is read.
    pub views: &'static [&'static str],
    /// The place of the declaration.
    pub declared: Declaration,
    /// The doc comment of the struct.
    pub docs: &'static str,
    /// The method `project` of the struct that is given. Not public API.
    #[doc(hidden)]
    pub run: for<'a> fn(&'a (dyn Any + Send + Sync), &'a Call) -> Running<'a>,
}

impl ProjectionDescriptor {
    /// The route under which relays keep the progress of this version: `balances@2`.
    #[must_use]
    pub fn route(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The event types that the projection takes, or patterns of them.
    pub fn takes(&self) -> impl Iterator<Item = &'static str> {
        let event_types = self.events.iter().map(|event| event.schema);
        event_types.chain(self.patterns.iter().copied())
    }
}

/// A projection that is linked into the binary.
#[derive(Clone, Copy, Debug)]
pub struct ProjectionRegistration {
    /// The declaration. Not public API.
    #[doc(hidden)]
    pub descriptor: &'static ProjectionDescriptor,
    /// The struct, if it has no fields. Not public API.
    #[doc(hidden)]
    pub unit: Option<fn() -> Arc<dyn Any + Send + Sync>>,
}

inventory::collect!(ProjectionRegistration);
