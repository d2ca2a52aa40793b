//! Event-sourced aggregates: raising, loading from events, ids, and the events of a save.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use bento_core::event::RaisedBy;
use bento_core::outbox::Sharding;
use bento_core::saving::SavingError;
use bento_core::unit_of_work::{FlushError, FrameId, UnitOfWork};
use bento_core::{Aggregate, AggregateKey, EventSourced, PendingEvents, aggregate, domain_event};
use uuid::Uuid;

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct AccountOpened {
    pub number: u32,
}

#[domain_event(schema = "account.credited", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct AccountCredited {
    pub cents: i64,
}

#[aggregate(event_sourced, events(AccountOpened, AccountCredited))]
#[derive(Debug, Default, PartialEq)]
pub struct Account {
    id: u32,
    #[aggregate(version)]
    version: u16,
    balance: i64,
    events: PendingEvents,
}

impl Account {
    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::AccountOpened(opened) => self.id = opened.number,
            AccountEvent::AccountCredited(credited) => {
                self.balance = self.balance.checked_add(credited.cents).unwrap();
            }
        }
    }

    /// The account with its first event stored.
    fn opened(number: u32) -> Self {
        Self::from_events([AccountOpened { number }])
    }

    fn credit(&mut self, cents: i64) {
        self.raise(AccountCredited { cents });
    }
}

mod raising {
    use super::*;

    #[test]
    fn an_event_is_applied_at_once_outside_a_scope() {
        let mut account = Account::opened(7);
        account.credit(500);
        assert_eq!((account.balance, account.version), (500, 1));
        assert_eq!(account.take(), [AccountCredited { cents: 500 }.into()]);
    }

    #[test]
    fn an_event_is_applied_at_once_inside_a_scope() {
        let (unit_of_work, root) = UnitOfWork::open();
        let mut account = Account::opened(7);
        unit_of_work.scope_sync(|| {
            account.credit(500);
            assert_eq!(account.balance, 500);
        });
        unit_of_work.discard(root);
        account.discard();
    }

    #[test]
    fn an_event_with_metadata_of_its_own_is_applied() {
        let mut account = Account::opened(7);
        account.raise_with(AccountCredited { cents: 500 }, |metadata| {
            metadata.with_topic("credits")
        });
        assert_eq!((account.balance, account.take().len()), (500, 1));
    }

    #[test]
    fn an_event_raised_through_the_trait_is_applied() {
        fn credit<A: Aggregate>(aggregate: &mut A)
        where
            AccountCredited: RaisedBy<A>,
        {
            aggregate.raise(AccountCredited { cents: 20 });
            aggregate.raise_with(AccountCredited { cents: 3 }, |metadata| metadata);
        }
        let mut account = Account::opened(7);
        credit(&mut account);
        assert_eq!((account.balance, account.take().len()), (23, 2));
    }

    #[test]
    fn the_event_that_tells_the_id_is_stored_under_it() {
        let (unit_of_work, root) = UnitOfWork::open();
        let mut account = Account::default();
        unit_of_work.scope_sync(|| account.raise(AccountOpened { number: 7 }));
        let saving = unit_of_work.save(root, &mut account).unwrap();
        let flush = saving.flush(&Sharding::default()).unwrap();
        assert_eq!(flush.entries[0].envelope.aggregate_id, "7");
        saving.failed();
        drop(flush);
        unit_of_work.discard(root);
        account.discard();
    }

    /// Replaced as a whole by its first event.
    #[aggregate(event_sourced, events(AccountOpened, AccountCredited))]
    #[derive(Debug, Default)]
    pub struct Remade {
        id: u32,
        #[aggregate(version)]
        version: i64,
        balance: i64,
        events: PendingEvents,
    }

