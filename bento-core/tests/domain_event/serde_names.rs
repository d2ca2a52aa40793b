//! The names that serde gives the fields of a payload.

use super::*;

mod seconds {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value}s"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.trim_end_matches('s')
            .parse()
            .map_err(serde::de::Error::custom)
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
    let expected = NamesRenamed {
        retry_count: 3,
        time_out: 60,
        actor: "me".into(),
        labels: Vec::new(),
    };
    assert_eq!(
        codec::decode::<NamesRenamed>("names.renamed", 1, br#"{"oldName":0,"who":"me"}"#).unwrap(),
        expected
    );
    assert_eq!(
        round_trip(&expected),
        r#"{"retryCount":3,"timeOut":"60s","by":"me","labels":[]}"#
    );
    let names: Vec<_> = NamesRenamed::DESCRIPTOR
        .fields
        .iter()
        .map(|field| field.name)
        .collect();
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
