//! Payloads as JSON.

use serde::Serialize;

use crate::event::DomainEvent;

/// Placeholder of the macro work in progress.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Malformed.
    #[error("malformed")]
    Malformed(#[source] serde_json::Error),
}

pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, payload: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    serde_json::to_writer(payload, value)
}

/// Decodes.
pub fn decode<E: DomainEvent>(_schema: &str, _version: u32, payload: &[u8]) -> Result<E, DecodeError> {
    serde_json::from_slice(payload).map_err(DecodeError::Malformed)
}
