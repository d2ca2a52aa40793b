//! Snapshots of the expansion.

use expect_test::{ExpectFile, expect_file};
use proc_macro2::TokenStream;
use quote::quote;

use super::domain_event;
use crate::snapshot;

fn check(attribute: TokenStream, item: TokenStream, expected: ExpectFile) {
    let expansion = domain_event(attribute, item).expect("the attribute is meant for an event");
    snapshot::check(expansion, expected);
}

#[test]
fn a_first_version() {
    check(
        quote!(schema = "order.created", version = 1),
        quote! {
            /// A customer has placed an order.
            #[derive(Debug)]
            pub struct OrderCreated {
                pub order_id: Uuid,
            }
        },
        expect_file!["snapshots/first_version.rs"],
    );
}

#[test]
fn a_field_history() {
    check(
        quote!(
            schema = "order.created",
            version = 3,
            removed("fax", since = 3),
            topic = "orders",
            routing_key = "eu"
        ),
        quote! {
            #[derive(Debug, Serialize, serde::Deserialize)]
            #[serde(rename_all = "camelCase")]
            struct OrderCreated {
                #[event(since = 2, default = "USD")]
                #[event(renamed_from = "curr", since = 3)]
                shown_currency: String,
                #[event(since = 3, default = 60)]
                #[serde(with = "seconds")]
                timeout: Duration,
            }
        },
        expect_file!["snapshots/field_history.rs"],
    );
}

#[test]
fn a_typed_step() {
    check(
        quote!(
            schema = "order.created",
            version = 2,
            upcast_from = v1::OrderCreated,
            crate = framework
        ),
        quote! {
            #[derive(Debug)]
            pub struct OrderCreated {}
        },
        expect_file!["snapshots/typed_step.rs"],
    );
}

#[test]
fn a_mistake_leaves_the_item_and_what_others_need_of_it() {
    check(
        quote!(schema = "order.created", version = 0),
        quote! {
            #[derive(Debug)]
            pub struct OrderCreated {
                #[event(since = 2)]
                pub order_id: Uuid,
            }
        },
        expect_file!["snapshots/mistake.rs"],
    );
}