    impl Remade {
        fn apply(&mut self, event: &RemadeEvent) {
            match event {
                RemadeEvent::AccountOpened(opened) => {
                    *self = Self {
                        id: opened.number,
                        ..Self::default()
                    };
                }
                RemadeEvent::AccountCredited(credited) => self.balance += credited.cents,
            }
        }
    }

    #[test]
    fn an_apply_that_replaces_the_struct_loses_no_event() {
        let mut account = Remade::from_events([AccountOpened { number: 7 }]);
        account.raise(AccountCredited { cents: 5 });
        account.raise(AccountOpened { number: 7 });
        account.raise(AccountCredited { cents: 3 });
        assert_eq!((account.version, account.balance), (1, 3));
        let raised = account.take();
        let is_credit = |event: &RemadeEvent| matches!(event, RemadeEvent::AccountCredited(_));
        assert_eq!(
            raised.iter().map(is_credit).collect::<Vec<_>>(),
            [true, false, true]
        );
    }

    #[test]
    fn an_apply_that_replaces_the_struct_keeps_it_collected() {
        let (unit_of_work, root) = UnitOfWork::open();
        let mut account = Remade::from_events([AccountOpened { number: 7 }]);
        unit_of_work.scope_sync(|| {
            account.raise(AccountCredited { cents: 5 });
            account.raise(AccountOpened { number: 7 });
        });
        let saving = unit_of_work.save(root, &mut account).unwrap();
        assert_eq!((saving.version_before(), saving.events()), (Some(1), 2));
        saving.failed();
        unit_of_work.discard(root);
        account.discard();
    }

    #[test]
    fn a_panic_while_an_event_is_applied_raises_nothing() {
        let (unit_of_work, root) = UnitOfWork::open();
        let mut account = Account::opened(7);
        account.balance = i64::MAX;
        catch_unwind(AssertUnwindSafe(|| account.credit(1))).unwrap_err();
        catch_unwind(AssertUnwindSafe(|| {
            unit_of_work.scope_sync(|| account.credit(1));
        }))
        .unwrap_err();
        assert!(account.pending().is_empty() && !unit_of_work.has_events());
        unit_of_work.discard(root);
    }
}

mod loading {
    use super::*;

    #[test]
    fn the_version_is_the_number_of_the_events() {
        let account = Account::from_events([
            AccountEvent::from(AccountOpened { number: 7 }),
            AccountCredited { cents: 500 }.into(),
            AccountCredited { cents: -30 }.into(),
        ]);
        assert_eq!((account.id, account.version, account.balance), (7, 3, 470));
        assert!(account.pending().is_empty(), "stored events are not raised");
    }

    #[test]
    fn no_event_leaves_the_default() {
        let nothing: [AccountEvent; 0] = [];
        assert_eq!(Account::from_events(nothing), Account::default());
    }

    #[test]
    fn more_events_than_the_version_can_count_are_refused() {
        let credits = || std::iter::repeat_n(AccountCredited { cents: 1 }, usize::from(u16::MAX));
        assert_eq!(Account::from_events(credits()).version, u16::MAX);
        let refused =
            catch_unwind(|| Account::from_events(credits().chain([AccountCredited { cents: 1 }])));
        let message = refused.unwrap_err().downcast::<String>().unwrap();
        assert!(
            message.contains("the version field of `account` cannot hold 65536"),
            "{message}"
        );
    }
}

mod ids {
    use super::*;

    #[derive(Debug, Default, PartialEq, bento_core::AggregateId)]
    pub struct CardId(Uuid);

    #[aggregate(event_sourced, events(AccountCredited))]
    #[derive(Debug, Default)]
    pub struct Card {
        #[aggregate(id)]
        number: CardId,
        #[aggregate(version)]
        version: i64,
        events: PendingEvents,
    }

    impl Card {
        fn apply(&mut self, _: &CardEvent) {}
    }

    #[aggregate(event_sourced, id = (bank, number), events(AccountCredited))]
    #[derive(Debug, Default)]
    pub struct Vault {
        number: u32,
        bank: String,
        #[aggregate(version)]
        version: i64,
        events: PendingEvents,
    }

