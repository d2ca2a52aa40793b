//! Patterns of event types: `*` stands for any characters, including dots.

/// A pattern, prepared for matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Glob {
    /// `order.created`
    Exact(Box<str>),
    /// `order.*`, and `*` with an empty prefix.
    Prefix(Box<str>),
    /// Any other pattern.
    Any(Box<str>),
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        match pattern.find('*') {
            None => Self::Exact(pattern.into()),
            Some(at) if at + 1 == pattern.len() => Self::Prefix(pattern[..at].into()),
            Some(_) => Self::Any(pattern.into()),
        }
    }

    /// True if it is one event type, and no pattern.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(event_type) => **event_type == *text,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Any(pattern) => matches(pattern.as_bytes(), text.as_bytes()),
        }
    }
}

/// True if `wide` matches every text that `narrow` matches: a `*` of `narrow` is matched only by a
/// `*` of `wide`.
pub fn covers(wide: &str, narrow: &str) -> bool {
    matches(wide.as_bytes(), narrow.as_bytes())
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last_star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                // The last star takes one more character.
                let Some((star, taken)) = last_star else {
                    return false;
                };
                last_star = Some((star, taken + 1));
                p = star + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, is_match) in [
            ("order.created", "order.created", true),
            ("order.created", "order.created.late", false),
            ("order.*", "order.created", true),
            ("order.*", "order.line.added", true),
            ("order.*", "orders.created", false),
            ("*", "", true),
            ("*.created", "order.created", true),
            ("*.created", "order.created.late", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "x", true),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(text),
                is_match,
                "{pattern} and {text}"
            );
        }
    }

    #[test]
    fn patterns_cover_what_is_narrower() {
        for (wide, narrow, does_cover) in [
            ("order.*", "order.created", true),
            ("order.created", "order.*", false),
            ("*.created", "order.*", false),
            ("*", "a*c", true),
            ("a*c", "ab*bc", true),
            ("ab*", "ac*", false),
        ] {
            assert_eq!(covers(wide, narrow), does_cover, "{wide} and {narrow}");
        }
    }

    proptest! {
        #[test]
        fn what_the_narrower_matches_the_wider_does(
            a in "[ab*]{0,5}",
            b in "[ab*]{0,5}",
            text in "[ab]{0,6}",
        ) {
            let (one, other) = (Glob::new(&a).matches(&text), Glob::new(&b).matches(&text));
            prop_assert_eq!(one, matches(a.as_bytes(), text.as_bytes()));
            prop_assert!(!(other && covers(&a, &b)) || one);
        }
    }
}
