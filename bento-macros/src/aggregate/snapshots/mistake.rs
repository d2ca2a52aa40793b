::core::compile_error! {
    "an aggregate keeps the events it has raised: add a field `events: PendingEvents`, filled with `PendingEvents::default()`; under an alias of the type mark it `#[aggregate(events)]`"
}
struct Order {
    id: Uuid,
}
#[allow(dead_code, deprecated)]
impl Order {
    /// Raises an event: it goes to the transaction whose scope this is, else it
    /// stays pending here.
    #[track_caller]
    fn raise<E: ::bento_core::__private::RaisedBy<Self>>(&mut self, raised_event: E) {
        ::bento_core::__private::raise(
            self,
            ::bento_core::__private::RaisedBy::<Self>::into_any(raised_event),
        );
    }
    /// Raises an event with metadata of its own: an id, a topic, a header.
    #[track_caller]
    fn raise_with<E: ::bento_core::__private::RaisedBy<Self>>(
        &mut self,
        raised_event: E,
        adjust_metadata: impl ::bento_core::__private::FnOnce(
            ::bento_core::__private::Metadata,
        ) -> ::bento_core::__private::Metadata,
    ) {
        ::bento_core::__private::Aggregate::raise_with(
            self,
            raised_event,
            adjust_metadata,
        );
    }
    /// The pending events, oldest first.
    #[inline]
    fn pending(&self) -> ::bento_core::__private::Vec<OrderEvent> {
        ::bento_core::__private::Aggregate::pending(self)
    }
    /// Takes the pending events out of the aggregate, oldest first.
    #[inline]
    fn take(&mut self) -> ::bento_core::__private::Vec<OrderEvent> {
        ::bento_core::__private::Aggregate::take(self)
    }
    /// Drops the pending events: they are not published.
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
            numbers_events: false,
            is_event_sourced: false,
        };
        type Storage = ::bento_core::__private::storage::Row;
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
    impl ::bento_core::__private::InitialState for Order {
        type Aggregate = Self;
        fn into_aggregate(self) -> Self {
            self
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::fmt::Debug for OrderEvent {
        #[inline]
        fn fmt(
            &self,
            __bento_f: &mut ::bento_core::__private::fmt::Formatter<'_>,
        ) -> ::bento_core::__private::fmt::Result {
            match *self {
                Self::OrderCreated(ref __bento_event) => {
                    ::bento_core::__private::debug::<
                        Order,
                        OrderCreated,
                        0usize,
                    >(__bento_event, __bento_f)
                }
            }
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::Clone for OrderEvent {
        #[inline]
        fn clone(&self) -> Self {
            match *self {
                Self::OrderCreated(ref __bento_event) => {
                    Self::OrderCreated(
                        ::bento_core::__private::Clone::clone(__bento_event),
                    )
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
        fn eq(&self, __bento_other: &Self) -> ::bento_core::__private::bool {
            match (self, __bento_other) {
                (
                    Self::OrderCreated(__bento_event),
                    Self::OrderCreated(__bento_other),
                ) => ::bento_core::__private::is_same_event(__bento_event, __bento_other),
                #[allow(unreachable_patterns)]
                _ => false,
            }
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::AggregateEvents for OrderEvent {
        fn into_any(
            self,
        ) -> ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent> {
            match self {
                Self::OrderCreated(__bento_event) => {
                    ::bento_core::__private::share_again::<
                        Order,
                        OrderCreated,
                        0usize,
                    >(__bento_event)
                }
            }
        }
        fn from_any(
            __bento_event: ::bento_core::__private::Arc<
                dyn ::bento_core::__private::AnyEvent,
            >,
        ) -> ::bento_core::__private::Option<Self> {
            let __bento_event = ::bento_core::__private::any(__bento_event);
            let __bento_event = match ::bento_core::__private::downcast::<
                Order,
                OrderCreated,
                0usize,
            >(__bento_event) {
                ::bento_core::__private::Ok(__bento_event) => {
                    return ::bento_core::__private::Some(
                        Self::OrderCreated(__bento_event),
                    );
                }
                ::bento_core::__private::Err(__bento_event) => __bento_event,
            };
            let _ = __bento_event;
            ::bento_core::__private::None
        }
    }
    #[automatically_derived]
    impl<
        ListedEvent: ::bento_core::__private::RaisedBy<Order>,
    > ::bento_core::__private::From<ListedEvent> for OrderEvent {
        fn from(__bento_event: ListedEvent) -> Self {
            ::bento_core::__private::variant::<Order, ListedEvent>(__bento_event)
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::FromEnvelope for OrderEvent {
        const EVENTS: &'static [&'static ::bento_core::__private::EventDescriptor] = &[
            ::bento_core::__private::descriptor_of::<Order, OrderCreated, 0usize>(),
        ];
        fn from_envelope(
            __bento_envelope: &::bento_core::__private::Envelope,
        ) -> ::bento_core::__private::Result<
            Self,
            ::bento_core::__private::DecodeError,
        > {
            ::bento_core::__private::one_of(
                __bento_envelope,
                <Self as ::bento_core::__private::AggregateEvents>::from_any,
            )
        }
    }
    #[automatically_derived]
    impl<
        AnyAggregate: ::bento_core::__private::RaisesVariants<Self>,
    > ::bento_core::__private::RaisedBy<AnyAggregate> for OrderEvent {
        fn into_any(
            self,
        ) -> ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent> {
            match <AnyAggregate as ::bento_core::__private::RaisesVariants<
                Self,
            >>::NEVER {}
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
