//! Identifiers: events are UUIDv7, aggregates are text made of their key fields.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

/// The identity of one event, unique for ever. It is a UUIDv7, so an index on it grows at its end.
///
/// ```
/// use bento_core::EventId;
///
/// let (first, second) = (EventId::new(), EventId::new());
/// assert!(first < second);
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id, ordered after every id this process made before.
    #[expect(
        clippy::new_without_default,
        reason = "a default that differs each time would surprise"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl From<Uuid> for EventId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<EventId> for Uuid {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A type that can be the identity of an aggregate, or one part of a composite identity.
///
/// Implemented for integers, also as `NonZero`, for `Uuid`, `char`, `str` and `String`, and for
/// what points to one of them, as `Arc<str>` and `Cow<str>` do. A type of your own derives it:
///
/// ```
/// use bento_core::{AggregateId, AggregateKey};
///
/// #[derive(AggregateId)]
/// struct OrderId(u64);
///
/// #[derive(AggregateId)]
/// enum Country {
///     Denmark,
///     #[aggregate_id(rename = "SE")]
///     Sweden,
/// }
///
/// let key = AggregateKey::new().push(&Country::Sweden).push(&Country::Denmark).push(&OrderId(7));
/// assert_eq!(key.into_text().as_deref(), Some("SE:Denmark:7"));
/// ```
///
/// A type whose text has a form of its own implements the trait by hand, with
/// [`AggregateKey::append_text`] or by appending the value that it wraps.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot identify an aggregate",
    label = "this is the aggregate's id",
    note = "a type of your own derives it, with `#[derive(AggregateId)]`; or mark another field \
            `#[aggregate(id)]`"
)]
pub trait AggregateId {
    /// Appends this part to the key. A value that a column has before the database has generated
    /// one (0, the nil UUID, empty text) marks the key as unset; that counts only for a key that
    /// the database generates.
    fn append_to(&self, key: &mut AggregateKey);
}

/// The identity of an aggregate as text: one part, or several joined by `:`.
///
/// A `:` or `\` inside a part of a composite key is written with a `\` before it, so two keys are
/// never confused.
///
/// ```
/// use bento_core::AggregateKey;
///
/// let key = AggregateKey::new().push("shop:1").push(&7_u64);
/// assert_eq!(key.into_text().as_deref(), Some(r"shop\:1:7"));
/// assert_eq!(AggregateKey::new().push_generated(&0_u64).into_text(), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AggregateKey {
    text: String,
    parts: usize,
    unset: bool,
}

impl AggregateKey {
    /// An empty key.
    pub fn new() -> Self {
        Self::default()
    }

    /// The key with another part. Every value is a real one: 0 and the nil UUID as well.
    #[must_use]
    pub fn push(mut self, part: &(impl AggregateId + ?Sized)) -> Self {
        let unset = self.unset;
        part.append_to(&mut self);
        self.unset = unset;
        self
    }

    /// The key with another part that the database generates: with 0, the nil UUID or empty text
    /// the key is unset.
    #[must_use]
    pub fn push_generated(mut self, part: &(impl AggregateId + ?Sized)) -> Self {
        part.append_to(&mut self);
        self
    }

    /// The text; `None` while the database has yet to generate the key, and for a key without any
    /// text, which no event can be ordered by.
    pub fn into_text(self) -> Option<String> {
        (!self.unset && !self.text.is_empty()).then_some(self.text)
    }

    /// Appends a part that is text already.
    pub fn append_text(&mut self, part: &str) {
        self.unset |= part.is_empty();
        if self.parts == 1 && self.text.contains([':', '\\']) {
            let first = std::mem::take(&mut self.text);
            self.append_escaped(&first);
        }
        self.separate();
        if self.parts > 1 {
            self.append_escaped(part);
        } else {
            self.text.push_str(part);
        }
    }

    fn append_display(&mut self, part: impl fmt::Display, unset: bool) {
        self.unset |= unset;
        if self.parts == 0 {
            self.parts = 1;
            write!(self.text, "{part}").expect("writing to a String succeeds");
        } else {
            self.append_text(&part.to_string());
        }
    }

