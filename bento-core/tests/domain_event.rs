//! What `#[domain_event]` makes of a struct: how its history is read, and under which names.

#![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;

use bento_core::codec::{self, DecodeError};
use bento_core::upcast::TryUpcastFrom;
use bento_core::{DomainEvent, UpcastFrom, domain_event};
use chrono::{DateTime, NaiveDate, TimeZone, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

fn round_trip<E: DomainEvent + PartialEq>(event: &E) -> String {
    let mut payload = Vec::new();
    codec::encode(event, &mut payload).unwrap();
    assert_eq!(&codec::decode::<E>(E::SCHEMA, E::VERSION, &payload).unwrap(), event);
    String::from_utf8(payload).unwrap()
}

mod payload_types {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Channel {
        Online { host: String },
        InStore(u32),
        Phone,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Line {
        pub article: String,
        pub price: Decimal,
        pub discount: Option<f64>,
    }

    #[domain_event(schema = "types.seen", version = 1)]
    #[derive(Clone, Debug, PartialEq)]
    pub struct TypesSeen {
        pub uuid: Uuid,
        pub at: DateTime<Utc>,
        pub day: NaiveDate,
        pub total: Decimal,
        pub note: Option<String>,
        pub lines: Vec<Line>,
        pub channels: Vec<Channel>,
        pub tags: BTreeMap<String, i64>,
        pub huge: i128,
        pub unsigned: u128,
        pub r#type: (u8, char),
    }

    #[test]
    fn the_types_people_use_survive_the_round_trip() {
        let event = TypesSeen {
            uuid: Uuid::from_u128(7),
            at: Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap(),
            day: NaiveDate::from_ymd_opt(2026, 1, 2).unwrap(),
            total: Decimal::new(123_456, 3),
            note: None,
            lines: vec![Line { article: "tea".into(), price: Decimal::new(5, 0), discount: Some(0.1) }],
            channels: vec![Channel::Online { host: "a".into() }, Channel::InStore(3), Channel::Phone],
            tags: BTreeMap::from([("a".into(), -1)]),
            huge: i128::MIN,
            unsigned: u128::MAX,
            r#type: (1, 'x'),
        };
        let json = round_trip(&event);
        assert!(json.contains(r#""type":[1,"x"]"#) && json.contains(&i128::MIN.to_string()), "{json}");
    }

    #[test]
    fn an_unknown_enum_value_is_malformed_and_its_path_is_told() {
        let payload = br#"{"article":"tea"}"#;
        let error = codec::decode::<TypesSeen>("types.seen", 1, payload).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed { path: None, .. }), "{error:?}");

        #[domain_event(schema = "channel.opened", version = 1)]
        #[derive(Debug)]
        #[allow(dead_code)]
        struct ChannelOpened {
            channels: Vec<Channel>,
            by_name: BTreeMap<String, Line>,
        }
        let path = |payload: &str| match codec::decode::<ChannelOpened>("channel.opened", 1, payload.as_bytes()) {
            Err(DecodeError::Malformed { path, .. }) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path("{\n  \"channels\": [\"phone\",\n \"fax\"]\n}").as_deref(), Some("channels[1]"));
        assert_eq!(path(r#"{"channels": [], "by_name": 7}"#).as_deref(), Some("by_name"));
        let line = r#"{"channels": [], "by_name": {"a": {"article": "tea", "price": "1", "discount": "x"}}}"#;
        assert_eq!(path(line).as_deref(), Some("by_name.a.discount"));
        assert_eq!(path(r#"{"channels": [], "by_name": {"a": {}}}"#).as_deref(), Some("by_name.a"));
        assert_eq!(path(r#"{"channels": []"#), None, "text that is no JSON has no place in it");
    }
}

mod field_history {
    use super::*;

    /// Added in 2 as `curr`, renamed in 3; `legacy` gone in 3; `note` optional since 4.
    #[domain_event(schema = "history.told", version = 4, removed("legacy", since = 3))]
    #[derive(Clone, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    pub struct HistoryTold {
        pub total: i128,
        #[event(since = 2, default = "USD")]
        #[event(renamed_from = "curr", since = 3)]
        pub currency: String,
        #[event(since = 4)]
        pub note: Option<String>,
    }

    fn told(version: u32, payload: &str) -> HistoryTold {
        codec::decode("history.told", version, payload.as_bytes()).unwrap()
    }

    #[test]
    fn every_version_arrives_at_the_current_one() {
        let with = |currency: &str, note: Option<&str>| HistoryTold {
            total: 1,
            currency: currency.into(),
            note: note.map(Into::into),
        };
        assert_eq!(told(1, r#"{"total":1,"legacy":[true]}"#), with("USD", None));
        assert_eq!(told(2, r#"{"total":1,"legacy":{},"curr":"EUR"}"#), with("EUR", None));
        assert_eq!(told(3, r#"{"total":1,"currency":"EUR"}"#), with("EUR", None));
        assert_eq!(told(4, r#"{"total":1,"currency":"EUR","note":"n"}"#), with("EUR", Some("n")));
    }

    #[test]
    fn an_untouched_field_is_not_rounded() {
        let payload = format!(r#"{{"total":{}}}"#, i128::MAX);
        assert_eq!(told(1, &payload).total, i128::MAX);
    }

    #[test]
    fn an_escaped_name_is_the_same_name() {
        assert_eq!(told(2, r#"{"total":1,"c\u0075rr":"EUR"}"#).currency, "EUR");
    }

    #[test]
    fn a_fault_in_an_old_payload_names_its_field() {
        let fault = |payload: &str| match codec::decode::<HistoryTold>("history.told", 2, payload.as_bytes()) {
            Err(DecodeError::Malformed { path, source, .. }) => (path, source.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(r#"{"total":1,"curr":7}"#).0.as_deref(), Some("currency"));
        assert_eq!(fault(r#"[1]"#).0, None);
        assert!(fault(r#"{"curr":"EUR"}"#).1.contains("missing field `total`"));
    }

    /// Reads a number and is written as a text.
    #[derive(Clone, Debug, Deserialize)]
    pub struct Written(#[allow(dead_code)] u8);

    impl Serialize for Written {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str("written")
        }
    }

    #[domain_event(schema = "list.renamed", version = 2)]
    #[derive(Clone, Debug)]
    #[allow(dead_code)]
    pub struct ListRenamed {
        #[event(renamed_from = "item", since = 2)]
        pub lines: Vec<BTreeMap<String, u8>>,
        #[event(since = 2, default = BTreeMap::from([("a".to_owned(), vec![Written(1)])]))]
        pub more: BTreeMap<String, Vec<Written>>,
    }

    fn fault_of_list(payload: &str) -> (Option<String>, String) {
        match codec::decode::<ListRenamed>("list.renamed", 1, payload.as_bytes()) {
            Err(DecodeError::Malformed { path, source, .. }) => (path, source.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fault_below_a_renamed_field_has_its_path_and_its_place() {
        let fault = fault_of_list("{\"items\": 1,\n \"\\u0069tem\": [{\"a\": 1},\n {\"a\": \"x\"}]}");
        let text = r#"invalid type: string "x", expected u8 at line 3 column 10"#;
        assert_eq!(fault, (Some("lines[1].a".to_owned()), text.to_owned()));
        assert_eq!(fault_of_list(r#"{"item":[{"a":1}"#).0, None, "text that is no JSON has no place in it");
        assert_eq!(fault_of_list(r#"{"item":[],"more":{}} x"#).0, None);
    }

    #[test]
    fn a_default_that_its_field_cannot_read_is_named() {
        let text = r#"invalid type: string "written", expected u8 at line 1 column 15"#;
        assert_eq!(fault_of_list(r#"{"item":[]}"#), (Some("more.a[0]".to_owned()), text.to_owned()));
    }

    #[domain_event(schema = "rest.kept", version = 2)]
    #[derive(Clone, Debug)]
    pub struct RestKept {
        pub raw: Box<serde_json::value::RawValue>,
        #[serde(flatten)]
        pub rest: BTreeMap<String, serde_json::Value>,
        #[event(since = 2)]
        pub new: Option<u8>,
    }

    #[test]
    fn raw_and_flattened_fields_go_through_a_history() {
        let event = codec::decode::<RestKept>("rest.kept", 1, br#"{"a":[1],"raw":{"x": 1.00},"b":null}"#).unwrap();
        assert_eq!(event.raw.get(), r#"{"x": 1.00}"#);
        assert_eq!(event.rest.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(event.new, None);
    }

    /// Names that version 2 frees are taken by other fields in the same version; version 3 adds.
    #[domain_event(schema = "name.reused", version = 3, removed("amount", since = 2))]
    #[derive(Clone, Debug, PartialEq)]
    pub struct NameReused {
        #[event(renamed_from = "b", since = 2)]
        pub a: u8,
        #[event(renamed_from = "a", since = 2)]
        pub b: u8,
        #[event(since = 2, default = 5)]
        pub amount: u8,
        #[event(since = 3, default = 6)]
        pub later: u8,
    }

    #[test]
    fn two_fields_may_swap_names_and_a_removed_name_may_come_back() {
        let event = codec::decode::<NameReused>("name.reused", 1, br#"{"a":1,"b":2,"amount":"old"}"#).unwrap();
        assert_eq!(event, NameReused { a: 2, b: 1, amount: 5, later: 6 });
    }

    #[test]
    fn a_step_is_not_taken_by_a_payload_that_is_past_it() {
        let event = codec::decode::<NameReused>("name.reused", 2, br#"{"a":1,"b":2,"amount":3}"#).unwrap();
        assert_eq!(event, NameReused { a: 1, b: 2, amount: 3, later: 6 });
    }

    #[test]
    fn a_field_that_is_there_keeps_its_value_over_a_default() {
        let event = codec::decode::<NameReused>("name.reused", 2, br#"{"a":1,"b":2,"amount":3,"later":4}"#).unwrap();
        assert_eq!(event.later, 4);
    }

    /// The newest rename stands first.
    #[domain_event(schema = "field.renamed", version = 3)]
    #[derive(Clone, Debug)]
    pub struct FieldRenamed {
        #[event(renamed_from = "second", since = 3)]
        #[event(renamed_from = "first", since = 2)]
        pub third: u8,
    }

    #[test]
    fn renames_follow_their_versions_in_whatever_order_they_are_written() {
        for (version, payload) in [(1, r#"{"first":1}"#), (2, r#"{"second":1}"#), (3, r#"{"third":1}"#)] {
            let event = codec::decode::<FieldRenamed>("field.renamed", version, payload.as_bytes()).unwrap();
            assert_eq!(event.third, 1);
        }
    }

    #[domain_event(schema = "rate.fixed", version = 2)]
    #[derive(Clone, Debug)]
    #[allow(dead_code)]
    pub struct RateFixed {
        #[event(since = 2, default = f64::NAN)]
        pub rate: f64,
    }

    #[test]
    fn a_default_that_json_cannot_hold_is_refused_and_named() {
        let error = codec::decode::<RateFixed>("rate.fixed", 1, b"{}").unwrap_err();
        assert!(matches!(&error, DecodeError::Malformed { path: Some(path), .. } if path == "rate"), "{error:?}");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("not finite"));
    }

    #[domain_event(schema = "version.retired", version = 3, oldest = 2)]
    #[derive(Clone, Debug, PartialEq)]
    pub struct VersionRetired {
        #[event(since = 2)]
        pub without_default: u8,
        #[event(since = 3, default = 1)]
        pub with_default: u8,
    }

    #[test]
    fn four_answers_are_never_mixed() {
        let decode = |schema: &str, version, payload: &str| {
            codec::decode::<VersionRetired>(schema, version, payload.as_bytes()).unwrap_err()
        };
        assert!(matches!(decode("version.other", 3, "{}"), DecodeError::UnknownSchema { .. }));
        assert!(matches!(decode("version.retired", 4, "{}"), DecodeError::NewerVersion { newest: 3, .. }));
        assert!(matches!(decode("version.retired", 1, "{}"), DecodeError::Retired { oldest: 2, .. }));
        assert!(matches!(decode("version.retired", 0, "{}"), DecodeError::Retired { oldest: 2, .. }));
        assert!(matches!(decode("version.retired", 3, "{"), DecodeError::Malformed { .. }));
        assert!(matches!(decode("version.retired", 2, "{}"), DecodeError::Malformed { .. }));
        assert!(codec::decode::<VersionRetired>("version.retired", 2, br#"{"without_default":1}"#).is_ok());
    }
}

mod serde_names {
    use super::*;

    mod seconds {
        use serde::{Deserialize as _, Deserializer, Serializer};

        pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(&format_args!("{value}s"))
        }

        pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
            let text = String::deserialize(deserializer)?;
            text.trim_end_matches('s').parse().map_err(serde::de::Error::custom)
        }
    }

    #[domain_event(schema = "names.renamed", version = 3, removed("oldName", since = 2))]
    #[derive(Clone, Debug, PartialEq, Serialize)]
    #[serde(rename_all = "camelCase")]
    pub struct NamesRenamed {
        #[event(since = 2, default = 3)]
        pub retry_count: u8,
        #[event(since = 3, default = 60)]
        #[serde(with = "seconds")]
        pub time_out: u64,
        #[event(renamed_from = "who", since = 3)]
        #[serde(rename = "by")]
        pub actor: String,
        #[event(since = 3)]
        #[serde(default)]
        pub labels: Vec<String>,
    }

    #[test]
    fn upcasters_speak_the_names_of_the_payload() {
        let expected = NamesRenamed { retry_count: 3, time_out: 60, actor: "me".into(), labels: Vec::new() };
        assert_eq!(
            codec::decode::<NamesRenamed>("names.renamed", 1, br#"{"oldName":0,"who":"me"}"#).unwrap(),
            expected
        );
        assert_eq!(round_trip(&expected), r#"{"retryCount":3,"timeOut":"60s","by":"me","labels":[]}"#);
        let names: Vec<_> = NamesRenamed::DESCRIPTOR.fields.iter().map(|field| field.name).collect();
        assert_eq!(names, ["retryCount", "timeOut", "by", "labels"]);
    }

    #[domain_event(schema = "serde.derived", version = 1)]
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub struct SerdeDerived {
        pub value: u8,
    }

    #[test]
    fn a_struct_that_derives_serde_itself_keeps_its_derives() {
        assert_eq!(round_trip(&SerdeDerived { value: 1 }), r#"{"value":1}"#);
    }
}

mod typed_upcasters {
    use super::*;

    #[domain_event(schema = "customer.moved", version = 2, superseded)]
    #[derive(Debug)]
    pub struct CustomerMovedV2 {
        #[event(since = 2, default = "DE")]
        pub country: String,
        pub address: String,
    }

    /// Version 3 splits the address by hand, version 4 adds a field.
    #[domain_event(schema = "customer.moved", version = 4, upcast_from = CustomerMovedV2)]
    #[derive(Debug, PartialEq)]
    pub struct CustomerMoved {
        pub country: String,
        pub street: String,
        pub town: String,
        #[event(since = 4, default = false)]
        pub confirmed: bool,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("an address without a comma")]
    pub struct NoComma;

    impl TryUpcastFrom<CustomerMovedV2> for CustomerMoved {
        type Error = NoComma;

        fn try_upcast_from(old: CustomerMovedV2) -> Result<Self, NoComma> {
            let (street, town) = old.address.split_once(", ").ok_or(NoComma)?;
            Ok(Self { country: old.country, street: street.into(), town: town.into(), confirmed: true })
        }
    }

    fn moved(version: u32, payload: &str) -> Result<CustomerMoved, DecodeError> {
        codec::decode("customer.moved", version, payload.as_bytes())
    }

    #[test]
    fn a_typed_step_runs_between_the_histories_of_both_versions() {
        let expected = |country: &str, confirmed| CustomerMoved {
            country: country.into(),
            street: "A 1".into(),
            town: "B".into(),
            confirmed,
        };
        assert_eq!(moved(1, r#"{"address":"A 1, B"}"#).unwrap(), expected("DE", true));
        assert_eq!(moved(2, r#"{"address":"A 1, B","country":"AT"}"#).unwrap(), expected("AT", true));
        assert_eq!(moved(3, r#"{"street":"A 1","town":"B","country":"AT"}"#).unwrap(), expected("AT", false));
    }

    #[test]
    fn an_upcaster_that_refuses_makes_the_payload_malformed_and_is_its_source() {
        let error = moved(2, r#"{"address":"nowhere","country":"AT"}"#).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.is::<NoComma>(), "{error:?}");
    }

    #[test]
    fn an_event_retires_what_its_earlier_version_retired() {
        #[domain_event(schema = "stock.counted", version = 2, oldest = 2, superseded)]
        #[derive(Debug)]
        struct StockCountedV2 {}

        #[domain_event(schema = "stock.counted", version = 3, upcast_from = StockCountedV2)]
        #[derive(Debug)]
        struct StockCounted {}

        impl UpcastFrom<StockCountedV2> for StockCounted {
            fn upcast_from(_: StockCountedV2) -> Self {
                Self {}
            }
        }

        assert_eq!(StockCounted::DESCRIPTOR.oldest, 2);
        let error = codec::decode::<StockCounted>("stock.counted", 1, b"{}").unwrap_err();
        assert!(matches!(error, DecodeError::Retired { version: 1, oldest: 2, .. }), "{error:?}");
    }
}

mod declarations {
    #![deny(warnings, missing_docs)]
    #![forbid(unsafe_code)]
    #![allow(unreachable_pub, clippy::unwrap_used)]

    use super::*;
    use bento_core::event::{EventRole, FieldChange};

    /// The customer has paid.
    ///
    /// In full.
    #[domain_event(schema = "order.paid", version = 2, topic = "payments", routing_key = "eu", allow(bare_noun))]
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
        assert_eq!((descriptor.schema, descriptor.version, descriptor.oldest), ("order.paid", 2, 1));
        assert_eq!((descriptor.role, descriptor.topic), (EventRole::Current, Some("payments")));
        assert_eq!(descriptor.routing_key, Some("eu"));
        assert_eq!(descriptor.docs, "The customer has paid.\n\nIn full.");
        assert_eq!(descriptor.allow, ["bare_noun"]);
        assert_eq!((descriptor.declared.package, descriptor.declared.module_path), ("bento-core", module_path!()));
        assert!(descriptor.declared.file.ends_with("domain_event.rs") && descriptor.declared.line > 1);
        let [amount, method] = descriptor.fields else { panic!("two fields") };
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
}
