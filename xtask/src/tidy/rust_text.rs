//! Rust source with comments and texts blanked out, so that checks need no parser. Positions and
//! lines stay the same.

use std::ops::Range;

/// The begin of an attribute that leaves an item to tests.
const MARKS: [&str; 2] = ["#[cfg(test)]", "#[cfg(all(test,"];

/// The source with comments, texts and test-only items as spaces.
pub(super) fn code_without_tests(text: &str) -> String {
    let mut code = code(text);
    while let Some(start) = MARKS.iter().filter_map(|mark| code.find(mark)).min() {
        let attribute = code[start..]
            .find(']')
            .map_or(code.len(), |end| start + end + 1);
        let end = end_of_item(&code, attribute);
        let blank = blanked(&code[start..end]);
        code.replace_range(start..end, &blank);
    }
    code
}

/// The source with comments and texts as spaces.
pub(super) fn code(text: &str) -> String {
    pieces(text)
        .map(|(piece, is_code)| match is_code {
            true => text[piece].to_owned(),
            false => blanked(&text[piece]),
        })
        .collect()
}

/// The positions of raw texts, `r"…"` and its like.
pub(super) fn raw_texts(text: &str) -> impl Iterator<Item = Range<usize>> {
    pieces(text)
        .filter(|(piece, is_code)| !is_code && raw_text_length(&text[piece.clone()]).is_some())
        .map(|(piece, _)| piece)
}

/// The source cut into comments, texts and single characters of code, which are marked.
fn pieces(text: &str) -> impl Iterator<Item = (Range<usize>, bool)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let next = text[at..].chars().next()?;
        let before = text[..at].chars().next_back();
        let found = text_or_comment_length(&text[at..], before);
        let start = at;
        at += found.unwrap_or(next.len_utf8());
        Some((start..at, found.is_none()))
    })
}

/// The number of the line, from 1, in which a position is.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Spaces of the same length, with the same line ends.
fn blanked(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect()
}

fn text_or_comment_length(rest: &str, before: Option<char>) -> Option<usize> {
    let starts_a_word = !before.is_some_and(|before| before == '_' || before.is_alphanumeric());
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    if starts_a_word && let Some(length) = raw_text_length(rest) {
        return Some(length);
    }
    if rest.starts_with('"') {
        return Some(quoted_length(rest, '"'));
    }
    if rest.starts_with('\'') {
        return character_length(rest);
    }
    None
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, `br"…"`, `cr"…"`.
fn raw_text_length(rest: &str) -> Option<usize> {
    let after_prefix = rest
        .strip_prefix(['b', 'c'])
        .unwrap_or(rest)
        .strip_prefix('r')?;
    let after_hashes = after_prefix.trim_start_matches('#');
    let hashes = &after_prefix[..after_prefix.len() - after_hashes.len()];
    let content = after_hashes.strip_prefix('"')?;
    let end = format!("\"{hashes}");
    let start = rest.len() - content.len();
    Some(
        content
            .find(&end)
            .map_or(rest.len(), |at| start + at + end.len()),
    )
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if next == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character, or nothing for a lifetime.
fn character_length(rest: &str) -> Option<usize> {
    let mut inside = rest[1..].chars();
    match inside.next()? {
        '\\' => Some(quoted_length(rest, '\'')),
        only => (inside.next() == Some('\'')).then_some(only.len_utf8() + 2),
    }
}

/// The end of the item that starts at `from`: behind its braces, or at its semicolon.
fn end_of_item(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, next) in code[from..].char_indices() {
        match next {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && next == '}' {
                    return from + offset + 1;
                }
            }
            ';' if depth == 0 => return from + offset + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_comments_are_blank_and_lifetimes_are_code() {
        let text = "a<'x> '\\'' \"t\\\"\" r#\"u\"\"# /* v /* w */ */ b // y\nc";
        let shown: Vec<String> = code(text).split_whitespace().map(str::to_owned).collect();
        assert_eq!(shown, ["a<'x>", "b", "c"]);
        assert_eq!(code(text).len(), text.len());
    }

    #[test]
    fn raw_texts_are_told_from_other_texts_and_names() {
        let text = "\"a\" r#\"b\"# br\"c\" for\"d\" // r\"e\"";
        let found: Vec<&str> = raw_texts(text).map(|at| &text[at]).collect();
        assert_eq!(found, ["r#\"b\"#", "br\"c\""]);
    }

    #[test]
    fn a_test_only_item_is_blank_to_its_end() {
        let text = "a\n#[cfg(test)]\nmod tests { fn b() { c[1]; } }\nd\n#[cfg(all(test, \
                    unix))]\nuse e;\nf";
        let code = code_without_tests(text);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "d", "f"]);
        assert_eq!(line_of(&code, code.find('f').unwrap()), 7);
    }
}
