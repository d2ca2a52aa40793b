::core::compile_error! {
    "an aggregate keeps the events it has raised: add a field `events: PendingEvents`, filled with `PendingEvents::default()`"
}
struct Order {
    id: Uuid,
}
#[allow(dead_code, deprecated)]
impl Order {
    /// Says that `event` happened: it goes to the transaction whose scope this is, else it stays pending here.
    #[track_caller]
    fn raise<E: ::bento_core::__private::RaisedBy<Self>>(&mut self, event: E) {
        ::bento_core::__private::Aggregate::raise(self, event);
    }
    /// Says that `event` happened, with metadata of its own: an id, a topic, a header.
    #[track_caller]
    fn raise_with<E: ::bento_core::__private::RaisedBy<Self>>(
        &mut self,
        event: E,
        adjust: impl ::bento_core::__private::FnOnce(
            &mut ::bento_core::__private::Metadata,
        ),
    ) {
        ::bento_core::__private::Aggregate::raise_with(self, event, adjust);
    }
    /// The pending events, oldest first.
    fn pending(&self) -> ::bento_core::__private::Vec<OrderEvent> {
        ::bento_core::__private::Aggregate::pending(self)
    }
    /// The pending events, oldest first, which are then no longer pending.
    fn take(&mut self) -> ::bento_core::__private::Vec<OrderEvent> {
        ::bento_core::__private::Aggregate::take(self)
    }
    /// Drops the pending events: they did not happen after all.
    fn discard(&mut self) {
        ::bento_core::__private::Aggregate::discard(self);
    }
}
///The events that [`Order`] raises.
#[allow(deprecated, dead_code)]
#[derive(::bento_core::__private::Clone)]
enum OrderEvent {
    ///[`OrderCreated`] happened.
    OrderCreated(::bento_core::__private::Arc<OrderCreated>),
}
#[allow(deprecated)]
const _: () = {
    #[automatically_derived]
    impl ::bento_core::__private::Aggregate for Order {
        type Event = OrderEvent;
        const DESCRIPTOR: &'static ::bento_core::__private::AggregateDescriptor = &::bento_core::__private::AggregateDescriptor {
            aggregate_type: "order",
            rust_name: "Order",
            declared: ::bento_core::__private::Declaration {
                module_path: ::bento_core::__private::module_path!(),
                package: ::bento_core::__private::or_unknown(
                    ::bento_core::__private::option_env!("CARGO_PKG_NAME"),
                ),
                package_version: ::bento_core::__private::or_unknown(
                    ::bento_core::__private::option_env!("CARGO_PKG_VERSION"),
                ),
                file: ::bento_core::__private::file!(),
                line: ::bento_core::__private::line!(),
            },
            docs: "",
            events: &[::bento_core::__private::descriptor_of::<Order, OrderCreated>()],
        };
        fn aggregate_key(&self) -> ::bento_core::__private::AggregateKey {
            ::bento_core::__private::AggregateKey::new().push(&self.id)
        }
        fn pending_events(&self) -> &::bento_core::__private::PendingEvents {
            ::bento_core::__private::unreachable!()
        }
        fn pending_events_mut(&mut self) -> &mut ::bento_core::__private::PendingEvents {
            ::bento_core::__private::unreachable!()
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::fmt::Debug for OrderEvent {
        fn fmt(
            &self,
            f: &mut ::bento_core::__private::fmt::Formatter<'_>,
        ) -> ::bento_core::__private::fmt::Result {
            match *self {
                Self::OrderCreated(ref event) => {
                    ::bento_core::__private::debug::<Order, OrderCreated>(event, f)
                }
            }
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::AggregateEvents for OrderEvent {
        fn from_any(
            event: ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent>,
        ) -> ::bento_core::__private::Option<Self> {
            let event = match ::bento_core::__private::downcast::<
                Order,
                OrderCreated,
            >(event) {
                ::bento_core::__private::Ok(event) => {
                    return ::bento_core::__private::Some(Self::OrderCreated(event));
                }
                ::bento_core::__private::Err(event) => event,
            };
            let _ = event;
            ::bento_core::__private::None
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::RaisedBy<Order> for OrderCreated {}
    ::bento_core::__private::inventory::submit! {
        ::bento_core::__private::AggregateRegistration(< Order as
        ::bento_core::__private::Aggregate > ::DESCRIPTOR)
    }
};