    impl Vault {
        fn apply(&mut self, _: &VaultEvent) {}
    }

    fn key<A: EventSourced>(id: &A::Id) -> Option<String> {
        A::key_of(id).into_text()
    }

    /// The key of an aggregate that was made with this id.
    fn key_with<A: EventSourced>(id: A::Id) -> Option<String> {
        A::with_id(id).aggregate_key().into_text()
    }

    #[test]
    fn one_field_is_the_id() {
        assert_eq!(key::<Account>(&7).as_deref(), Some("7"));
        assert_eq!(key_with::<Account>(7).as_deref(), Some("7"));
        let blank = Account::with_id(0);
        assert_eq!((blank.version, blank.balance), (0, 0));
        assert_eq!(Account::key_of(&0), AggregateKey::new().push(&0));
    }

    #[test]
    fn several_fields_are_a_tuple_in_the_order_of_the_key() {
        let id = || (String::from("a:b"), 7);
        assert_eq!(key::<Vault>(&id()).as_deref(), Some(r"a\:b:7"));
        assert_eq!(key_with::<Vault>(id()), key::<Vault>(&id()));
        let vault = Vault::with_id(id());
        assert_eq!((vault.bank.as_str(), vault.number), ("a:b", 7));
    }

    #[test]
    fn a_type_of_the_application_may_be_the_id() {
        let uuid = Uuid::from_u128(7);
        assert_eq!(key::<Card>(&CardId(uuid)), Some(uuid.to_string()));
        assert_eq!(key_with::<Card>(CardId(uuid)), Some(uuid.to_string()));
        assert_eq!(Card::with_id(CardId(uuid)).number, CardId(uuid));
    }
}

mod saving {
    use super::*;

    /// The aggregates, numbers and event types of the events that a save writes.
    fn save(
        unit_of_work: &UnitOfWork,
        frame: FrameId,
        account: &mut Account,
    ) -> Vec<(String, Option<i64>, String)> {
        let saving = unit_of_work.save(frame, account).unwrap();
        let mut flush = saving.flush(&Sharding::default()).unwrap();
        let entries = std::mem::take(&mut flush.entries);
        assert_eq!(saving.events(), entries.len());
        saving.done(account).unwrap();
        flush.done();
        let written = entries.into_iter().map(|entry| {
            let envelope = entry.envelope;
            let aggregate_id = envelope.aggregate_id.to_string();
            (
                aggregate_id,
                envelope.sequence,
                envelope.event_type.to_string(),
            )
        });
        written.collect()
    }

    fn credited(account: u32, sequence: i64) -> (String, Option<i64>, String) {
        let event_type = "account.credited".to_owned();
        (account.to_string(), Some(sequence), event_type)
    }

    #[test]
    fn a_save_writes_the_events_of_one_aggregate_numbered_in_their_order() {
        let (unit_of_work, root) = UnitOfWork::open();
        let (mut first, mut second) = (Account::opened(1), Account::opened(2));
        first.credit(1);
        unit_of_work.scope_sync(|| {
            first.credit(2);
            second.credit(3);
            first.credit(4);
        });
        assert_eq!(
            save(&unit_of_work, root, &mut first),
            [credited(1, 2), credited(1, 3), credited(1, 4)]
        );
        unit_of_work.scope_sync(|| first.credit(5));
        assert_eq!(save(&unit_of_work, root, &mut first), [credited(1, 5)]);
        assert_eq!(save(&unit_of_work, root, &mut second), [credited(2, 2)]);
        assert_eq!((first.version, second.version), (5, 2));
        let rest = unit_of_work.flush(root, &Sharding::default()).unwrap();
        assert!(rest.entries.is_empty(), "{rest:?}");
        rest.done();
        assert!(unit_of_work.seal(root).unwrap());
        unit_of_work.committed();
    }

