//! Payloads as bytes: JSON, written in one pass and read back at whatever version was stored.

use std::error::Error as StdError;

use serde::Serialize;

use crate::event::{AnyEvent, DomainEvent, EventDescriptor};
use crate::upcast::UpcastFault;

use self::finite::Finite;
pub(crate) use self::path::fault_path;

mod finite;
mod path;

/// Appends `value` as JSON.
///
/// On an error `payload` is as long as it was.
///
/// # Errors
/// When serde refuses a value, or a float anywhere in it is not finite: JSON has no such number and would store `null`.
pub fn encode<T: Serialize + ?Sized>(value: &T, payload: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let before = payload.len();
    let written = Finite(value).serialize(&mut serde_json::Serializer::new(&mut *payload));
    if written.is_err() {
        payload.truncate(before);
    }
    written
}

/// Reads a stored payload as an `E`, whatever version it was written with.
///
/// The current version is one [`serde_json::from_slice`]; an earlier one runs its chain of upcasters once.
///
/// # Errors
/// See [`DecodeError`]: four different answers.
pub fn decode<E: DomainEvent>(schema: &str, version: u32, payload: &[u8]) -> Result<E, DecodeError> {
    if schema != E::SCHEMA {
        return Err(DecodeError::UnknownSchema { schema: schema.to_owned(), wanted: Some(E::SCHEMA) });
    }
    decode_version(version, payload)
}

/// Why a stored payload could not be read.
///
/// # Handling
/// * [`UnknownSchema`](Self::UnknownSchema) and [`NewerVersion`](Self::NewerVersion): another binary, or the next
///   release of this one, can read it. Keep the envelope whole and hand it on.
/// * [`Retired`](Self::Retired): the declaration gave this version up. Migrate the stored rows, or lower `oldest` and
///   write the upcaster.
/// * [`Malformed`](Self::Malformed): no binary of this version can read it. Make it a dead letter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Nothing in this binary, or not the type asked for, has this schema.
    #[error("{}", unknown_schema(schema, *wanted))]
    UnknownSchema {
        /// The schema of the stored payload.
        schema: String,
        /// The schema of the type that was asked for, if a type was named.
        wanted: Option<&'static str>,
    },
    /// It was written by a later release than this one.
    #[error(
        "`{schema}` version {version} is newer than this binary, which knows version {newest}: \
         upgrade it, or hand the envelope on as it is"
    )]
    NewerVersion {
        /// The schema of the stored payload.
        schema: &'static str,
        /// The stored version.
        version: u32,
        /// The newest version this binary knows.
        newest: u32,
    },
    /// The declaration says `oldest = …`, and the payload is older.
    #[error(
        "`{schema}` version {version} is retired, the oldest readable one is {oldest}: \
         migrate what is stored, or lower `oldest` and add the upcaster"
    )]
    Retired {
        /// The schema of the stored payload.
        schema: &'static str,
        /// The stored version.
        version: u32,
        /// The oldest version that can still be read.
        oldest: u32,
    },
    /// The payload is not JSON, does not fit the fields, or its upcaster refused it.
    #[error("the payload of `{schema}` version {version} does not fit its fields{}", at(path.as_deref()))]
    Malformed {
        /// The schema of the stored payload.
        schema: &'static str,
        /// The stored version.
        version: u32,
        /// The field at fault, `lines[2].price`, as far as it is known.
        path: Option<String>,
        /// What serde or the upcaster said.
        source: Box<dyn StdError + Send + Sync>,
    },
}

fn unknown_schema(schema: &str, wanted: Option<&str>) -> String {
    match wanted {
        Some(wanted) => format!(
            "the payload is `{schema}`, but the type asked for is `{wanted}`: decode it as the type of its schema"
        ),
        None => format!(
            "no event in this binary has the schema `{schema}`: \
             link the crate that declares it, or hand the envelope on as it is"
        ),
    }
}

fn at(path: Option<&str>) -> String {
    path.map(|path| format!(", at `{path}`")).unwrap_or_default()
}

/// [`decode`] for a payload whose schema is known to be that of `E`.
///
/// Little is compiled for each event, here and below: the rest is in functions without a type parameter.
pub(crate) fn decode_version<E: DomainEvent>(version: u32, payload: &[u8]) -> Result<E, DecodeError> {
    if let Some(refused) = refused(E::DESCRIPTOR, version) {
        return Err(refused);
    }
    match decode_known_version(version, payload) {
        Ok(event) => Ok(event),
        Err(fault) => Err(malformed(E::DESCRIPTOR, version, fault)),
    }
}

/// The payload as an `E`, once it is known that `E` reads this version.
pub(crate) fn decode_known_version<E: DomainEvent>(version: u32, payload: &[u8]) -> Result<E, UpcastFault> {
    if version != E::VERSION {
        return E::decode_older(version, payload);
    }
    match serde_json::from_slice(payload) {
        Ok(event) => Ok(event),
        Err(source) => Err(UpcastFault::in_payload(payload, source)),
    }
}

/// The answer for a version that the event does not read.
fn refused(event: &EventDescriptor, version: u32) -> Option<DecodeError> {
    let EventDescriptor { schema, version: newest, oldest, .. } = *event;
    if version > newest {
        Some(DecodeError::NewerVersion { schema, version, newest })
    } else if version < oldest {
        Some(DecodeError::Retired { schema, version, oldest })
    } else {
        None
    }
}

fn malformed(event: &EventDescriptor, version: u32, UpcastFault { path, source }: UpcastFault) -> DecodeError {
    DecodeError::Malformed { schema: event.schema, version, path, source }
}

/// The result of reading a payload that has just been written from this event.
///
/// Serde has no place for a fault in flattened fields, which it reads last.
pub(crate) fn reads_back(
    event: &EventDescriptor,
    read: Result<Box<dyn AnyEvent>, DecodeError>,
) -> Result<(), DecodeError> {
    match read {
        Ok(_) => Ok(()),
        Err(DecodeError::Malformed { schema, version, path: None, source }) => {
            let path = event.fields.iter().find(|field| field.is_flattened).map(|field| field.name.to_owned());
            Err(DecodeError::Malformed { schema, version, path, source })
        }
        Err(other) => Err(other),
    }
}
