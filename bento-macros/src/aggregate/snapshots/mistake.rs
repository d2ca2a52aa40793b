::core::compile_error! {
    "an aggregate keeps the events it has raised: add a field `events: PendingEvents`, filled with `PendingEvents::default()`; under an alias of the type mark it `#[aggregate(events)]`"
}
struct Order {
    id: Uuid,
}
#[allow(dead_code, deprecated)]
impl Order {
    /// Says that `event` happened: it goes to the transaction whose scope this is, else it stays pending here.
    #[track_caller]
    fn raise<E: ::bento_core::__private::RaisedBy<Self>>(&mut self, event: E) {
        ::bento_core::__private::raise(
            self,
            ::bento_core::__private::RaisedBy::<Self>::into_any(event),
        );
    }
    /// Says that `event` happened, with metadata of its own: an id, a topic, a header.
    #[track_caller]
    fn raise_with<E: ::bento_core::__private::RaisedBy<Self>>(
        &mut self,
        event: E,
        adjust: impl ::bento_core::__private::FnOnce(
            ::bento_core::__private::Metadata,
        ) -> ::bento_core::__private::Metadata,
    ) {
        ::bento_core::__private::Aggregate::raise_with(self, event, adjust);
    }
    /// The pending events, oldest first.
    #[inline]
    fn pending(&self) -> ::bento_core::__private::Vec<OrderEvent> {
        ::bento_core::__private::Aggregate::pending(self)
    }
    /// The pending events, oldest first, which are then no longer pending.
    #[inline]
    fn take(&mut self) -> ::bento_core::__private::Vec<OrderEvent> {
        ::bento_core::__private::Aggregate::take(self)
    }
    /// Drops the pending events: they did not happen after all.
    #[inline]
    fn discard(&mut self) {
        ::bento_core::__private::Aggregate::discard(self);
    }
}
///The events that [`Order`] raises.
#[allow(deprecated, dead_code)]
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
                package: "bento-macros",
                package_version: "1.2.3",
                file: ::bento_core::__private::file!(),
                line: ::bento_core::__private::line!(),
            },
            docs: "",
            events: &[
                ::bento_core::__private::descriptor_of::<Self, OrderCreated, 0usize>(),
            ],
        };
        #[inline]
        fn aggregate_key(&self) -> ::bento_core::__private::AggregateKey {
            ::bento_core::__private::AggregateKey::new().push(&self.id)
        }
        #[inline]
        fn pending_events(&self) -> &::bento_core::__private::PendingEvents {
            ::bento_core::__private::unreachable!()
        }
        #[inline]
        fn pending_events_mut(&mut self) -> &mut ::bento_core::__private::PendingEvents {
            ::bento_core::__private::unreachable!()
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::fmt::Debug for OrderEvent {
        #[inline]
        fn fmt(
            &self,
            f: &mut ::bento_core::__private::fmt::Formatter<'_>,
        ) -> ::bento_core::__private::fmt::Result {
            match *self {
                Self::OrderCreated(ref event) => {
                    ::bento_core::__private::debug::<
                        Order,
                        OrderCreated,
                        0usize,
                    >(event, f)
                }
            }
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::Clone for OrderEvent {
        #[inline]
        fn clone(&self) -> Self {
            match *self {
                Self::OrderCreated(ref event) => {
                    Self::OrderCreated(::bento_core::__private::Clone::clone(event))
                }
            }
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::PartialEq for OrderEvent
    where
        for<'bento> &'bento OrderCreated: ::bento_core::__private::PartialEq<
            &'bento OrderCreated,
        >,
    {
        #[inline]
        fn eq(&self, other: &Self) -> ::bento_core::__private::bool {
            match (self, other) {
                (Self::OrderCreated(left), Self::OrderCreated(right)) => {
                    ::bento_core::__private::is_same_event(left, right)
                }
                #[allow(unreachable_patterns)]
                _ => false,
            }
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::AggregateEvents for OrderEvent {
        fn from_any(
            event: ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent>,
        ) -> ::bento_core::__private::Option<Self> {
            let event = ::bento_core::__private::any(event);
            let event = match ::bento_core::__private::downcast::<
                Order,
                OrderCreated,
                0usize,
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
    impl<E: ::bento_core::__private::RaisedBy<Order>> ::bento_core::__private::From<E>
    for OrderEvent {
        fn from(event: E) -> Self {
            ::bento_core::__private::variant::<Order, E>(event)
        }
    }
    #[automatically_derived]
    impl<
        A: ::bento_core::__private::RaisesVariants<Self>,
    > ::bento_core::__private::RaisedBy<A> for OrderEvent {
        fn into_any(
            self,
        ) -> ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent> {
            match <A as ::bento_core::__private::RaisesVariants<Self>>::NEVER {}
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::ListedBy<Order, 0usize> for OrderCreated {}
    #[automatically_derived]
    impl ::bento_core::__private::RaisedBy<Order> for OrderCreated {
        #[inline]
        fn into_any(
            self,
        ) -> ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent> {
            ::bento_core::__private::into_any::<Order, Self, 0usize>(self)
        }
    }
};