    #[test]
    fn a_save_without_an_event_leaves_the_version() {
        let (unit_of_work, root) = UnitOfWork::open();
        let mut account = Account::opened(1);
        let saving = unit_of_work.save(root, &mut account).unwrap();
        assert_eq!(
            (saving.version_before(), saving.version_after()),
            (Some(1), Some(1))
        );
        saving.done(&mut account).unwrap();
        assert_eq!((account.version, unit_of_work.has_events()), (1, false));
        unit_of_work.discard(root);
    }

    #[test]
    fn an_event_that_was_raised_under_another_id_is_refused() {
        let (unit_of_work, root) = UnitOfWork::open();
        let mut account = Account::opened(1);
        account.credit(1);
        account.id = 2;
        let saving = unit_of_work.save(root, &mut account).unwrap();
        let refused = saving.flush(&Sharding::default()).unwrap_err();
        assert!(
            matches!(&refused, FlushError::OtherAggregateId { raised_as, saved_as, .. }
                if raised_as == "1" && saved_as == "2"),
            "{refused}"
        );
        let message = refused.to_string();
        assert!(message.contains("give it its id before"), "{message}");
        saving.failed();
        assert_eq!(account.pending().len(), 1, "the event is back");
        unit_of_work.discard(root);
        account.discard();
    }

    #[test]
    fn a_version_that_the_field_cannot_hold_is_refused_before_anything_is_written() {
        let (unit_of_work, root) = UnitOfWork::open();
        let mut account = Account::opened(1);
        account.version = u16::MAX - 1;
        account.credit(1);
        account.credit(1);
        let refused = unit_of_work.save(root, &mut account).unwrap_err();
        let expected = SavingError::VersionTooLarge {
            aggregate_type: "account",
            version: i64::from(u16::MAX) + 1,
        };
        assert_eq!(refused, expected);
        assert_eq!(
            (account.version, account.pending().len()),
            (u16::MAX - 1, 2)
        );
        assert!(!unit_of_work.has_events(), "the transaction goes on");
        account.discard();
        account.credit(1);
        assert_eq!(
            save(&unit_of_work, root, &mut account),
            [credited(1, i64::from(u16::MAX))]
        );
        unit_of_work.discard(root);
        account.discard();
    }

    #[test]
    fn a_version_behind_the_largest_integer_is_refused() {
        let (unit_of_work, root) = UnitOfWork::open();
        let mut counter = super::raising::Remade::with_id(7);
        assert!(counter.set_version(i64::MAX));
        counter.raise(AccountCredited { cents: 1 });
        let refused = unit_of_work.save(root, &mut counter).unwrap_err();
        assert!(
            matches!(refused, SavingError::VersionTooLarge { .. }),
            "{refused}"
        );
        assert_eq!(counter.version(), Some(i64::MAX));
        unit_of_work.discard(root);
        counter.discard();
    }

    #[test]
    fn events_that_were_not_saved_are_refused_at_the_flush() {
        let (unit_of_work, root) = UnitOfWork::open();
        let mut account = Account::opened(1);
        unit_of_work.scope_sync(|| account.credit(1));
        let refused = unit_of_work.flush(root, &Sharding::default()).unwrap_err();
        assert!(
            matches!(
                refused,
                FlushError::Unsaved {
                    aggregate_type: "account",
                    ..
                }
            ),
            "{refused}"
        );
        let message = refused.to_string();
        assert!(
            message.ends_with("load the aggregate again if it is event-sourced"),
            "{message}"
        );
        assert_eq!(save(&unit_of_work, root, &mut account), [credited(1, 2)]);
        unit_of_work.discard(root);
        account.discard();
    }
}

mod forms {
    use super::*;

