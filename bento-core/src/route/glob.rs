//! Patterns of schemas: `*` stands for any characters, dots among them.

/// A pattern, prepared for matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Glob {
    /// `order.created`
    Exact(Box<str>),
    /// `order.*`, and `*` with nothing in front.
    Prefix(Box<str>),
    /// Any other.
    Any(Box<str>),
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        match pattern.find('*') {
            None => Self::Exact(pattern.into()),
            Some(at) if at + 1 == pattern.len() => Self::Prefix(pattern[..at].into()),
            Some(_) => Self::Any(pattern.into()),
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(schema) => **schema == *text,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Any(pattern) => matches(pattern.as_bytes(), text.as_bytes()),
        }
    }
}

/// Whether `wide` matches whatever `narrow` matches: a `*` of the latter is taken only by one of the former.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    matches(wide.as_bytes(), narrow.as_bytes())
}

/// Whether there is a text that both match.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // `shared[j]`: whether the rests of both, from the current position in `a` and from `j` in `b`, overlap.
    let mut shared: Vec<bool> = (0..=b.len()).map(|j| b[j..].iter().all(|byte| *byte == b'*')).collect();
    for i in (0..a.len()).rev() {
        let below = std::mem::take(&mut shared);
        shared = vec![false; b.len() + 1];
        for j in (0..=b.len()).rev() {
            let (one, other) = (a[i], b.get(j));
            shared[j] = if one == b'*' {
                below[j] || (j < b.len() && shared[j + 1])
            } else {
                match other {
                    Some(b'*') => below[j] || shared[j + 1],
                    Some(other) => one == *other && below[j + 1],
                    None => false,
                }
            };
        }
    }
    shared[0]
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
                // The last star takes one character more.
                let Some((star, taken)) = last_star else { return false };
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
            assert_eq!(Glob::new(pattern).matches(text), is_match, "{pattern} and {text}");
        }
    }

    #[test]
    fn patterns_overlap_and_cover_each_other() {
        for (a, b, do_overlap, does_cover) in [
            ("order.*", "order.created", true, true),
            ("order.created", "order.*", true, false),
            ("*.created", "order.*", true, false),
            ("order.*", "invoice.*", false, false),
            ("*", "a*c", true, true),
            ("a*c", "ab*bc", true, true),
            ("ab*", "ac*", false, false),
        ] {
            assert_eq!(overlap(a, b), do_overlap, "{a} and {b}");
            assert_eq!(covers(a, b), does_cover, "{a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn what_both_match_they_overlap_in(a in "[ab*]{0,5}", b in "[ab*]{0,5}", text in "[ab]{0,6}") {
            let (one, other) = (Glob::new(&a).matches(&text), Glob::new(&b).matches(&text));
            prop_assert_eq!(one, matches(a.as_bytes(), text.as_bytes()));
            prop_assert!(!(one && other) || overlap(&a, &b));
            prop_assert!(!(other && covers(&a, &b)) || one);
            prop_assert_eq!(overlap(&a, &b), overlap(&b, &a));
        }

        #[test]
        fn an_overlap_has_a_witness(a in "[ab*]{0,3}", b in "[ab*]{0,3}") {
            let mut texts = vec![String::new()];
            for length in 0..6 {
                let longer: Vec<_> = texts.iter().filter(|text| text.len() == length).cloned().collect();
                texts.extend(longer.iter().flat_map(|text| ["a", "b"].map(|letter| format!("{text}{letter}"))));
            }
            let witness = texts.iter().any(|text| Glob::new(&a).matches(text) && Glob::new(&b).matches(text));
            prop_assert_eq!(overlap(&a, &b), witness);
        }
    }
}
