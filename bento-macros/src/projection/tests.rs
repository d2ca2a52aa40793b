//! Snapshots of the expansion.

use expect_test::{ExpectFile, expect_file};
use proc_macro2::TokenStream;
use quote::quote;

use super::projection;
use crate::snapshot;

fn check(attribute: TokenStream, item: TokenStream, expected: ExpectFile) {
    let expansion = projection(attribute, item).expect("the attribute is meant for a projection");
    snapshot::check(expansion, expected);
}

#[test]
fn a_struct_without_fields() {
    check(
        quote!(name = "balances", version = 2),
        quote! {
            /// Balances of all accounts.
            #[derive(Debug)]
            pub struct Balances;
        },
        expect_file!["snapshots/unit.rs"],
    );
}

#[test]
fn every_key_and_a_field() {
    check(
        quote!(
            name = "billing.orders",
            version = 1,
            views = ("open_order", "paid_order"),
            events = ("order.*", "invoice.paid"),
            crate = framework::handlers
        ),
        quote! {
            struct Orders {
                currency: Currency,
            }
        },
        expect_file!["snapshots/every_key.rs"],
    );
}

#[test]
fn a_mistake_leaves_the_struct_and_an_implementation() {
    check(
        quote!(name = "balances"),
        quote! {
            pub(crate) struct Balances;
        },
        expect_file!["snapshots/mistake.rs"],
    );
}