    macro_rules! declare {
        ($name:ident, $event_enum:ident, $id:ty, $event:path) => {
            #[aggregate(event_sourced, events($event), event_enum = $event_enum)]
            #[derive(Default)]
            pub struct $name {
                id: $id,
                #[aggregate(version)]
                version: i64,
                events: PendingEvents,
            }

            impl $name {
                fn apply(&mut self, _: &$event_enum) {}
            }
        };
    }
    declare!(Declared, DeclaredHappened, u8, AccountCredited);

    #[test]
    fn an_event_sourced_aggregate_may_be_declared_by_a_macro() {
        let declared = Declared::from_events([AccountCredited { cents: 1 }]);
        assert_eq!((declared.id, declared.version), (0, 1));
        assert_eq!(Declared::with_id(3).id, 3);
    }

    #[aggregate(event_sourced, events(AccountCredited))]
    #[derive(Default)]
    struct OneLifetime {
        id: u8,
        #[aggregate(version)]
        version: i64,
        last: Option<i64>,
        events: PendingEvents,
    }

    impl OneLifetime {
        fn apply<'a>(&'a mut self, event: &'a OneLifetimeEvent) {
            let OneLifetimeEvent::AccountCredited(credited) = event;
            self.last = Some(credited.cents);
        }
    }

    #[test]
    fn apply_may_name_its_lifetimes() {
        let applied = OneLifetime::from_events([AccountCredited { cents: 5 }]);
        assert_eq!((applied.id, applied.last), (0, Some(5)));
    }
}

#[allow(non_upper_case_globals, dead_code)]
mod names_in_use {
    use super::*;

    pub const id: u8 = 1;
    pub static event: u8 = 1;
    pub const version: u8 = 1;
    pub const apply: u8 = 1;

    struct Events;
    struct Blank;
    trait EventSourced {}

    #[aggregate(event_sourced, id = (id, shop), events(AccountCredited))]
    #[derive(Default)]
    struct Till {
        id: u8,
        shop: u8,
        #[aggregate(version)]
        version: i64,
        events: PendingEvents,
    }

    impl Till {
        fn apply(&mut self, _: &TillEvent) {}

        fn blank() -> Blank {
            Blank
        }

        fn set_id(&self) {}

        fn with_id() -> Events {
            Events
        }

        fn key_of(&self) -> u8 {
            self.id
        }

        fn apply_event(&self) {}
    }

    #[test]
    fn an_event_sourced_aggregate_compiles_beside_names_of_its_own() {
        let mut till = <Till as bento_core::EventSourced>::with_id((7, 3));
        till.raise(AccountCredited { cents: 1 });
        assert_eq!((till.id, till.shop, till.take().len()), (7, 3, 1));
        assert_eq!(Till::from_events([AccountCredited { cents: 1 }]).version, 1);
    }
}

mod strict {
    //! Nothing generated warns.
    #![deny(warnings, missing_docs, unsafe_code)]
    #![allow(unreachable_pub)]

    use super::*;

    /// Nothing is called on it.
    #[aggregate(event_sourced, events(AccountCredited))]
    #[derive(Debug, Default)]
    pub struct Quiet {
        id: char,
        #[aggregate(version)]
        version: i64,
        events: PendingEvents,
    }

    impl Quiet {
        fn apply(&mut self, _: &QuietEvent) {}
    }

    #[test]
    fn an_aggregate_knows_that_it_is_event_sourced() {
        const { assert!(Quiet::IS_EVENT_SOURCED && Quiet::IS_VERSIONED) };
    }
}

mod snapshots {
    use bento_core::WireShape;
    use serde::{Deserialize, Serialize};

    use super::*;

    /// An account of one release.
    macro_rules! account {
        ($release:ident, $event_sourced:tt, $events:tt, { $($field:ident: $ty:ty),* }) => {
            mod $release {
                use super::*;

                #[aggregate(event_sourced, snapshots $event_sourced, events $events, name = "kept")]
                #[derive(Debug, Default, Serialize, Deserialize, WireShape)]
                pub struct Account {
                    id: u32,
                    #[aggregate(version)]
                    version: u16,
                    $(pub $field: $ty,)*
                    events: PendingEvents,
                }

                impl Account {
                    fn apply(&mut self, _: &AccountEvent) {}
                }
            }
        };
    }

