//! The history of the fields of an event, as the macro writes it.
//!
//! Decision: docs/decisions/0003-field-history-on-raw-fields.md

use serde_json::value::RawValue;

/// The changes of one version to the fields. Not public API: written by the macro.
#[doc(hidden)]
#[derive(Debug)]
pub struct Step {
    /// The version this step arrives at.
    pub to: u32,
    /// The names of fields that this version removes.
    pub removed: &'static [&'static str],
    /// The names of renamed fields, before and after.
    pub renamed: &'static [(&'static str, &'static str)],
    /// The fields that this version adds, with their values.
    pub added: &'static [Addition],
}

/// A field that a version added, and its value in earlier payloads.
#[doc(hidden)]
#[derive(Debug)]
pub struct Addition {
    pub name: &'static str,
    pub default: fn() -> Result<Box<RawValue>, serde_json::Error>,
    /// Reads what `default` has written as the field.
    pub reads: fn(&RawValue) -> Result<(), serde_json::Error>,
}
