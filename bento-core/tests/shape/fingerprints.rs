//! The changes that another fingerprint shows, and those that it does not.

use super::*;

macro_rules! shapes {
    ($($(#[$meta:meta])* $kind:ident $name:ident $body:tt)*) => {$(
        #[derive(Serialize, Deserialize, WireShape)]
        $(#[$meta])*
        $kind $name $body
    )*};
}

shapes! {
    struct Line { sku: String, count: u32 }
    struct Order { id: u64, lines: Vec<Line>, state: State }
    enum State { Open, Paid { at: u64 } }

    struct Renamed { number: u64, lines: Vec<Line>, state: State }
    struct Retyped { id: u32, lines: Vec<Line>, state: State }
    struct Added { id: u64, lines: Vec<Line>, state: State, note: Option<String> }
    struct Removed { id: u64, lines: Vec<Line> }
    struct Repeated { id: u64, lines: Option<Line>, state: State }

    struct OtherLine { sku: String, count: u64 }
    struct NestedChanged { id: u64, lines: Vec<OtherLine>, state: State }

    enum MoreStates { Open, Paid { at: u64 }, Shipped }
    struct VariantAdded { id: u64, lines: Vec<Line>, state: MoreStates }

    #[serde(tag = "type")]
    enum TaggedState { Open, Paid { at: u64 } }
    struct TaggedOtherwise { id: u64, lines: Vec<Line>, state: TaggedState }
}

#[test]
fn another_wire_has_another_fingerprint() {
    let all = [
        fingerprint::<Order>(),
        fingerprint::<Renamed>(),
        fingerprint::<Retyped>(),
        fingerprint::<Added>(),
        fingerprint::<Removed>(),
        fingerprint::<Repeated>(),
        fingerprint::<NestedChanged>(),
        fingerprint::<VariantAdded>(),
        fingerprint::<TaggedOtherwise>(),
    ];
    let different: HashSet<u64> = all.into_iter().collect();
    assert_eq!(different.len(), all.len());
}

shapes! {
    struct OrderLine { count: u32, sku: String }
    #[serde(rename_all = "snake_case")]
    struct Purchase { order_state: u8 }
    struct Bought { #[serde(rename = "order_state")] state: u8 }
    enum Status { Paid { at: u64 }, Open }
    struct Invoice { state: Status, id: u64, lines: Box<[OrderLine]> }
}

#[test]
fn names_in_rust_and_the_order_of_fields_do_not_matter() {
    assert_eq!(fingerprint::<Order>(), fingerprint::<Invoice>());
    assert_eq!(fingerprint::<Purchase>(), fingerprint::<Bought>());
}

shapes! {
    #[serde(untagged)]
    enum NumberFirst { Number(u8), Text(String) }
    #[serde(untagged)]
    enum TextFirst { Text(String), Number(u8) }
    #[serde(untagged)]
    enum OtherNames { N(u8), T(String) }
}

#[test]
fn the_order_of_untagged_variants_matters_and_their_names_do_not() {
    assert_ne!(fingerprint::<NumberFirst>(), fingerprint::<TextFirst>());
    assert_eq!(fingerprint::<NumberFirst>(), fingerprint::<OtherNames>());
}

#[test]
fn the_fingerprint_never_changes() {
    let pinned: [u64; 2] = [6_302_473_898_452_170_256, 17_868_752_289_223_256_380];
    assert_eq!(
        [fingerprint::<Order>(), fingerprint::<NumberFirst>()],
        pinned,
        "another fingerprint makes every stored snapshot stale"
    );
}
