//! The shapes that serde's attributes make.

use super::*;

#[derive(Serialize, Deserialize, WireShape)]
#[serde(rename_all = "camelCase")]
struct Line {
    unit_price: i64,
    #[serde(rename = "SKU")]
    article: String,
}

#[test]
fn names_follow_the_rules() {
    #[derive(Serialize, Deserialize, WireShape)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "kebab-case")]
    enum State {
        PartlyPaid {
            open_amount: u8,
        },
        #[serde(rename_all = "PascalCase")]
        FullyPaid {
            paid_at: u8,
        },
        #[serde(rename = "gone", alias = "deleted")]
        Removed,
    }
    check::<Line>(expect![[r#"
        object
          SKU: string
          unitPrice: i64
    "#]]);
    check::<State>(expect![[r#"
        one of, by name
          FULLY_PAID: object
            PaidAt: u8
          PARTLY_PAID: object
            open-amount: u8
          gone (also read as deleted)
    "#]]);
}

#[test]
fn names_may_differ_where_an_alias_reads_what_is_written() {
    #[derive(Serialize, Deserialize, WireShape)]
    struct Renamed {
        #[serde(rename(serialize = "new", deserialize = "old"), alias = "new")]
        value: u8,
        #[serde(alias = "währung", alias = "curr")]
        currency: String,
    }
    check::<Renamed>(expect![[r#"
        object
          currency: string (also read as curr and "währung")
          new: u8 (also read as old)
    "#]]);
}

#[test]
fn presence_is_told() {
    #[derive(Serialize, Deserialize, WireShape)]
    struct Presence {
        required: u8,
        optional: Option<u8>,
        #[serde(default)]
        default: u8,
        #[serde(skip)]
        skipped: std::cell::OnceCell<u8>,
        #[serde(skip_serializing, skip_deserializing)]
        skipped_twice: std::cell::OnceCell<u8>,
        #[serde(skip_serializing, default)]
        not_written: u8,
        #[serde(skip_deserializing)]
        not_read: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        seldom: Option<u8>,
    }
    #[derive(Default, Serialize, Deserialize, WireShape)]
    #[serde(default, deny_unknown_fields)]
    struct Defaults {
        first: u8,
        second: Option<u8>,
    }
    check::<Presence>(expect![[r#"
        object
          default: u8 (may be missing)
          not_read: u8 (never read)
          not_written: u8 (never written, may be missing)
          optional: optional u8 (may be missing)
          required: u8
          seldom: optional u8 (may be left out, may be missing)
    "#]]);
    check::<Defaults>(expect![[r#"
        object without other fields
          first: u8 (may be missing)
          second: optional u8 (may be missing)
    "#]]);
}

#[test]
fn flattened_fields_are_among_the_others() {
    #[derive(Serialize, Deserialize, WireShape)]
    struct Inner {
        alpha: u8,
        #[serde(flatten)]
        line: Line,
    }
    #[derive(Serialize, Deserialize, WireShape)]
    #[serde(tag = "method")]
    enum Payment {
        Cash,
        Card { number: String },
    }
    #[derive(Serialize, Deserialize, WireShape)]
    struct Outer {
        middle: u8,
        #[serde(flatten)]
        inner: Inner,
        #[serde(flatten)]
        payment: Payment,
        #[serde(flatten)]
        perhaps: Option<Inner>,
        #[serde(flatten)]
        rest: HashMap<String, serde_json::Value>,
    }
    check::<Outer>(expect![[r#"
        object
          SKU: string
          alpha: u8
          middle: u8
          unitPrice: i64
          ..one of, by method
            Card: object
              number: string
            Cash
          ..optional object
            SKU: string
            alpha: u8
            unitPrice: i64
          ..map of string to json
    "#]]);
}

#[test]
fn the_tag_of_a_struct_is_a_field() {
    #[derive(Serialize, Deserialize, WireShape)]
    #[serde(tag = "type")]
    struct Circle {
        radius: u8,
    }
    #[derive(Serialize, Deserialize, WireShape)]
    #[serde(tag = "type", rename = "rect")]
    struct Rectangle {
        side: u8,
    }
    check::<(Circle, Rectangle)>(expect![[r#"
        tuple
          - object
            radius: u8
            type: "Circle" (may be missing)
          - object
            side: u8
            type: "rect" (may be missing)
    "#]]);
}

macro_rules! tagged {
    ($name:ident, $(#[$meta:meta])*) => {
        #[derive(Serialize, Deserialize, WireShape)]
        $(#[$meta])*
        enum $name {
            Unit,
            Struct { inner: u8, #[serde(default)] more: u8 },
            Newtype(Line),
            #[serde(skip)]
            Skipped(std::cell::OnceCell<u8>),
            #[serde(skip_deserializing)]
            Written,
            #[serde(skip_serializing, rename = "a name")]
            Read,
        }
    };
}
tagged!(External,);
tagged!(Internal, #[serde(tag = "type")]);
tagged!(Adjacent, #[serde(tag = "t", content = "c", deny_unknown_fields)]);
tagged!(Untagged, #[serde(untagged)]);

#[test]
fn enums_are_told_by_their_tags() {
    check::<External>(expect![[r#"
        one of, by name
          Newtype: object
            SKU: string
            unitPrice: i64
          Struct: object
            inner: u8
            more: u8 (may be missing)
          Unit
          Written (never read)
          "a name" (never written)
    "#]]);
    check::<Internal>(expect![[r#"
        one of, by type
          Newtype: object
            SKU: string
            unitPrice: i64
          Struct: object
            inner: u8
            more: u8 (may be missing)
          Unit
          Written (never read)
          "a name" (never written)
    "#]]);
    check::<Adjacent>(expect![[r#"
        one of, by t with content in c without other fields
          Newtype: object
            SKU: string
            unitPrice: i64
          Struct: object
            inner: u8
            more: u8 (may be missing)
          Unit
          Written (never read)
          "a name" (never written)
    "#]]);
    check::<Untagged>(expect![[r#"
        one of, untagged
          - null
          - object
            inner: u8
            more: u8 (may be missing)
          - object
            SKU: string
            unitPrice: i64
          - null (never read)
          - null (never written)
    "#]]);
}

#[test]
fn variants_may_be_read_by_any_name_or_by_none() {
    #[derive(Serialize, Deserialize, WireShape)]
    enum Mixed {
        Zero,
        Emptied(#[serde(skip)] u8),
        Pair(u8, u8),
        #[serde(untagged)]
        Number(u8),
        #[serde(untagged)]
        Line(Line),
    }
    #[derive(Serialize, Deserialize, WireShape)]
    #[serde(tag = "kind")]
    enum Open {
        Known,
        #[serde(other)]
        Unknown,
    }
    check::<Mixed>(expect![[r#"
        one of, by name
          Emptied
          Pair: tuple
            - u8
            - u8
          Zero
          - u8
          - object
            SKU: string
            unitPrice: i64
    "#]]);
    check::<Open>(expect![[r#"
        one of, by kind
          Known
          Unknown (any other name)
    "#]]);
}

mod doubled {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u8, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&(u16::from(*value) * 2))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u8, D::Error> {
        let twice = String::deserialize(d)?;
        Ok(twice.parse::<u8>().map_or(0, |twice| twice / 2))
    }
}

/// A type of another crate, and its copy for serde.
mod remote {
    pub(super) struct Span {
        pub(super) from: u8,
    }
}
#[derive(Serialize, Deserialize, WireShape)]
#[serde(remote = "remote::Span")]
struct SpanCopy {
    #[serde(getter = "from")]
    from: u8,
}
fn from(span: &remote::Span) -> &u8 {
    &span.from
}
impl From<SpanCopy> for remote::Span {
    fn from(copy: SpanCopy) -> Self {
        Self { from: copy.from }
    }
}

#[test]
fn the_users_word_tells_what_attributes_do_not() {
    #[derive(Serialize, Deserialize, WireShape)]
    struct Told {
        #[serde(with = "doubled")]
        #[shape(as = String)]
        text: u8,
        #[serde(
            serialize_with = "doubled::serialize",
            deserialize_with = "doubled::deserialize"
        )]
        #[shape(opaque = "doubled")]
        named: u8,
        #[shape(opaque = "decimal")]
        amount: rust_decimal::Decimal,
        #[serde(with = "SpanCopy")]
        #[shape(as = SpanCopy)]
        span: remote::Span,
        #[serde(deserialize_with = "Option::deserialize")]
        #[shape(as = Option<u8>)]
        required: Option<u8>,
    }
    #[derive(Serialize, Deserialize, WireShape)]
    enum Choice {
        #[serde(with = "doubled")]
        #[shape(as = String)]
        Twice(u8),
    }
    check::<Told>(expect![[r#"
        object
          amount: opaque "decimal"
          named: opaque "doubled"
          required: optional u8
          span: object
            from: u8
          text: string
    "#]]);
    check::<Choice>(expect![[r#"
        one of, by name
          Twice: string
    "#]]);
}

#[derive(Clone, Serialize, Deserialize, WireShape)]
struct Wire {
    cents: i64,
}
#[derive(Clone, Serialize, Deserialize, WireShape)]
#[serde(from = "Wire", into = "Wire")]
struct Money(i64);
impl From<Wire> for Money {
    fn from(wire: Wire) -> Self {
        Self(wire.cents)
    }
}
impl From<Money> for Wire {
    fn from(money: Money) -> Self {
        Self { cents: money.0 }
    }
}
#[derive(Clone, Serialize, Deserialize, WireShape)]
#[serde(into = "String")]
#[shape(as = String)]
struct Code(String);
impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.0
    }
}
#[derive(Serialize, Deserialize, WireShape)]
#[serde(transparent)]
struct Transparent {
    inner: Option<u8>,
    marker: PhantomData<u8>,
    #[serde(skip)]
    cache: u8,
}

#[test]
fn a_type_that_is_read_and_written_as_another_has_its_shape() {
    check::<(Money, Code)>(expect![[r#"
        tuple
          - object
            cents: i64
          - string
    "#]]);
}

#[test]
fn an_option_in_a_newtype_may_not_be_missing() {
    #[derive(Serialize, Deserialize, WireShape)]
    struct Newtype(Option<u8>);
    #[derive(Serialize, Deserialize, WireShape)]
    struct Holder {
        boxed: Box<Option<u8>>,
        newtype: Newtype,
        transparent: Transparent,
    }
    check::<Holder>(expect![[r#"
        object
          boxed: optional u8 (may be missing)
          newtype: optional u8
          transparent: optional u8 (may be missing)
    "#]]);
    assert!(serde_json::from_str::<Holder>(r#"{"newtype":null}"#).is_ok());
    assert!(serde_json::from_str::<Holder>("{}").is_err());
}