    account!(first, (), (AccountCredited), { balance: i64 });
    account!(rarer, (every = 200), (AccountCredited), { balance: i64 });
    account!(raised, (version = 2), (AccountCredited), { balance: i64 });
    account!(wider, (), (AccountCredited), { balance: i64, limit: i64 });
    account!(retyped, (), (AccountCredited), { balance: i32 });
    account!(listing_more, (), (AccountCredited, AccountOpened), { balance: i64 });

    fn fingerprint<A: EventSourced>() -> u64 {
        A::SNAPSHOTS.unwrap().fingerprint()
    }

    #[test]
    fn a_release_has_the_fingerprint_of_what_makes_its_state() {
        let first = fingerprint::<first::Account>();
        assert_eq!(first, fingerprint::<rarer::Account>());
        let others = [
            fingerprint::<raised::Account>(),
            fingerprint::<wider::Account>(),
            fingerprint::<retyped::Account>(),
            fingerprint::<listing_more::Account>(),
        ];
        for other in others {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_snapshot_is_due_where_a_multiple_is_passed() {
        let snapshots = rarer::Account::SNAPSHOTS.unwrap();
        for (before, after, is_due) in [
            (0, 199, false),
            (0, 200, true),
            (199, 201, true),
            (200, 399, false),
            (399, 900, true),
        ] {
            assert_eq!(
                snapshots.is_due(before, after),
                is_due,
                "{before} to {after}"
            );
        }
    }

    #[test]
    fn a_state_comes_back_under_the_id_that_it_is_read_for() {
        let snapshots = first::Account::SNAPSHOTS.unwrap();
        let mut account = first::Account::with_id(7);
        account.balance = 50;
        let state = snapshots.write(&account).unwrap();
        let read = snapshots.read(8, &state).unwrap();
        assert_eq!((snapshots.id_of(&read), read.balance), (8, 50));
        let (id, _) = snapshots.read(8, b"{}").unwrap_err();
        assert_eq!(id, 8);
    }

    account!(measured, (), (AccountCredited), { level: f64 });

    /// Some hundred numbers of many magnitudes.
    fn fractions() -> impl Iterator<Item = f64> {
        let mut bits = 7_u64;
        let mut next = move || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bits >> 11
        };
        let number = move |power: i32| next() as f64 * 10_f64.powi(power - 30);
        (0..300).map(|nth| nth % 30).map(number)
    }

    #[test]
    fn a_fraction_in_a_state_comes_back_to_its_last_bit() {
        let snapshots = measured::Account::SNAPSHOTS.unwrap();
        for level in fractions() {
            let mut account = measured::Account::with_id(7);
            account.level = level;
            let state = snapshots.write(&account).unwrap();
            let read = snapshots.read(7, &state).unwrap();
            assert_eq!(read.level.to_bits(), level.to_bits(), "{level}");
        }
    }

    #[domain_event(schema = "level.measured", version = 1)]
    #[derive(Clone, Debug)]
    pub struct Measured {
        pub level: f64,
    }

    /// An aggregate is then the same in memory and from its stored events.
    #[test]
    fn a_fraction_in_an_event_comes_back_to_its_last_bit() {
        for level in fractions() {
            let payload = serde_json::to_vec(&Measured { level }).unwrap();
            let read: Measured = bento_core::codec::decode("level.measured", 1, &payload).unwrap();
            assert_eq!(read.level.to_bits(), level.to_bits(), "{level}");
        }
    }

    #[test]
    fn an_aggregate_without_the_key_keeps_none() {
        assert!(Account::SNAPSHOTS.is_none());
    }
}
