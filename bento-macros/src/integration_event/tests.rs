//! Snapshots of the expansion.

use expect_test::{ExpectFile, expect_file};
use proc_macro2::TokenStream;
use quote::quote;

use super::integration_event;
use crate::snapshot;

fn check(attribute: TokenStream, expected: ExpectFile) {
    let item = quote! {
        #[derive(Debug)]
        pub struct OrderConfirmedV1 {
            pub order: String,
        }
    };
    snapshot::check(integration_event(attribute, item), expected);
}

#[test]
fn a_first_version() {
    check(
        quote!(
            from = orders::OrderConfirmed,
            schema = "ecommerce.order.confirmed",
            version = 1,
            deprecated = "use version 2",
            topic = "orders"
        ),
        expect_file!["snapshots/first_version.rs"],
    );
}

#[test]
fn a_mistake() {
    check(
        quote!(schema = "ecommerce.order.confirmed", version = 1),
        expect_file!["snapshots/mistake.rs"],
    );
}
