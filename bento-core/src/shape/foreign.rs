//! The shapes of the types of other crates that this crate knows, and of its own.

use bytes::Bytes;
use chrono::{DateTime, Month, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Weekday};
use serde_json::value::RawValue;
use serde_json::{Number, Value};
use uuid::Uuid;

use super::{Node, Scalar, Shapes, WireShape};
use crate::id::EventId;
use crate::pending::PendingEvents;

macro_rules! scalars {
    ($($ty:ty => $scalar:ident,)*) => {$(
        impl WireShape for $ty {
            fn wire_shape(_: &mut Shapes) -> Node {
                Node::Scalar(Scalar::$scalar)
            }
        }
    )*};
}
scalars! {
    Uuid => Uuid, EventId => Uuid,
    NaiveDateTime => LocalDateTime, NaiveDate => Date, NaiveTime => Time,
    Value => Json, RawValue => Json, Number => Number,
    Bytes => Bytes,
}

macro_rules! named_texts {
    ($($ty:ty => $name:literal,)*) => {$(
        impl WireShape for $ty {
            fn wire_shape(_: &mut Shapes) -> Node {
                Node::opaque($name)
            }
        }
    )*};
}
named_texts! { Month => "month", Weekday => "weekday", }

impl<Z: TimeZone + 'static> WireShape for DateTime<Z> {
    fn wire_shape(_: &mut Shapes) -> Node {
        Node::Scalar(Scalar::DateTime)
    }
}

impl WireShape for serde_json::Map<String, Value> {
    fn wire_shape(_: &mut Shapes) -> Node {
        Node::Scalar(Scalar::Json).by(Node::Scalar(Scalar::Text))
    }
}

/// Pending events are no part of the state: `#[aggregate]` hides them from serde.
impl WireShape for PendingEvents {
    fn wire_shape(_: &mut Shapes) -> Node {
        Node::Nothing
    }
}
