#[derive(Default)]
pub struct Account {
    bank: String,
    number: u64,
    version: i64,
    events: PendingEvents,
}
#[allow(dead_code, deprecated)]
impl Account {
    /// The aggregate after these events, oldest first, which count as stored.
    ///
    /// # Panics
    /// If the version field cannot hold their number.
    pub fn from_events(
        stored_events: impl ::bento_core::__private::IntoIterator<
            Item: ::bento_core::__private::Into<AccountEvent>,
        >,
    ) -> Self {
        ::bento_core::__private::from_events(stored_events)
    }
    /// Raises an event: it goes to the transaction whose scope this is, else it
    /// stays pending here.
    #[track_caller]
    pub fn raise<E: ::bento_core::__private::RaisedBy<Self>>(
        &mut self,
        raised_event: E,
    ) {
        ::bento_core::__private::raise(
            self,
            ::bento_core::__private::RaisedBy::<Self>::into_any(raised_event),
        );
    }
    /// Raises an event with metadata of its own: an id, a topic, a header.
    #[track_caller]
    pub fn raise_with<E: ::bento_core::__private::RaisedBy<Self>>(
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
    pub fn pending(&self) -> ::bento_core::__private::Vec<AccountEvent> {
        ::bento_core::__private::Aggregate::pending(self)
    }
    /// Takes the pending events out of the aggregate, oldest first.
    #[inline]
    pub fn take(&mut self) -> ::bento_core::__private::Vec<AccountEvent> {
        ::bento_core::__private::Aggregate::take(self)
    }
    /// Drops the pending events: they are not published.
    #[inline]
    pub fn discard(&mut self) {
        ::bento_core::__private::Aggregate::discard(self);
    }
}
///The events that [`Account`] raises.
#[allow(deprecated, dead_code)]
pub enum AccountEvent {
    ///[`AccountOpened`] happened.
    AccountOpened(::bento_core::__private::Arc<AccountOpened>),
}
#[allow(deprecated)]
const _: () = {
    #[automatically_derived]
    impl ::bento_core::__private::Aggregate for Account {
        type Event = AccountEvent;
        const DESCRIPTOR: &'static ::bento_core::__private::AggregateDescriptor = &::bento_core::__private::AggregateDescriptor {
            aggregate_type: "account",
            rust_name: "Account",
            declared: ::bento_core::__private::Declaration {
                module_path: ::bento_core::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: ::bento_core::__private::file!(),
                line: ::bento_core::__private::line!(),
            },
            docs: "",
            events: &[
                ::bento_core::__private::descriptor_of::<Self, AccountOpened, 0usize>(),
            ],
            numbers_events: true,
            is_event_sourced: true,
        };
        const IS_VERSIONED: ::bento_core::__private::bool = true;
        #[inline]
        fn version(
            &self,
        ) -> ::bento_core::__private::Option<::bento_core::__private::i64> {
            ::bento_core::__private::Some(
                <i64 as ::bento_core::__private::VersionNumber>::to_version(self.version),
            )
        }
        #[inline]
        fn set_version(
            &mut self,
            __bento_version: ::bento_core::__private::i64,
        ) -> ::bento_core::__private::bool {
            <i64 as ::bento_core::__private::VersionNumber>::set_version(
                &mut self.version,
                __bento_version,
            )
        }
        const IS_EVENT_SOURCED: ::bento_core::__private::bool = true;
        type Storage = ::bento_core::__private::storage::Events;
        #[inline]
        fn apply_raised(
            &mut self,
            __bento_event: &::bento_core::__private::Arc<
                dyn ::bento_core::__private::AnyEvent,
            >,
        ) {
            ::bento_core::__private::apply_raised(self, __bento_event);
        }
        #[inline]
        fn aggregate_key(&self) -> ::bento_core::__private::AggregateKey {
            ::bento_core::__private::AggregateKey::new()
                .push(&self.bank)
                .push(&self.number)
        }
        #[inline]
        fn pending_events(&self) -> &::bento_core::__private::PendingEvents {
            <PendingEvents as ::bento_core::__private::PendingField>::pending_events(
                &self.events,
            )
        }
        #[inline]
        fn pending_events_mut(&mut self) -> &mut ::bento_core::__private::PendingEvents {
            <PendingEvents as ::bento_core::__private::PendingField>::pending_events_mut(
                &mut self.events,
            )
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::InitialState for Account {
        type Aggregate = Self;
        fn into_aggregate(self) -> Self {
            self
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::Versioned for Account {}
    #[automatically_derived]
    impl ::bento_core::__private::EventSourced for Account {
        type Id = (String, u64);
        fn key_of(__bento_id: &(String, u64)) -> ::bento_core::__private::AggregateKey {
            let (__bento_part_0, __bento_part_1) = __bento_id;
            ::bento_core::__private::AggregateKey::new()
                .push(__bento_part_0)
                .push(__bento_part_1)
        }
        fn blank() -> Self {
            <Self as ::bento_core::__private::Blank>::blank()
        }
        fn set_id(&mut self, __bento_id: (String, u64)) {
            let (__bento_part_0, __bento_part_1) = __bento_id;
            self.bank = __bento_part_0;
            self.number = __bento_part_1;
        }
        fn apply_event(&mut self, __bento_event: &AccountEvent) {
            use ::bento_core::__private::MissingApply as _;
            ::bento_core::__private::apply_by::<
                AccountEvent,
                _,
                _,
                _,
                _,
            >(Self::apply, self, __bento_event);
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::StoredEvents for AccountEvent {
        type Aggregate = Account;
        fn into_aggregate(
            __bento_events: impl ::bento_core::__private::IntoIterator<Item = Self>,
        ) -> Account {
            ::bento_core::__private::from_events(__bento_events)
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::fmt::Debug for AccountEvent {
        #[inline]
        fn fmt(
            &self,
            __bento_f: &mut ::bento_core::__private::fmt::Formatter<'_>,
        ) -> ::bento_core::__private::fmt::Result {
            match *self {
                Self::AccountOpened(ref __bento_event) => {
                    ::bento_core::__private::debug::<
                        Account,
                        AccountOpened,
                        0usize,
                    >(__bento_event, __bento_f)
                }
            }
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::Clone for AccountEvent {
        #[inline]
        fn clone(&self) -> Self {
            match *self {
                Self::AccountOpened(ref __bento_event) => {
                    Self::AccountOpened(
                        ::bento_core::__private::Clone::clone(__bento_event),
                    )
                }
            }
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::PartialEq for AccountEvent
    where
        for<'bento> &'bento AccountOpened: ::bento_core::__private::PartialEq<
            &'bento AccountOpened,
        >,
    {
        #[inline]
        fn eq(&self, __bento_other: &Self) -> ::bento_core::__private::bool {
            match (self, __bento_other) {
                (
                    Self::AccountOpened(__bento_event),
                    Self::AccountOpened(__bento_other),
                ) => ::bento_core::__private::is_same_event(__bento_event, __bento_other),
                #[allow(unreachable_patterns)]
                _ => false,
            }
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::AggregateEvents for AccountEvent {
        fn into_any(
            self,
        ) -> ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent> {
            match self {
                Self::AccountOpened(__bento_event) => {
                    ::bento_core::__private::share_again::<
                        Account,
                        AccountOpened,
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
                Account,
                AccountOpened,
                0usize,
            >(__bento_event) {
                ::bento_core::__private::Ok(__bento_event) => {
                    return ::bento_core::__private::Some(
                        Self::AccountOpened(__bento_event),
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
        ListedEvent: ::bento_core::__private::RaisedBy<Account>,
    > ::bento_core::__private::From<ListedEvent> for AccountEvent {
        fn from(__bento_event: ListedEvent) -> Self {
            ::bento_core::__private::variant::<Account, ListedEvent>(__bento_event)
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::FromEnvelope for AccountEvent {
        const EVENTS: &'static [&'static ::bento_core::__private::EventDescriptor] = &[
            ::bento_core::__private::descriptor_of::<Account, AccountOpened, 0usize>(),
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
    > ::bento_core::__private::RaisedBy<AnyAggregate> for AccountEvent {
        fn into_any(
            self,
        ) -> ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent> {
            match <AnyAggregate as ::bento_core::__private::RaisesVariants<
                Self,
            >>::NEVER {}
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::ListedBy<Account, 0usize> for AccountOpened {}
    #[automatically_derived]
    impl ::bento_core::__private::RaisedBy<Account> for AccountOpened {
        #[inline]
        fn into_any(
            self,
        ) -> ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent> {
            ::bento_core::__private::into_any::<Account, Self, 0usize>(self)
        }
    }
    ::bento_core::__private::inventory::submit! {
        ::bento_core::__private::AggregateRegistration(< Account as
        ::bento_core::__private::Aggregate > ::DESCRIPTOR)
    }
    #[cfg(not(test))]
    #[unsafe(export_name = "bento__aggregate__account__is_declared_twice")]
    static __BENTO_IS_DECLARED_TWICE: ::bento_core::__private::u8 = 0;
};
