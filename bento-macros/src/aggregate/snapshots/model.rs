#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "order_line")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i32,
    #[serde(skip)]
    #[sea_orm(ignore)]
    pub events: PendingEvents,
}
#[allow(dead_code, deprecated)]
impl Model {
    /// Raises an event: it goes to the transaction whose scope this is, else it
    /// stays pending here.
    #[track_caller]
    pub fn raise<E: framework::__private::RaisedBy<Self>>(&mut self, raised_event: E) {
        framework::__private::raise(
            self,
            framework::__private::RaisedBy::<Self>::into_any(raised_event),
        );
    }
    /// Raises an event with metadata of its own: an id, a topic, a header.
    #[track_caller]
    pub fn raise_with<E: framework::__private::RaisedBy<Self>>(
        &mut self,
        raised_event: E,
        adjust_metadata: impl framework::__private::FnOnce(
            framework::__private::Metadata,
        ) -> framework::__private::Metadata,
    ) {
        framework::__private::Aggregate::raise_with(self, raised_event, adjust_metadata);
    }
    /// The pending events, oldest first.
    #[inline]
    pub fn pending(&self) -> framework::__private::Vec<OrderLineEvent> {
        framework::__private::Aggregate::pending(self)
    }
    /// Takes the pending events out of the aggregate, oldest first.
    #[inline]
    pub fn take(&mut self) -> framework::__private::Vec<OrderLineEvent> {
        framework::__private::Aggregate::take(self)
    }
    /// Drops the pending events: they are not published.
    #[inline]
    pub fn discard(&mut self) {
        framework::__private::Aggregate::discard(self);
    }
}
///The events that [`Model`] raises.
#[allow(deprecated, dead_code)]
pub enum OrderLineEvent {
    ///[`LineAdded`] happened.
    LineAdded(framework::__private::Arc<LineAdded>),
}
#[allow(deprecated)]
const _: () = {
    #[automatically_derived]
    impl framework::__private::Aggregate for Model {
        type Event = OrderLineEvent;
        const DESCRIPTOR: &'static framework::__private::AggregateDescriptor = &framework::__private::AggregateDescriptor {
            aggregate_type: "order_line",
            rust_name: "Model",
            declared: framework::__private::Declaration {
                module_path: framework::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: framework::__private::file!(),
                line: framework::__private::line!(),
            },
            docs: "",
            events: &[framework::__private::descriptor_of::<Self, LineAdded, 0usize>()],
            numbers_events: false,
            is_event_sourced: false,
        };
        type Storage = framework::__private::storage::Row;
        #[inline]
        fn aggregate_key(&self) -> framework::__private::AggregateKey {
            framework::__private::AggregateKey::new()
                .push(&self.order_id)
                .push(&self.number)
        }
        #[inline]
        fn pending_events(&self) -> &framework::__private::PendingEvents {
            <PendingEvents as framework::__private::PendingField>::pending_events(
                &self.events,
            )
        }
        #[inline]
        fn pending_events_mut(&mut self) -> &mut framework::__private::PendingEvents {
            <PendingEvents as framework::__private::PendingField>::pending_events_mut(
                &mut self.events,
            )
        }
    }
    #[automatically_derived]
    impl framework::__private::InitialState for Model {
        type Aggregate = Self;
        fn into_aggregate(self) -> Self {
            self
        }
    }
    #[automatically_derived]
    impl framework::__private::fmt::Debug for OrderLineEvent {
        #[inline]
        fn fmt(
            &self,
            __bento_f: &mut framework::__private::fmt::Formatter<'_>,
        ) -> framework::__private::fmt::Result {
            match *self {
                Self::LineAdded(ref __bento_event) => {
                    framework::__private::debug::<
                        Model,
                        LineAdded,
                        0usize,
                    >(__bento_event, __bento_f)
                }
            }
        }
    }
    #[automatically_derived]
    impl framework::__private::Clone for OrderLineEvent {
        #[inline]
        fn clone(&self) -> Self {
            match *self {
                Self::LineAdded(ref __bento_event) => {
                    Self::LineAdded(framework::__private::Clone::clone(__bento_event))
                }
            }
        }
    }
    #[automatically_derived]
    impl framework::__private::PartialEq for OrderLineEvent
    where
        for<'bento> &'bento LineAdded: framework::__private::PartialEq<
            &'bento LineAdded,
        >,
    {
        #[inline]
        fn eq(&self, __bento_other: &Self) -> framework::__private::bool {
            match (self, __bento_other) {
                (Self::LineAdded(__bento_event), Self::LineAdded(__bento_other)) => {
                    framework::__private::is_same_event(__bento_event, __bento_other)
                }
                #[allow(unreachable_patterns)]
                _ => false,
            }
        }
    }
    #[automatically_derived]
    impl framework::__private::AggregateEvents for OrderLineEvent {
        fn into_any(
            self,
        ) -> framework::__private::Arc<dyn framework::__private::AnyEvent> {
            match self {
                Self::LineAdded(__bento_event) => {
                    framework::__private::share_again::<
                        Model,
                        LineAdded,
                        0usize,
                    >(__bento_event)
                }
            }
        }
        fn from_any(
            __bento_event: framework::__private::Arc<dyn framework::__private::AnyEvent>,
        ) -> framework::__private::Option<Self> {
            let __bento_event = framework::__private::any(__bento_event);
            let __bento_event = match framework::__private::downcast::<
                Model,
                LineAdded,
                0usize,
            >(__bento_event) {
                framework::__private::Ok(__bento_event) => {
                    return framework::__private::Some(Self::LineAdded(__bento_event));
                }
                framework::__private::Err(__bento_event) => __bento_event,
            };
            let _ = __bento_event;
            framework::__private::None
        }
    }
    #[automatically_derived]
    impl<
        ListedEvent: framework::__private::RaisedBy<Model>,
    > framework::__private::From<ListedEvent> for OrderLineEvent {
        fn from(__bento_event: ListedEvent) -> Self {
            framework::__private::variant::<Model, ListedEvent>(__bento_event)
        }
    }
    #[automatically_derived]
    impl framework::__private::FromEnvelope for OrderLineEvent {
        const EVENTS: &'static [&'static framework::__private::EventDescriptor] = &[
            framework::__private::descriptor_of::<Model, LineAdded, 0usize>(),
        ];
        fn from_envelope(
            __bento_envelope: &framework::__private::Envelope,
        ) -> framework::__private::Result<Self, framework::__private::DecodeError> {
            framework::__private::one_of(
                __bento_envelope,
                <Self as framework::__private::AggregateEvents>::from_any,
            )
        }
    }
    #[automatically_derived]
    impl<
        AnyAggregate: framework::__private::RaisesVariants<Self>,
    > framework::__private::RaisedBy<AnyAggregate> for OrderLineEvent {
        fn into_any(
            self,
        ) -> framework::__private::Arc<dyn framework::__private::AnyEvent> {
            match <AnyAggregate as framework::__private::RaisesVariants<Self>>::NEVER {}
        }
    }
    #[automatically_derived]
    impl framework::__private::ListedBy<Model, 0usize> for LineAdded {}
    #[automatically_derived]
    impl framework::__private::RaisedBy<Model> for LineAdded {
        #[inline]
        fn into_any(
            self,
        ) -> framework::__private::Arc<dyn framework::__private::AnyEvent> {
            framework::__private::into_any::<Model, Self, 0usize>(self)
        }
    }
    framework::__private::inventory::submit! {
        framework::__private::AggregateRegistration(< Model as
        framework::__private::Aggregate > ::DESCRIPTOR)
    }
    #[cfg(not(test))]
    #[unsafe(export_name = "bento__aggregate__order_line__is_declared_twice")]
    static __BENTO_IS_DECLARED_TWICE: framework::__private::u8 = 0;
};