    fn separate(&mut self) {
        if self.parts > 0 {
            self.text.push(':');
        }
        self.parts += 1;
    }

    fn append_escaped(&mut self, part: &str) {
        for character in part.chars() {
            if matches!(character, ':' | '\\') {
                self.text.push('\\');
            }
            self.text.push(character);
        }
    }
}

macro_rules! integer_ids {
    ($($integer:ty)*) => {$(
        impl AggregateId for $integer {
            fn append_to(&self, key: &mut AggregateKey) {
                key.append_display(self, *self == 0);
            }
        }
    )*};
}
integer_ids!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

macro_rules! always_set_ids {
    ($($id:ty)*) => {$(
        impl AggregateId for $id {
            fn append_to(&self, key: &mut AggregateKey) {
                key.append_display(self, false);
            }
        }
    )*};
}
always_set_ids!(NonZero<i8> NonZero<i16> NonZero<i32> NonZero<i64> NonZero<i128> NonZero<isize>);
always_set_ids!(NonZero<u8> NonZero<u16> NonZero<u32> NonZero<u64> NonZero<u128> NonZero<usize>);
always_set_ids!(char);

impl AggregateId for Uuid {
    fn append_to(&self, key: &mut AggregateKey) {
        key.append_display(self.as_hyphenated(), self.is_nil());
    }
}

impl AggregateId for str {
    fn append_to(&self, key: &mut AggregateKey) {
        key.append_text(self);
    }
}

impl AggregateId for String {
    fn append_to(&self, key: &mut AggregateKey) {
        key.append_text(self);
    }
}

macro_rules! pointed_at_ids {
    ($($pointer:ty),*) => {$(
        impl<T: AggregateId + ?Sized> AggregateId for $pointer {
            fn append_to(&self, key: &mut AggregateKey) {
                T::append_to(self, key);
            }
        }
    )*};
}
pointed_at_ids!(&T, Box<T>, Rc<T>, Arc<T>);

impl<T: AggregateId + ToOwned + ?Sized> AggregateId for Cow<'_, T> {
    fn append_to(&self, key: &mut AggregateKey) {
        T::append_to(self, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: AggregateKey) -> Option<String> {
        key.into_text()
    }

    #[test]
    fn a_key_of_one_part_is_that_part_unchanged() {
        assert_eq!(
            text(AggregateKey::new().push("a:b")),
            Some("a:b".to_owned())
        );
        assert_eq!(text(AggregateKey::new().push(&7_i64)), Some("7".to_owned()));
    }

    #[test]
    fn composite_keys_are_never_confused() {
        let left = AggregateKey::new().push("a:b").push("c");
        let right = AggregateKey::new().push("a").push("b:c");
        assert_ne!(text(left), text(right));
        let left = AggregateKey::new().push("a\\").push("b");
        let right = AggregateKey::new().push("a").push("\\b");
        assert_ne!(text(left), text(right));
    }

    #[test]
    fn a_generated_key_is_unset_until_the_database_has_generated_it() {
        assert_eq!(text(AggregateKey::new().push_generated(&0_i32)), None);
        assert_eq!(text(AggregateKey::new().push_generated(&Uuid::nil())), None);
        assert_eq!(
            text(AggregateKey::new().push_generated(&7_i32)),
            Some("7".to_owned())
        );
    }

    #[test]
    fn a_key_that_is_really_zero_is_a_key() {
        assert_eq!(text(AggregateKey::new().push(&0_i32)), Some("0".to_owned()));
        assert_eq!(
            text(AggregateKey::new().push(&Uuid::nil())),
            Some(Uuid::nil().to_string())
        );
        assert_eq!(
            text(AggregateKey::new().push("acme").push(&0_u8)),
            Some("acme:0".to_owned())
        );
        assert_eq!(
            text(AggregateKey::new().push("").push(&1_u8)),
            Some(":1".to_owned())
        );
        assert_ne!(
            text(AggregateKey::new().push("").push("a")),
            text(AggregateKey::new().push("a").push(""))
        );
    }

    #[test]
    fn a_key_without_text_orders_nothing() {
        assert_eq!(text(AggregateKey::new().push("")), None);
        assert_eq!(text(AggregateKey::new()), None);
    }
}
