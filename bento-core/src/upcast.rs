//! From an old payload to the current struct: field history compiled by the macro, and hand-written
//! steps.
//!
//! Field history gives fields other names while serde reads them: a value is read once, from the
//! bytes that were stored, so a 128-bit integer arrives as it was.
//!
//! Decision: docs/decisions/0002-upcasters-may-fail.md

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error as StdError;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::codec;
use crate::event::{DomainEvent, EventDescriptor, Superseded};
use crate::payload::{self, RawFields, UpcastFault, read_forward};

/// A hand-written step from an earlier version of an event to this one.
///
/// ```
/// # use bento_core::{domain_event, upcast::UpcastFrom};
/// #[domain_event(schema = "customer.registered", version = 1, superseded)]
/// #[derive(Debug)]
/// pub struct CustomerRegisteredV1 {
///     pub name: String,
/// }
///
/// #[domain_event(schema = "customer.registered", version = 2, upcast_from = CustomerRegisteredV1)]
/// #[derive(Debug)]
/// pub struct CustomerRegistered {
///     pub first_name: String,
///     pub last_name: String,
/// }
///
/// impl UpcastFrom<CustomerRegisteredV1> for CustomerRegistered {
///     fn upcast_from(old: CustomerRegisteredV1) -> Self {
///         let (first, last) = old.name.split_once(' ').unwrap_or((&old.name, ""));
///         Self { first_name: first.into(), last_name: last.into() }
///     }
/// }
/// ```
///
/// Where an old value may have no reading in the new version, implement [`TryUpcastFrom`] instead.
pub trait UpcastFrom<Old>: Sized {
    /// The same fact in the form of this version.
    fn upcast_from(old: Old) -> Self;
}

/// A hand-written step that can fail: [`UpcastFrom`] for old values that may have no reading in the
/// new version.
///
/// Decoding reports the failure as
/// [`DecodeError::Malformed`](crate::codec::DecodeError::Malformed).
#[diagnostic::on_unimplemented(
    message = "`{Self}` says `upcast_from = {Old}`, but there is no upcaster",
    label = "no way from `{Old}` to `{Self}`",
    note = "write `impl UpcastFrom<{Old}> for {Self}`, or `impl TryUpcastFrom<{Old}> for {Self}` \
            if it can fail"
)]
pub trait TryUpcastFrom<Old>: Sized {
    /// The error for an old payload that has no reading in this version.
    type Error: Into<Box<dyn StdError + Send + Sync>>;

    /// The same fact in the form of this version.
    ///
    /// # Errors
    /// If the old value has no reading in this version.
    fn try_upcast_from(old: Old) -> Result<Self, Self::Error>;
}

#[diagnostic::do_not_recommend]
impl<Old, New: UpcastFrom<Old>> TryUpcastFrom<Old> for New {
    type Error = Infallible;

    fn try_upcast_from(old: Old) -> Result<Self, Infallible> {
        Ok(New::upcast_from(old))
    }
}

/// The typed step an event declares with `upcast_from`. Not public API: implemented by the macro.
#[doc(hidden)]
pub trait TypedStep: DomainEvent + TryUpcastFrom<<Self as TypedStep>::Older> {
    type Older: OlderVersion;
}

/// The needs of a typed step of the version that it starts from. Not public API: every
/// [`Superseded`] event has it.
///
/// It has no supertrait that could fail: an event that lacks `Debug` is reported where it is
/// declared, and not once more at each `upcast_from`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not marked `superseded`, so nothing can be upcast from it",
    label = "not a superseded version of an event",
    note = "add `superseded` to its attribute: `#[domain_event(schema = \"…\", version = N, \
            superseded)]`"
)]
pub trait OlderVersion: Sized {
    const DESCRIPTOR: &'static EventDescriptor;
    const SCHEMA: &'static str;
    const VERSION: u32;

    /// # Errors
    /// A payload that does not fit the fields of this version, or of the one it was stored with.
    fn decode(version: u32, payload: &[u8]) -> Result<Self, UpcastFault>;
}

#[diagnostic::do_not_recommend]
impl<E: Superseded> OlderVersion for E {
    const DESCRIPTOR: &'static EventDescriptor = <E as DomainEvent>::DESCRIPTOR;
    const SCHEMA: &'static str = <E as DomainEvent>::SCHEMA;
    const VERSION: u32 = <E as DomainEvent>::VERSION;

    fn decode(version: u32, payload: &[u8]) -> Result<Self, UpcastFault> {
        codec::decode_known_version(version, payload)
    }
}

/// Decodes a payload of an earlier version by field history alone.
#[doc(hidden)]
pub fn decode_by_history<E: DomainEvent>(version: u32, payload: &[u8]) -> Result<E, UpcastFault> {
    read_forward(payload, version, E::HISTORY)
}

