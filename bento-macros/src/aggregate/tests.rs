//! Snapshots of the expansion.

use expect_test::{ExpectFile, expect_file};
use proc_macro2::TokenStream;
use quote::quote;

use super::aggregate;
use crate::snapshot;

fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    aggregate(attribute, item).expect("the attribute is meant for an aggregate")
}

fn check(attribute: TokenStream, item: TokenStream, expected: ExpectFile) {
    snapshot::check(expand(attribute, item), expected);
}

#[test]
fn a_plain_struct() {
    check(
        quote!(events(OrderCreated, billing::OrderPaid)),
        quote! {
            /// The goods that a customer has asked for.
            pub struct Order {
                #[aggregate(id)]
                number: Uuid,
                events: PendingEvents,
            }
        },
        expect_file!["snapshots/plain_struct.rs"],
    );
}

#[test]
fn a_serialised_model_with_a_composite_key() {
    check(
        quote!(events(LineAdded), crate = framework),
        quote! {
            #[sea_orm::model]
            #[derive(Clone, Debug, DeriveEntityModel, Serialize)]
            #[sea_orm(table_name = "order_line")]
            pub struct Model {
                #[sea_orm(primary_key, auto_increment = false)]
                pub order_id: i64,
                #[sea_orm(primary_key, auto_increment = false)]
                pub number: i32,
                pub events: PendingEvents,
            }
        },
        expect_file!["snapshots/model.rs"],
    );
}

#[test]
fn a_mistake_leaves_the_item_and_what_others_need_of_it() {
    check(
        quote!(events(OrderCreated)),
        quote! {
            struct Order {
                id: Uuid,
            }
        },
        expect_file!["snapshots/mistake.rs"],
    );
}

#[test]
fn a_table_name_that_is_no_stable_name_is_refused() {
    let item = quote! {
        #[derive(DeriveEntityModel)]
        #[sea_orm(table_name = "Orders")]
        pub struct Model {
            #[sea_orm(primary_key)]
            id: i64,
            events: PendingEvents,
        }
    };
    let expansion = expand(quote!(events(OrderPlaced)), item).to_string();
    let message = "`Orders` cannot be the stable name of an aggregate type: \
                   say what the aggregate is called with `#[aggregate(name = \\\"orders\\\", …)]`";
    assert!(expansion.contains(message), "{expansion}");
}

#[test]
fn the_order_of_attributes_is_reported_at_the_model_alone() {
    let expansion = |name: TokenStream| {
        let item = quote! {
            #[sea_orm(table_name = "orders")]
            pub struct #name {
                #[sea_orm(primary_key)]
                id: i64,
                events: PendingEvents,
            }
        };
        expand(quote!(events(OrderPlaced), event_enum = OrderEvent), item).to_string()
    };
    let (model, copy) = (expansion(quote!(Model)), expansion(quote!(ModelEx)));
    assert!(
        model.contains("stands above `#[sea_orm::model]` and above the derives"),
        "{model}"
    );
    assert!(model.contains("enum OrderEvent"), "{model}");
    assert!(
        !copy.contains("compile_error") && !copy.contains("enum OrderEvent"),
        "{copy}"
    );
}

#[test]
fn an_event_under_a_condition_is_nowhere_in_a_build_without_it() {
    check(
        quote!(events(
            OrderCreated,
            #[cfg(feature = "billing")]
            OrderPaid
        )),
        quote! {
            struct Order {
                id: u64,
                #[aggregate(version)]
                version: i64,
                #[aggregate(events)]
                raised: Raised,
            }
        },
        expect_file!["snapshots/condition.rs"],
    );
}

#[test]
fn an_event_sourced_aggregate_with_a_composite_key() {
    check(
        quote!(event_sourced, id = (bank, number), events(AccountOpened)),
        quote! {
            #[derive(Default)]
            pub struct Account {
                bank: String,
                number: u64,
                #[aggregate(version)]
                version: i64,
                events: PendingEvents,
            }
        },
        expect_file!["snapshots/event_sourced.rs"],
    );
}

#[test]
fn an_event_sourced_aggregate_with_snapshots() {
    check(
        quote!(
            event_sourced,
            snapshots(every = 50, version = 3),
            events(AccountOpened)
        ),
        quote! {
            #[derive(Default, Serialize, Deserialize, WireShape)]
            pub struct Account {
                id: String,
                #[aggregate(version)]
                version: i64,
                events: PendingEvents,
            }
        },
        expect_file!["snapshots/with_snapshots.rs"],
    );
}
