//! Names in messages: a list of the known ones, and the one that a wrong name stands for.
//!
//! Settings, rules and the router ask here. `bento-macros` cannot depend on this crate, and has the
//! same rule in its `diagnostics`.

use std::fmt;

/// The name that `wrong` was probably meant to be, if there is one: the nearest name, where at most
/// a third of the letters of `wrong` differ (rounded up), else the only name that begins with it.
/// Two letters that are swapped count as one difference.
pub fn nearest<'a, T: AsRef<str> + ?Sized + 'a>(
    wrong: &str,
    names: impl IntoIterator<Item = &'a T>,
) -> Option<&'a str> {
    let names: Vec<&str> = names.into_iter().map(AsRef::as_ref).collect();
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

/// A hint at the end of a message, `; did you mean …?`, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Hint<'a>(pub Option<&'a str>);

impl<'a> Hint<'a> {
    /// The hint at the [nearest] of some names.
    pub fn among<T: AsRef<str> + ?Sized + 'a>(
        wrong: &str,
        names: impl IntoIterator<Item = &'a T>,
    ) -> Self {
        Self(nearest(wrong, names))
    }
}

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |name| write!(f, "; did you mean `{name}`?"))
    }
}

/// A list of names: `` `a`, `b` ``.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a, T>(pub &'a [T]);

impl<T: AsRef<str>> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{}`", name.as_ref())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_name() {
        assert_eq!(nearest("shema", ["schema", "version"]), Some("schema"));
        assert_eq!(nearest("nmae", ["events", "name"]), Some("name"));
        assert_eq!(nearest("audti", ["console", "audit"]), Some("audit"));
        assert_eq!(nearest("colour", ["schema", "version"]), None);
        assert_eq!(nearest("no", ["on"]), Some("on"), "swapped letters");
    }

    #[test]
    fn an_abbreviation_finds_its_name_if_only_one_begins_so() {
        assert_eq!(nearest("ver", ["schema", "version"]), Some("version"));
        assert_eq!(nearest("top", ["topic", "topmost"]), None);
        assert_eq!(nearest("v", ["schema", "version"]), None);
    }

    #[test]
    fn a_message_lists_the_names_and_hints_at_one() {
        let known = ["nats", "memory"].map(str::to_owned);
        let hint = Hint::among("natz", &known);
        assert_eq!(
            format!("the kinds are {}{hint}", Listed(&known)),
            "the kinds are `nats`, `memory`; did you mean `nats`?"
        );
        assert_eq!(Hint::among("redis", &known).to_string(), "");
    }
}