/// Decodes a payload of an earlier version through the typed step, or by field history if it is
/// younger than that.
#[doc(hidden)]
pub fn decode_by_typed_step<E: TypedStep>(version: u32, payload: &[u8]) -> Result<E, UpcastFault> {
    if version > E::Older::VERSION {
        return decode_by_history(version, payload);
    }
    let old = E::Older::decode(version, payload)?;
    E::try_upcast_from(old).map_err(|source| UpcastFault::new(None, source))
}

/// A default as the JSON it would have been stored as.
#[doc(hidden)]
pub fn raw_default<T: Serialize>(value: &T) -> Result<Box<RawValue>, serde_json::Error> {
    let mut text = Vec::new();
    payload::encode(value, &mut text)?;
    let text = String::from_utf8(text).expect("serde_json writes UTF-8");
    RawValue::from_string(text)
}

/// A default that serde's field attributes (`with`, `serialize_with`) turn into JSON: the only
/// field of `holder`.
#[doc(hidden)]
pub fn raw_default_within<T: Serialize>(holder: &T) -> Result<Box<RawValue>, serde_json::Error> {
    let holder = raw_default(holder)?;
    let fields: RawFields<'_> = serde_json::from_str(holder.get())?;
    let value = fields
        .into_fields()
        .next()
        .map(|(_, value)| value.to_owned());
    Ok(value.unwrap_or_else(|| RawValue::NULL.to_owned()))
}

/// Reads a default as its field is read.
#[doc(hidden)]
pub fn reads<T: DeserializeOwned>(value: &RawValue) -> Result<(), serde_json::Error> {
    serde_json::from_str::<T>(value.get()).map(drop)
}

/// Reads a default that serde's field attributes (`with`, `deserialize_with`) take from JSON: the
/// field of `T` called `name`.
#[doc(hidden)]
pub fn reads_within<T: DeserializeOwned>(
    name: &str,
    value: &RawValue,
) -> Result<(), serde_json::Error> {
    let holder = BTreeMap::from([(name, value)]);
    serde_json::from_str::<T>(&serde_json::to_string(&holder)?).map(drop)
}

/// Text given as `default = "…"` for a field of type `T`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a text cannot be the default of a field of type `{Self}`",
    label = "`{Self}` is not made from a text",
    note = "`default` takes any expression of the field's type: `default = Some(\"…\".to_owned())`"
)]
pub trait FromText: Sized {
    fn from_text(text: &'static str) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: From<&'static str>> FromText for T {
    fn from_text(text: &'static str) -> Self {
        T::from(text)
    }
}

/// Proves at `cargo check` that the typed step stays in one schema and goes forward.
#[doc(hidden)]
#[track_caller]
pub const fn check_typed_step<E: TypedStep>() {
    assert!(
        same(E::SCHEMA, E::Older::SCHEMA),
        "`upcast_from` names an event of another schema: name an earlier version of this schema"
    );
    assert!(
        E::Older::VERSION < E::VERSION,
        "`upcast_from` names no earlier version: it must be older than this one"
    );
    assert!(
        E::DESCRIPTOR.oldest >= oldest::<E::Older>(),
        "`oldest` names a version that the type in `upcast_from` has retired: \
         raise `oldest` to that of the earlier version"
    );
}

/// The oldest version that can be decoded through the typed step of `E`.
#[doc(hidden)]
#[must_use]
pub const fn oldest_through_typed_step<E: TypedStep>() -> u32 {
    if goes_forward::<E>() {
        oldest::<E::Older>()
    } else {
        E::VERSION
    }
}

/// True unless `upcast_from` names no earlier version, which [`check_typed_step`] reports. The
/// descriptor of an earlier version is only looked at where it is one: a chain that led back to
/// itself would have no end.
const fn goes_forward<E: TypedStep>() -> bool {
    E::Older::VERSION < E::VERSION
}

const fn oldest<E: OlderVersion>() -> u32 {
    E::DESCRIPTOR.oldest
}

/// The version the typed step of `E` starts from.
#[doc(hidden)]
#[must_use]
pub const fn typed_step_from<E: TypedStep>() -> u32 {
    E::Older::VERSION
}

/// The earlier version in `upcast_from`.
#[doc(hidden)]
#[must_use]
pub const fn older_descriptor<E: TypedStep>() -> Option<&'static EventDescriptor> {
    if goes_forward::<E>() {
        Some(descriptor::<E::Older>())
    } else {
        None
    }
}

const fn descriptor<E: OlderVersion>() -> &'static EventDescriptor {
    E::DESCRIPTOR
}

const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}
