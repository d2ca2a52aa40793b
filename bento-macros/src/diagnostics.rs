//! The errors of one item, collected so that all are shown at once.

use proc_macro2::Span;
use quote::ToTokens;

/// Errors found so far. Dropping it without [`Errors::check`] panics: no error may be forgotten.
pub(crate) struct Errors(Option<Vec<syn::Error>>);

impl Errors {
    pub(crate) fn new() -> Self {
        Self(Some(Vec::new()))
    }

    pub(crate) fn push(&mut self, error: syn::Error) {
        self.0
            .as_mut()
            .expect("`check` consumes the collector")
            .push(error);
    }

    /// An error about one place.
    pub(crate) fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    /// An error about the whole of some syntax.
    pub(crate) fn on(&mut self, syntax: impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(syntax, message));
    }

    /// True if there is no error so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_some_and(Vec::is_empty)
    }

    /// All errors as one, or none.
    pub(crate) fn check(mut self) -> syn::Result<()> {
        let errors = self.0.take().expect("`check` consumes the collector");
        let all = errors.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        });
        all.map_or(Ok(()), Err)
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        if self.0.is_some() && !std::thread::panicking() {
            panic!(
                "the errors of an item were collected but not checked, which is a bug in \
                 bento-macros"
            );
        }
    }
}

/// `names` as they are listed in a message: `` `a`, `b` ``.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The name that `wrong` was probably meant to be, if there is one: the nearest name, where at most
/// a third of the letters of `wrong` differ (rounded up), else the only name that begins with it.
///
/// The same rule as `bento_core::names::nearest`, on which this crate cannot depend.
pub(crate) fn near_match<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    let by_distance = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), *name));
    let near = by_distance
        .min()
        .filter(|(distance, _)| *distance <= wrong.chars().count().div_ceil(3))
        .map(|(_, name)| name);
    near.or_else(|| {
        let mut longer = names
            .iter()
            .copied()
            .filter(|name| wrong.len() >= 2 && name.starts_with(wrong));
        longer.next().filter(|_| longer.next().is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::{Errors, near_match};

    #[test]
    #[should_panic(expected = "collected but not checked")]
    fn forgetting_to_check_the_errors_panics() {
        drop(Errors::new());
    }

    #[test]
    fn a_typing_error_finds_its_key() {
        assert_eq!(near_match("shema", &["schema", "version"]), Some("schema"));
        assert_eq!(near_match("nmae", &["events", "name"]), Some("name"));
        assert_eq!(near_match("colour", &["schema", "version"]), None);
        assert_eq!(near_match("no", &["on"]), Some("on"), "swapped letters");
    }

    #[test]
    fn an_abbreviation_finds_its_key_where_only_one_begins_so() {
        assert_eq!(near_match("ver", &["schema", "version"]), Some("version"));
        assert_eq!(near_match("top", &["topic", "topmost"]), None);
        assert_eq!(near_match("v", &["schema", "version"]), None);
    }
}
