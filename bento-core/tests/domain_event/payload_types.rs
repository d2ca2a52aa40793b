//! The types of fields that people use, in a payload and back.

use bento_core::report::with_causes;

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
        lines: vec![Line {
            article: "tea".into(),
            price: Decimal::new(5, 0),
            discount: Some(0.1),
        }],
        channels: vec![
            Channel::Online { host: "a".into() },
            Channel::InStore(3),
            Channel::Phone,
        ],
        tags: BTreeMap::from([("a".into(), -1)]),
        huge: i128::MIN,
        unsigned: u128::MAX,
        r#type: (1, 'x'),
    };
    let json = round_trip(&event);
    assert!(
        json.contains(r#""type":[1,"x"]"#) && json.contains(&i128::MIN.to_string()),
        "{json}"
    );
}

/// JSON is UTF-8, also where a field is not read.
#[test]
fn bytes_that_are_not_utf_8_are_malformed_at_every_version() {
    #[domain_event(schema = "remark.made", version = 2)]
    #[derive(Debug)]
    #[allow(dead_code)]
    struct RemarkMade {
        text: String,
        #[event(since = 2, default = "en")]
        language: String,
    }
    for payload in [
        &b"{\"text\":\"a\xFF\",\"language\":\"en\"}"[..],
        b"{\"text\":\"a\",\"language\":\"en\",\"unread\":\"\xFF\"}",
        b"{\"text\":\"a\",\"language\":\"en\"}\xFF",
    ] {
        for version in [1, 2] {
            let error = codec::decode::<RemarkMade>("remark.made", version, payload).unwrap_err();
            let at = payload.iter().position(|byte| *byte == 0xFF).unwrap() + 1;
            let text = with_causes(&error);
            assert!(text.contains("`remark.made`"), "{text}");
            assert!(
                text.contains(&format!(
                    "JSON is UTF-8, and byte {at} of the payload is not"
                )),
                "{text}"
            );
        }
    }
}

#[test]
fn an_unknown_enum_value_is_malformed_and_its_path_is_told() {
    let payload = br#"{"article":"tea"}"#;
    let error = codec::decode::<TypesSeen>("types.seen", 1, payload).unwrap_err();
    assert!(
        matches!(error, DecodeError::Malformed { path: None, .. }),
        "{error:?}"
    );

    #[domain_event(schema = "channel.opened", version = 1)]
    #[derive(Debug)]
    #[allow(dead_code)]
    struct ChannelOpened {
        channels: Vec<Channel>,
        by_name: BTreeMap<String, Line>,
    }
    let path = |payload: &str| match codec::decode::<ChannelOpened>(
        "channel.opened",
        1,
        payload.as_bytes(),
    ) {
        Err(DecodeError::Malformed { path, .. }) => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        path("{\n  \"channels\": [\"phone\",\n \"fax\"]\n}").as_deref(),
        Some("channels[1]")
    );
    assert_eq!(
        path(r#"{"channels": [], "by_name": 7}"#).as_deref(),
        Some("by_name")
    );
    let line =
        r#"{"channels": [], "by_name": {"a": {"article": "tea", "price": "1", "discount": "x"}}}"#;
    assert_eq!(path(line).as_deref(), Some("by_name.a.discount"));
    assert_eq!(
        path(r#"{"channels": [], "by_name": {"a": {}}}"#).as_deref(),
        Some("by_name.a")
    );
    assert_eq!(
        path(r#"{"channels": []"#),
        None,
        "text that is not JSON has no place in it"
    );
}
