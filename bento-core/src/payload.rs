//! The JSON of an event as bytes: written in one pass, taken apart without reading its values,
//! brought forward from earlier versions. No type of an event is known here.

use serde::Serialize;
use serde::de::Error as _;

pub use self::error::{DecodeError, UpcastFault};
pub use self::fields::RawFields;
use self::finite::Finite;
pub(crate) use self::forward::read_forward;
pub use self::history::{Addition, Step};

mod error;
mod fields;
mod finite;
mod forward;
mod history;
mod path;

/// The payload as text, whose strings are not looked at a second time.
///
/// # Errors
/// If it is not UTF-8, as JSON has to be.
pub(crate) fn as_text(payload: &[u8]) -> Result<&str, UpcastFault> {
    str::from_utf8(payload).map_err(|error| {
        let source = serde_json::Error::custom(format_args!(
            "JSON is UTF-8, and byte {} of the payload is not",
            error.valid_up_to() + 1
        ));
        UpcastFault::new(None, source)
    })
}

/// Appends `value` as JSON.
///
/// On an error `payload` keeps its length.
///
/// # Errors
/// If serde refuses a value, or a float anywhere in it is not finite: JSON has no such number and
/// would store `null`.
pub fn encode<T: Serialize + ?Sized>(
    value: &T,
    payload: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let before = payload.len();
    let written = Finite(value).serialize(&mut serde_json::Serializer::new(&mut *payload));
    if written.is_err() {
        payload.truncate(before);
    }
    written
}
