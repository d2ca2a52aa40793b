//! The faults that the registry of a faulty binary reports: all at once, with the places.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    dead_code
)]

use bento_core::registry::RegistryFault;
use bento_core::{PendingEvents, Registry, aggregate, domain_event};
use expect_test::expect;

mod shop {
    use super::*;

    #[domain_event(schema = "order.created", version = 1)]
    #[derive(Debug)]
    pub struct OrderCreated {}

    #[domain_event(schema = "order.paid", version = 1)]
    #[derive(Debug)]
    pub struct OrderPaidV1 {}

    #[domain_event(schema = "order.shipped", version = 1, superseded)]
    #[derive(Debug)]
    pub struct OrderShippedV1 {}

    #[aggregate(events(OrderCreated))]
    pub struct Order {
        id: u64,
        events: PendingEvents,
    }
}

/// Events that are still read and not raised any more.
mod history {
    use super::*;

    #[domain_event(schema = "order.archived", version = 1, superseded)]
    #[derive(Debug)]
    pub struct OrderArchivedV1 {}

    #[domain_event(
        schema = "order.archived",
        version = 2,
        superseded,
        removed("shelf", since = 2)
    )]
    #[derive(Debug)]
    pub struct OrderArchivedV2 {}
}

mod defaults {
    use super::*;

    mod in_words {
        use serde::{Deserialize as _, Deserializer, Serializer};

        pub(super) fn serialize<S: Serializer>(_: &u8, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str("three")
        }

        pub(super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<u8, D::Error> {
            u8::deserialize(deserializer)
        }
    }

    fn unknown() -> u8 {
        panic!("nobody knows")
    }

    #[domain_event(schema = "rate.fixed", version = 3, oldest = 2)]
    #[derive(Debug)]
    pub struct RateFixed {
        /// The version is retired.
        #[event(since = 2, default = f64::INFINITY)]
        pub retired: f64,
        #[event(since = 3, default = f64::NAN)]
        pub rate: f64,
        #[event(since = 3, default = unknown())]
        pub number: u8,
        #[event(since = 3, default = 3)]
        #[serde(with = "in_words")]
        pub words: u8,
        #[event(since = 3, default = 3)]
        pub sound: u8,
    }
}

mod billing {
    use super::*;

    #[domain_event(schema = "order.created", version = 1)]
    #[derive(Debug)]
    pub struct OrderCreated {}

    #[domain_event(schema = "order.paid", version = 2, removed("change", since = 2))]
    #[derive(Debug)]
    pub struct OrderPaid {}

    #[domain_event(schema = "order.shipped", version = 2, removed("weight", since = 2))]
    #[derive(Debug)]
    pub struct OrderShipped {}

    #[aggregate(events(OrderCreated))]
    pub struct Order {
        id: u64,
        events: PendingEvents,
    }
}

#[test]
fn every_fault_is_told_at_once_with_its_places() {
    let errors = Registry::global().validate().unwrap_err();
    assert!(matches!(
        errors.faults(),
        [
            RegistryFault::Unreached { .. },
            RegistryFault::DeclaredTwice { .. },
            RegistryFault::TwoCurrentVersions { .. },
            RegistryFault::Unreached { .. },
            RegistryFault::FaultyDefault {
                field: "rate",
                since: 3,
                ..
            },
            RegistryFault::FaultyDefault {
                field: "number",
                ..
            },
            RegistryFault::FaultyDefault { field: "words", .. },
            RegistryFault::AggregateDeclaredTwice { .. },
        ]
    ));
    expect![[r#"
        the declared events and aggregates do not fit together, 8 fault(s)
        - `order.archived` version 1 is superseded, but version 2 does not upcast from it: add it to the chain of `upcast_from`, or delete it
          OrderArchivedV1 at bento-core/tests/registry_faults.rs:40, module registry_faults::history, package bento-core {version}
          OrderArchivedV2 at bento-core/tests/registry_faults.rs:44, module registry_faults::history, package bento-core {version}
        - `order.created` version 1 is declared twice: rename one, raise its version, or mark a view of a foreign event `consumes`
          OrderCreated at bento-core/tests/registry_faults.rs:96, module registry_faults::billing, package bento-core {version}
          OrderCreated at bento-core/tests/registry_faults.rs:17, module registry_faults::shop, package bento-core {version}
        - `order.paid` has two current versions, 1 and 2: mark the older one `superseded`
          OrderPaidV1 at bento-core/tests/registry_faults.rs:21, module registry_faults::shop, package bento-core {version}
          OrderPaid at bento-core/tests/registry_faults.rs:100, module registry_faults::billing, package bento-core {version}
        - `order.shipped` version 1 is superseded, but version 2 does not upcast from it: add it to the chain of `upcast_from`, or delete it
          OrderShippedV1 at bento-core/tests/registry_faults.rs:25, module registry_faults::shop, package bento-core {version}
          OrderShipped at bento-core/tests/registry_faults.rs:104, module registry_faults::billing, package bento-core {version}
        - the default of `rate`, which version 3 of `rate.fixed` adds, cannot be taken (NaN is not finite, and JSON has no such number: use an Option, or check the value before raising), so no earlier payload can be read: give it another
          RateFixed at bento-core/tests/registry_faults.rs:75, module registry_faults::defaults, package bento-core {version}
        - the default of `number`, which version 3 of `rate.fixed` adds, cannot be taken (it panics: nobody knows), so no earlier payload can be read: give it another
          RateFixed at bento-core/tests/registry_faults.rs:75, module registry_faults::defaults, package bento-core {version}
        - the default of `words`, which version 3 of `rate.fixed` adds, cannot be taken (the field cannot be read from it: invalid type: string "three", expected u8 at line 1 column 16), so no earlier payload can be read: give it another
          RateFixed at bento-core/tests/registry_faults.rs:75, module registry_faults::defaults, package bento-core {version}
        - the aggregate type `order` is declared twice, so their ids would share one order: give one another `name = "…"`
          Order at bento-core/tests/registry_faults.rs:108, module registry_faults::billing, package bento-core {version}
          Order at bento-core/tests/registry_faults.rs:29, module registry_faults::shop, package bento-core {version}"#]].assert_eq(&errors.to_string().replace(env!("CARGO_PKG_VERSION"), "{version}"));
}
