//! Errors of reading a payload.

use std::error::Error as StdError;

use super::path::fault_path;

/// A stored payload could not be read.
///
/// # Handling
/// * [`UnknownEventType`](Self::UnknownEventType) and [`NewerVersion`](Self::NewerVersion): another
///   binary, or the next release of this one, can read it. Keep the envelope whole and hand it on.
/// * [`Retired`](Self::Retired): the declaration gave this version up. Migrate the stored rows, or
///   lower `oldest` and write the upcaster.
/// * [`Malformed`](Self::Malformed): no binary of this version can read it. Make it a dead letter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No event in this binary has this event type, or the type that was asked for has another.
    #[error("{}", unknown_event_type(event_type, *wanted))]
    UnknownEventType {
        /// The event type of the stored payload.
        event_type: String,
        /// The event type of the type that was asked for, if a type was named.
        wanted: Option<&'static str>,
    },
    /// The payload was written by a later release than this one.
    #[error(
        "`{event_type}` version {version} is newer than this binary, which knows version {newest}: \
         upgrade it, or hand the envelope on as it is"
    )]
    NewerVersion {
        /// The event type of the stored payload.
        event_type: &'static str,
        /// The stored version.
        version: u32,
        /// The newest version this binary knows.
        newest: u32,
    },
    /// The declaration says `oldest = …`, and the payload is older.
    #[error(
        "`{event_type}` version {version} is retired, the oldest readable one is {oldest}: \
         migrate what is stored, or lower `oldest` and add the upcaster"
    )]
    Retired {
        /// The event type of the stored payload.
        event_type: &'static str,
        /// The stored version.
        version: u32,
        /// The oldest version that can still be read.
        oldest: u32,
    },
    /// The payload is not JSON, does not fit the fields, or its upcaster refused it.
    #[error(
        "the payload of `{event_type}` version {version} does not fit its fields{}",
        at(path.as_deref())
    )]
    Malformed {
        /// The event type of the stored payload.
        event_type: &'static str,
        /// The stored version.
        version: u32,
        /// The field at fault, `lines[2].price`, as far as it is known.
        path: Option<String>,
        /// The error of serde or of the upcaster.
        source: Box<dyn StdError + Send + Sync>,
    },
}

fn unknown_event_type(event_type: &str, wanted: Option<&str>) -> String {
    match wanted {
        Some(wanted) => format!(
            "the payload is `{event_type}`, but the type asked for is `{wanted}`: decode it as \
             the struct of its event type"
        ),
        None => format!(
            "no event in this binary has the event type `{event_type}`: \
             link the crate that declares it, or hand the envelope on as it is"
        ),
    }
}

fn at(path: Option<&str>) -> String {
    path.map(|path| format!(", at `{path}`"))
        .unwrap_or_default()
}

/// An old payload could not be brought to the current version. Not public API: [`crate::codec`]
/// makes it a `DecodeError`.
#[doc(hidden)]
#[derive(Debug)]
pub struct UpcastFault {
    pub(crate) path: Option<String>,
    pub(crate) source: Box<dyn StdError + Send + Sync>,
}

impl UpcastFault {
    pub(crate) fn new(
        path: Option<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            path,
            source: source.into(),
        }
    }

    /// The error of serde_json for the payload.
    pub(crate) fn in_payload(payload: &[u8], source: serde_json::Error) -> Self {
        Self::new(fault_path(payload, &source), source)
    }

    /// The answer of an event that reads no version but its own.
    pub(crate) fn without_history(version: u32) -> Self {
        Self::new(
            None,
            format!("there is no upcaster from version {version}: declare what changed since"),
        )
    }
}
