//! Handlers and projections in unusual surroundings: names of their own, macros, conditions,
//! strict lints.

#![deny(warnings, missing_docs, unreachable_pub, missing_debug_implementations)]
#![deny(clippy::all, clippy::pedantic)]
#![allow(clippy::unused_async)]

use bento_core::domain_event;
use bento_handlers::{Call, FromCall, Handlers, ProjectionRegistration};

use super::{database, descriptor, envelope, handle};

/// Names of the standard library that stand for something else.
mod names {
    #![allow(dead_code, non_camel_case_types, clippy::unused_async)]

    use super::super::OrderConfirmed;

    struct Some;
    struct None;
    struct Ok;
    struct Result;
    struct Box;
    struct Duration;
    struct Handler;
    struct HandlerDescriptor;
    struct S;
    mod std {}
    mod core {}
    mod bento_core {}
    mod bento_handlers {}

    /// Called like names in the expansion.
    #[::bento_handlers::event_handler(name = "names.run", timeout = "1s", concurrency = 1)]
    pub(super) async fn run(
        event: OrderConfirmed,
        tx: &::bento_seaorm::OutboxTransaction,
    ) -> ::std::result::Result<(), ::bento_handlers::HandleError> {
        let _ = (event, tx);
        ::std::result::Result::Ok(())
    }

    #[::bento_handlers::projection(name = "names", version = 1)]
    pub(super) struct Arc;

    impl Arc {
        async fn project(
            &self,
            events: ::bento_handlers::Batch<OrderConfirmed>,
            tx: &::bento_seaorm::OutboxTransaction,
        ) -> ::std::result::Result<(), ::bento_handlers::HandleError> {
            let _ = (events, tx);
            ::std::result::Result::Ok(())
        }
    }

    #[::bento_handlers::event_handler(name = "names.raw")]
    pub(super) async fn r#move(
        r#type: OrderConfirmed,
        __bento_call: &::bento_seaorm::OutboxTransaction,
    ) -> ::std::result::Result<(), ::bento_handlers::HandleError> {
        let _ = (r#type, __bento_call);
        ::std::result::Result::Ok(())
    }
}

/// The handlers of a library with every document.
pub mod library {
    use super::Tenant;
    use crate::{HandleError, OrderConfirmed, OutboxTransaction, State};

    /// A private state may be taken by a public handler.
    #[derive(Clone, Debug)]
    struct Stock;

    /// Doubles.
    ///
    /// # Errors
    /// None.
    #[bento_handlers::event_handler(name = "library.instrumented")]
    #[tracing::instrument(skip_all)]
    #[must_use]
    #[allow(private_interfaces, clippy::double_must_use)]
    pub async fn instrumented(
        event: OrderConfirmed,
        tx: &OutboxTransaction,
        stock: State<Stock>,
        Tenant(tenant): Tenant<'_>,
    ) -> Result<(), HandleError> {
        tokio::task::yield_now().await;
        let _ = (event, tx, stock, tenant);
        Ok(())
    }

    /// The attribute may stand below another one as well.
    ///
    /// # Errors
    /// None.
    #[tracing::instrument(skip_all)]
    #[bento_handlers::event_handler(name = "library.below")]
    pub async fn below(event: OrderConfirmed, tx: &OutboxTransaction) -> Result<(), HandleError> {
        let _ = (event, tx);
        Ok(())
    }

    /// Not there.
    ///
    /// # Errors
    /// None.
    #[bento_handlers::event_handler(name = "library.absent")]
    #[cfg(any())]
    pub async fn absent(event: Nowhere) -> Result<(), HandleError> {}

    /// The orders of all years.
    #[bento_handlers::projection(name = "library", version = 1, views = "library")]
    #[derive(Debug, Default)]
    #[non_exhaustive]
    #[deprecated]
    pub struct Library {
        /// The first year.
        pub since: u64,
    }

    #[allow(deprecated)]
    impl Library {
        async fn project(
            &self,
            events: bento_handlers::Batch<OrderConfirmed>,
            tx: &OutboxTransaction,
        ) -> Result<(), HandleError> {
            let _ = (events, tx, self.since);
            Ok(())
        }
    }

    /// Not there.
    #[bento_handlers::projection(name = "absent", version = 1)]
    #[cfg(any())]
    pub struct Absent;

    /// The state of the tests.
    pub(crate) fn stock() -> impl Clone + Send + Sync + 'static {
        Stock
    }
}

/// A parameter that borrows from the call.
#[derive(Debug)]
pub struct Tenant<'a>(Option<&'a str>);

impl<'a> FromCall<'a> for Tenant<'a> {
    fn from_call(call: &'a Call) -> Self {
        Self(call.envelope().tenant_id.as_deref())
    }
}

