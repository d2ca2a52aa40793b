//! Snapshots of the expansion.

use expect_test::expect_file;
use quote::quote;

use super::wire_shape;
use crate::snapshot;

#[test]
fn a_struct() {
    let item = quote! {
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct Order<L> {
            #[serde(alias = "number")]
            order_id: u64,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            lines: Vec<L>,
            #[serde(with = "money")]
            #[shape(opaque = "money")]
            total: i64,
            #[serde(skip)]
            cache: Cache,
        }
    };
    snapshot::check(wire_shape(item), expect_file!["snapshots/struct.rs"]);
}

#[test]
fn an_enum() {
    let item = quote! {
        #[serde(tag = "state", content = "data", rename_all = "snake_case")]
        #[shape(crate = framework)]
        enum State {
            Open,
            Paid { at: Moment },
            #[serde(skip_serializing)]
            Moved(Place, #[serde(skip)] u8),
        }
    };
    snapshot::check(wire_shape(item), expect_file!["snapshots/enum.rs"]);
}
