//! The history of the fields of an event, as the macro writes it.

use serde_json::value::RawValue;

/// The changes of one version to the fields. Not public API: written by the macro.
#[doc(hidden)]
#[derive(Debug)]
pub struct Step {
    /// The version this step arrives at.
    pub to: u32,
    /// Names that end here.
    pub removed: &'static [&'static str],
    /// Names before and after.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Values for fields that begin here.
    pub added: &'static [Addition],
}

/// A field that a version added, and its value in payloads of before.
#[doc(hidden)]
#[derive(Debug)]
pub struct Addition {
    pub name: &'static str,
    pub default: fn() -> Result<Box<RawValue>, serde_json::Error>,
    /// Reads what `default` has written as the field.
    pub reads: fn(&RawValue) -> Result<(), serde_json::Error>,
}
