//! Old payloads, brought forward by the history of fields.

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
    assert_eq!(
        told(2, r#"{"total":1,"legacy":{},"curr":"EUR"}"#),
        with("EUR", None)
    );
    assert_eq!(
        told(3, r#"{"total":1,"currency":"EUR"}"#),
        with("EUR", None)
    );
    assert_eq!(
        told(4, r#"{"total":1,"currency":"EUR","note":"n"}"#),
        with("EUR", Some("n"))
    );
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
    let fault =
        |payload: &str| match codec::decode::<HistoryTold>("history.told", 2, payload.as_bytes()) {
            Err(DecodeError::Malformed { path, source, .. }) => (path, source.to_string()),
            other => panic!("{other:?}"),
        };
    assert_eq!(
        fault(r#"{"total":1,"curr":7}"#).0.as_deref(),
        Some("currency")
    );
    assert_eq!(fault(r#"[1]"#).0, None);
    assert!(
        fault(r#"{"curr":"EUR"}"#)
            .1
            .contains("missing field `total`")
    );
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
    assert_eq!(
        fault_of_list(r#"{"item":[{"a":1}"#).0,
        None,
        "text that is not JSON has no place \
                                                              in it"
    );
    assert_eq!(fault_of_list(r#"{"item":[],"more":{}} x"#).0, None);
}

#[test]
fn a_default_that_its_field_cannot_read_is_named() {
    let text = r#"invalid type: string "written", expected u8 at line 1 column 15"#;
    assert_eq!(
        fault_of_list(r#"{"item":[]}"#),
        (Some("more.a[0]".to_owned()), text.to_owned())
    );
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
    let event =
        codec::decode::<RestKept>("rest.kept", 1, br#"{"a":[1],"raw":{"x": 1.00},"b":null}"#)
            .unwrap();
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
    let event =
        codec::decode::<NameReused>("name.reused", 1, br#"{"a":1,"b":2,"amount":"old"}"#).unwrap();
    assert_eq!(
        event,
        NameReused {
            a: 2,
            b: 1,
            amount: 5,
            later: 6
        }
    );
}

#[test]
fn a_step_is_not_taken_by_a_payload_that_is_past_it() {
    let event =
        codec::decode::<NameReused>("name.reused", 2, br#"{"a":1,"b":2,"amount":3}"#).unwrap();
    assert_eq!(
        event,
        NameReused {
            a: 1,
            b: 2,
            amount: 3,
            later: 6
        }
    );
}

#[test]
fn a_field_that_is_there_keeps_its_value_over_a_default() {
    let event =
        codec::decode::<NameReused>("name.reused", 2, br#"{"a":1,"b":2,"amount":3,"later":4}"#)
            .unwrap();
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
fn renames_follow_their_versions_in_any_order_of_writing() {
    for (version, payload) in [
        (1, r#"{"first":1}"#),
        (2, r#"{"second":1}"#),
        (3, r#"{"third":1}"#),
    ] {
        let event =
            codec::decode::<FieldRenamed>("field.renamed", version, payload.as_bytes()).unwrap();
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
    assert!(
        matches!(&error, DecodeError::Malformed { path: Some(path), .. } if path == "rate"),
        "{error:?}"
    );
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("not finite")
    );
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
    assert!(matches!(
        decode("version.other", 3, "{}"),
        DecodeError::UnknownEventType { .. }
    ));
    assert!(matches!(
        decode("version.retired", 4, "{}"),
        DecodeError::NewerVersion { newest: 3, .. }
    ));
    assert!(matches!(
        decode("version.retired", 1, "{}"),
        DecodeError::Retired { oldest: 2, .. }
    ));
    assert!(matches!(
        decode("version.retired", 0, "{}"),
        DecodeError::Retired { oldest: 2, .. }
    ));
    assert!(matches!(
        decode("version.retired", 3, "{"),
        DecodeError::Malformed { .. }
    ));
    assert!(matches!(
        decode("version.retired", 2, "{}"),
        DecodeError::Malformed { .. }
    ));
    assert!(
        codec::decode::<VersionRetired>("version.retired", 2, br#"{"without_default":1}"#).is_ok()
    );
}
