//! Snapshots of the expansion.

use expect_test::{ExpectFile, expect_file};
use proc_macro2::TokenStream;
use quote::quote;

use super::event_handler;
use crate::snapshot;

fn check(attribute: TokenStream, item: TokenStream, expected: ExpectFile) {
    let expansion = event_handler(attribute, item).expect("the attribute is meant for a handler");
    snapshot::check(expansion, expected);
}

#[test]
fn a_handler_with_a_transaction() {
    check(
        quote!(name = "stock.reserve"),
        quote! {
            /// Reserves the stock of an order.
            #[tracing::instrument]
            pub async fn reserve(
                event: OrderConfirmed,
                tx: &OutboxTransaction,
                State(mut stock): State<Stock>,
            ) -> Result<(), HandleError> {
                stock.reserve(tx, event.order_id).await
            }
        },
        expect_file!["snapshots/transaction.rs"],
    );
}

#[test]
fn every_key() {
    check(
        quote!(
            name = "audit.write",
            timeout = "1m500ms",
            concurrency = 16,
            retry = "patient",
            order = none,
            from = beginning,
            events = ("order.*", "invoice.paid"),
            crate = framework::handlers
        ),
        quote! {
            async fn write(event: Envelope) -> Result<Option<Audited>, HandleError> {
                Ok(None)
            }
        },
        expect_file!["snapshots/every_key.rs"],
    );
}

#[test]
fn a_mistake_leaves_the_function_and_the_struct_beside_it() {
    check(
        quote!(name = "stock.reserve", timeout = 20),
        quote! {
            pub(crate) async fn reserve(event: OrderConfirmed) -> Result<(), HandleError> {
                Ok(())
            }
        },
        expect_file!["snapshots/mistake.rs"],
    );
}
