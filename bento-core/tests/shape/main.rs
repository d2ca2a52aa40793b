//! The wire shapes that the derive makes: attribute by attribute, as text; what changes a
//! fingerprint, and what does not. Every shape is also compared with serde.

#![allow(
    missing_docs,
    missing_debug_implementations,
    dead_code,
    clippy::unwrap_used,
    uncommon_codepoints
)]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::marker::PhantomData;
use std::num::NonZeroU8;
use std::rc::Rc;
use std::sync::Arc;

use bento_core::shape::Shape;
use bento_core::{AggregateId, EventId, PendingEvents, WireShape, aggregate, domain_event};
use expect_test::{Expect, expect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::against_serde::agrees_with_serde;

/// Compares the text of a shape with the expected one, and the shape with serde.
fn check<T: WireShape + Serialize + DeserializeOwned>(expected: Expect) {
    expected.assert_eq(&Shape::of::<T>().to_string());
    agrees_with_serde::<T>();
}

fn fingerprint<T: WireShape>() -> u64 {
    Shape::of::<T>().fingerprint()
}

mod against_serde;
mod attributes;
mod fingerprints;
mod names;
mod types;

mod declared {
    use super::*;

    #[domain_event(schema = "shape.opened", version = 1)]
    #[derive(Debug)]
    pub(crate) struct Opened {}

    #[aggregate(name = "shape_above", events(Opened))]
    #[derive(Serialize, Deserialize, WireShape)]
    struct Above {
        id: u64,
        events: PendingEvents,
    }

    #[derive(WireShape)]
    #[aggregate(name = "shape_below", events(Opened), event_enum = BelowEvent)]
    #[derive(Serialize, Deserialize)]
    struct Below {
        #[aggregate(id)]
        id: u64,
        events: PendingEvents,
    }

    #[test]
    fn pending_events_are_no_part_of_a_state() {
        check::<Above>(expect![[r#"
            object
              id: u64
        "#]]);
        check::<Below>(expect![[r#"
            object
              id: u64
        "#]]);
    }

    #[domain_event(schema = "shape.renamed", version = 2)]
    #[derive(Debug, WireShape)]
    struct Renamed {
        #[event(renamed_from = "id", since = 2)]
        order_id: u64,
        #[event(since = 2)]
        reason: Option<String>,
    }

    #[test]
    fn an_event_has_the_shape_of_its_current_version() {
        check::<Renamed>(expect![[r#"
            object
              order_id: u64
              reason: optional string (may be missing)
        "#]]);
    }
}