macro_rules! handler_of {
    ($name:literal, $function:ident, $event:ty, $effect:ty) => {
        #[bento_handlers::event_handler(name = $name, crate = $crate::framework::handlers)]
        async fn $function(
            event: $event,
            effect: $effect,
        ) -> Result<(), bento_handlers::HandleError> {
            let _ = (event, effect);
            Ok(())
        }
    };
}

handler_of!(
    "macros.confirmed",
    of_confirmed,
    super::OrderConfirmed,
    bento_handlers::IdempotencyKey
);
handler_of!(
    "macros.paid",
    of_paid,
    super::OrderPaid,
    &bento_seaorm::OutboxTransaction
);

macro_rules! projection_of {
    ($name:literal, $version:literal, $projection:ident, $event:ty) => {
        #[bento_handlers::projection(
                                                            name = $name,
                                                            version = $version,
                                                            crate = $crate::framework::handlers
                                                        )]
        struct $projection;

        impl $projection {
            async fn project(
                &self,
                events: bento_handlers::Batch<$event>,
                tx: &bento_seaorm::OutboxTransaction,
            ) -> Result<(), bento_handlers::HandleError> {
                let _ = (events, tx);
                Ok(())
            }
        }
    };
}

projection_of!("macros", 1, OfConfirmed, super::OrderConfirmed);
projection_of!("macros", 2, OfPaid, super::OrderPaid);

#[test]
fn projections_in_unusual_surroundings_are_registered() {
    /// A projection of a test.
    #[bento_handlers::projection(name = "local", version = 1)]
    struct Local {}

    impl Local {
        async fn project(
            &self,
            events: bento_handlers::Batch<super::OrderConfirmed>,
            tx: &bento_seaorm::OutboxTransaction,
        ) -> Result<(), bento_handlers::HandleError> {
            let _ = (events, tx);
            Ok(())
        }
    }

    use bento_handlers::Projection;

    #[allow(deprecated)]
    let library = library::Library::DESCRIPTOR;
    for projection in [
        names::Arc::DESCRIPTOR,
        library,
        OfConfirmed::DESCRIPTOR,
        OfPaid::DESCRIPTOR,
        Local::DESCRIPTOR,
    ] {
        let all = bento_handlers::__private::inventory::iter::<ProjectionRegistration>();
        let found: Vec<_> = all
            .filter(|one| std::ptr::eq(one.descriptor, projection))
            .collect();
        assert_eq!(found.len(), 1, "{}", projection.route());
        assert_eq!(projection.takes().count(), 1);
    }
}

#[tokio::test]
async fn handlers_in_unusual_surroundings_are_called() {
    let db = database().await;
    let handlers = Handlers::new(())
        .state(library::stock())
        .add(names::run::handler())
        .add(names::r#move::handler())
        .add(of_confirmed::handler())
        .add(of_paid::handler());
    let dispatcher = handlers.build(&db).unwrap();
    let event = envelope("order.confirmed", 1);
    for name in ["names.run", "names.raw", "macros.confirmed"] {
        handle(&dispatcher, name, &event).await.unwrap();
    }
    handle(&dispatcher, "macros.paid", &envelope("order.paid", 1))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_handler_may_have_attributes_of_others() {
    let db = database().await;
    let handlers = Handlers::registered()
        .state(library::stock())
        .retain(|handler| handler.name.starts_with("library."))
        .retain_projections(|_| false);
    let dispatcher = handlers.build(&db).unwrap();
    let event = envelope("order.confirmed", 1);
    for name in ["library.instrumented", "library.below"] {
        handle(&dispatcher, name, &event).await.unwrap();
        assert_eq!(descriptor(name).event_types().count(), 1);
    }
    assert_eq!(dispatcher.descriptors().count(), 2);
}

#[tokio::test]
async fn a_handler_may_stand_in_a_function() {
    use bento_handlers::{HandleError, IdempotencyKey, event_handler};

    #[domain_event(schema = "local.happened", version = 1)]
    #[derive(Debug)]
    struct LocalHappened {}

    #[event_handler(name = "local.handle")]
    async fn local(event: LocalHappened, key: IdempotencyKey) -> Result<(), HandleError> {
        let _ = (event, key);
        Ok(())
    }

    let db = database().await;
    let dispatcher = Handlers::new(()).add(local::handler()).build(&db).unwrap();
    let event = bento_core::Envelope::new("local.happened", 1, chrono::Utc::now(), "{}");
    handle(&dispatcher, "local.handle", &std::sync::Arc::new(event))
        .await
        .unwrap();
}
