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
    /// Says that `event` happened: it goes to the transaction whose scope this is, else it stays pending here.
    #[track_caller]
    pub fn raise<E: framework::__private::RaisedBy<Self>>(&mut self, event: E) {
        framework::__private::Aggregate::raise(self, event);
    }
    /// Says that `event` happened, with metadata of its own: an id, a topic, a header.
    #[track_caller]
    pub fn raise_with<E: framework::__private::RaisedBy<Self>>(
        &mut self,
        event: E,
        adjust: impl framework::__private::FnOnce(&mut framework::__private::Metadata),
    ) {
        framework::__private::Aggregate::raise_with(self, event, adjust);
    }
    /// The pending events, oldest first.
    pub fn pending(&self) -> framework::__private::Vec<OrderLineEvent> {
        framework::__private::Aggregate::pending(self)
    }
    /// The pending events, oldest first, which are then no longer pending.
    pub fn take(&mut self) -> framework::__private::Vec<OrderLineEvent> {
        framework::__private::Aggregate::take(self)
    }
    /// Drops the pending events: they did not happen after all.
    pub fn discard(&mut self) {
        framework::__private::Aggregate::discard(self);
    }
}
///The events that [`Model`] raises.
#[allow(deprecated, dead_code)]
#[derive(framework::__private::Clone)]
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
                package: framework::__private::or_unknown(
                    framework::__private::option_env!("CARGO_PKG_NAME"),
                ),
                package_version: framework::__private::or_unknown(
                    framework::__private::option_env!("CARGO_PKG_VERSION"),
                ),
                file: framework::__private::file!(),
                line: framework::__private::line!(),
            },
            docs: "",
            events: &[framework::__private::descriptor_of::<Model, LineAdded>()],
        };
        fn aggregate_key(&self) -> framework::__private::AggregateKey {
            framework::__private::AggregateKey::new()
                .push(&self.order_id)
                .push(&self.number)
        }
        fn pending_events(&self) -> &framework::__private::PendingEvents {
            &self.events
        }
        fn pending_events_mut(&mut self) -> &mut framework::__private::PendingEvents {
            &mut self.events
        }
    }
    #[automatically_derived]
    impl framework::__private::fmt::Debug for OrderLineEvent {
        fn fmt(
            &self,
            f: &mut framework::__private::fmt::Formatter<'_>,
        ) -> framework::__private::fmt::Result {
            match *self {
                Self::LineAdded(ref event) => {
                    framework::__private::debug::<Model, LineAdded>(event, f)
                }
            }
        }
    }
    #[automatically_derived]
    impl framework::__private::AggregateEvents for OrderLineEvent {
        fn from_any(
            event: framework::__private::Arc<dyn framework::__private::AnyEvent>,
        ) -> framework::__private::Option<Self> {
            let event = match framework::__private::downcast::<Model, LineAdded>(event) {
                framework::__private::Ok(event) => {
                    return framework::__private::Some(Self::LineAdded(event));
                }
                framework::__private::Err(event) => event,
            };
            let _ = event;
            framework::__private::None
        }
    }
    #[automatically_derived]
    impl framework::__private::RaisedBy<Model> for LineAdded {}
    framework::__private::inventory::submit! {
        framework::__private::AggregateRegistration(< Model as
        framework::__private::Aggregate > ::DESCRIPTOR)
    }
};
