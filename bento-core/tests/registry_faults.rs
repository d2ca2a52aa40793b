//! What the registry of a faulty binary says: everything at once, with the places.

#![allow(missing_docs, missing_debug_implementations, unreachable_pub, dead_code)]

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
            RegistryFault::DeclaredTwice { .. },
            RegistryFault::TwoCurrentVersions { .. },
            RegistryFault::Unreached { .. },
            RegistryFault::AggregateDeclaredTwice { .. },
        ]
    ));
    expect![[r#"
        the declared events and aggregates do not fit together, 4 fault(s)
        - `order.created` version 1 is declared twice: rename one, raise its version, or mark a view of a foreign event `consumes`
          OrderCreated at bento-core/tests/registry_faults.rs:34, module registry_faults::billing, package bento-core {version}
          OrderCreated at bento-core/tests/registry_faults.rs:12, module registry_faults::shop, package bento-core {version}
        - `order.paid` has two current versions, 1 and 2: mark the older one `superseded`
          OrderPaidV1 at bento-core/tests/registry_faults.rs:16, module registry_faults::shop, package bento-core {version}
          OrderPaid at bento-core/tests/registry_faults.rs:38, module registry_faults::billing, package bento-core {version}
        - `order.shipped` version 1 is superseded, but version 2 does not upcast from it: add it to the chain of `upcast_from`, or delete it
          OrderShippedV1 at bento-core/tests/registry_faults.rs:20, module registry_faults::shop, package bento-core {version}
          OrderShipped at bento-core/tests/registry_faults.rs:42, module registry_faults::billing, package bento-core {version}
        - the aggregate type `order` is declared twice, so their ids would share one order: give one another `name = "…"`
          Order at bento-core/tests/registry_faults.rs:46, module registry_faults::billing, package bento-core {version}
          Order at bento-core/tests/registry_faults.rs:24, module registry_faults::shop, package bento-core {version}"#]].assert_eq(&errors.to_string().replace(env!("CARGO_PKG_VERSION"), "{version}"));
}
