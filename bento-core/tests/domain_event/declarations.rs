//! The descriptor of an event, and other places of its declaration.

#![deny(warnings, missing_docs)]
#![forbid(unsafe_code)]
#![allow(unreachable_pub, clippy::unwrap_used)]

use super::*;
use bento_core::event::{EventRole, FieldChange};

/// The customer has paid.
///
/// In full.
#[domain_event(
    schema = "order.paid",
    version = 2,
    topic = "payments",
    routing_key = "eu",
    allow(bare_noun)
)]
#[derive(Clone, Debug)]
pub struct OrderPaid {
    /// In the currency of the order.
    pub amount: Decimal,
    /// Kept for old readers.
    #[deprecated(note = "use `method`")]
    #[event(since = 2, default = 0)]
    pub method_code: u8,
}

#[test]
fn the_descriptor_says_what_was_declared() {
    let descriptor = OrderPaid::DESCRIPTOR;
    assert_eq!(
        (descriptor.schema, descriptor.version, descriptor.oldest),
        ("order.paid", 2, 1)
    );
    assert_eq!(
        (descriptor.role, descriptor.topic),
        (EventRole::Current, Some("payments"))
    );
    assert_eq!(descriptor.routing_key, Some("eu"));
    assert_eq!(descriptor.docs, "The customer has paid.\n\nIn full.");
    assert_eq!(descriptor.allow, ["bare_noun"]);
    assert_eq!(
        (descriptor.declared.package, descriptor.declared.module_path),
        ("bento-core", module_path!())
    );
    assert!(descriptor.declared.file.ends_with("declarations.rs") && descriptor.declared.line > 1);
    let [amount, method] = descriptor.fields else {
        panic!("two fields")
    };
    assert_eq!(
        (amount.name, amount.rust_type, amount.docs),
        ("amount", "Decimal", "In the currency of the order.")
    );
    assert_eq!(method.history, [FieldChange::Added { since: 2 }]);
}

mod renamed_crate {
    pub use bento_core as framework;

    use super::*;

    /// Declared through another path.
    #[domain_event(schema = "path.given", version = 1, crate = framework)]
    #[derive(Debug)]
    pub struct PathGiven {}
}

#[test]
fn the_path_to_the_crate_can_be_given() {
    assert_eq!(renamed_crate::PathGiven::SCHEMA, "path.given");
}

macro_rules! declare {
    ($name:ident, $schema:literal, $ty:ty) => {
        /// Declared by a macro.
        #[domain_event(schema = $schema, version = 1)]
        #[derive(Debug)]
        pub struct $name {
            /// Its value.
            pub value: $ty,
        }
    };
}

declare!(MacroUsed, "macro.used", Option<u8>);

#[test]
fn a_macro_may_declare_an_event() {
    assert_eq!(MacroUsed::DESCRIPTOR.fields[0].rust_type, "Option<u8>");
}
