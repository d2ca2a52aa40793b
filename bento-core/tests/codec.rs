//! Payloads as bytes: what is refused, and what is passed through.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;

use bento_core::codec::encode;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
enum Shape {
    Newtype(f64),
    Tuple(u8, f32),
    Struct { field: Option<f64> },
}

#[derive(Serialize)]
struct Unit;

fn refused(value: &impl Serialize) -> bool {
    let mut payload = b"before".to_vec();
    let result = encode(value, &mut payload);
    if result.is_err() {
        assert_eq!(payload, b"before", "a refused value leaves nothing behind");
    }
    result.is_err_and(|error| error.to_string().contains("not finite"))
}

#[test]
fn a_float_that_is_not_finite_is_refused_wherever_it_is() {
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(refused(&wrong));
        assert!(refused(&Some(wrong)));
        assert!(refused(&vec![0.0, wrong]));
        assert!(refused(&(1, (2, wrong))));
        assert!(refused(&BTreeMap::from([("a", wrong)])));
        assert!(refused(&Shape::Newtype(wrong)));
        let narrow = wrong as f32;
        assert!(refused(&Shape::Tuple(1, narrow)));
        assert!(refused(&Shape::Struct { field: Some(wrong) }));
    }
}

#[test]
fn everything_else_is_written_as_serde_json_writes_it() {
    let raw = RawValue::from_string("{\"a\": 1.00}".into()).unwrap();
    let value = (
        (1.5, -0.0, f64::MAX, 0.1_f32, i128::MIN, u128::MAX),
        (
            Shape::Newtype(1.0),
            Shape::Tuple(1, 2.0),
            Shape::Struct { field: None },
            Unit,
        ),
        (
            BTreeMap::from([(1, "x")]),
            'c',
            true,
            (),
            "\u{1F980}\n",
            raw,
        ),
        serde_json::json!({"nested": [1, 2.5, null]}),
    );
    let mut payload = Vec::new();
    encode(&value, &mut payload).unwrap();
    assert_eq!(
        String::from_utf8(payload).unwrap(),
        serde_json::to_string(&value).unwrap()
    );
}
