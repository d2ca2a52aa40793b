//! The messages in the tables of what does not compile are what a build says.
//!
//! Each of them stands in the expected output of a test of compile errors, or, if only the linker
//! says it, its symbol in the test that links. Where the table joins a diagnostic with its label or
//! its help by `: `, or leaves something out with `…`, the parts stand in one output.

use std::fs;

use super::Source;
use crate::Result;
use crate::workspace::root;

/// The pages with such tables.
const PAGES: [&str; 2] = ["README.md", "docs/compile-errors.md"];
/// The head of such a table.
const HEAD: &str = "| mistake | message |";
const DECLARATIONS: &str = "bento-core/tests/declarations.rs";
/// The names of symbols in the messages of the linker, whose other words differ from linker to
/// linker.
const SYMBOL: &str = "bento__";

pub(super) fn faults(markdown: &[Source], expected: &[Source]) -> Result<Vec<String>> {
    let declarations = fs::read_to_string(root().join(DECLARATIONS))?;
    let mut faults = Vec::new();
    for path in PAGES {
        let page = markdown.iter().find(|source| source.path == path);
        let page = page.ok_or_else(|| format!("there is no {path}"))?;
        faults.extend(faults_of(page, expected, &declarations));
    }
    Ok(faults)
}

fn faults_of(page: &Source, expected: &[Source], declarations: &str) -> Vec<String> {
    let expected: Vec<String> = expected.iter().map(|source| normal(&source.text)).collect();
    let messages = messages(&page.text);
    let mut faults = Vec::new();
    let path = &page.path;
    if messages.is_empty() {
        faults.push(format!("{path}: there is no table `{HEAD}`"));
    }
    for (line, message) in messages {
        let is_said = match symbol(&message) {
            Some(symbol) => declarations.contains(symbol),
            None => expected.iter().any(|text| stands_in(text, &message)),
        };
        if !is_said {
            faults.push(format!(
                "{path}:{line}: no test expects the message `{message}`"
            ));
        }
    }
    faults
}

/// The code in the second column of each table, with its line.
fn messages(page: &str) -> Vec<(usize, String)> {
    let mut is_table = false;
    let mut messages = Vec::new();
    for (index, line) in page.lines().enumerate() {
        let is_head = line == HEAD;
        if is_table && line.starts_with('|') && !line.starts_with("|---") {
            messages.push((index + 1, code(cell(line)).unwrap_or_default()));
        }
        is_table = is_head || is_table && line.starts_with('|');
    }
    messages
}

fn cell(row: &str) -> &str {
    row.trim_matches('|')
        .split_once(" | ")
        .map_or("", |(_, second)| second)
        .trim()
}

/// The first code span of a text: as many backticks as open it close it.
fn code(text: &str) -> Option<String> {
    let ticks = text.len() - text.trim_start_matches('`').len();
    let (code, _) = text.get(ticks..)?.split_once(&"`".repeat(ticks.max(1)))?;
    (ticks > 0).then(|| normal(code))
}

fn symbol(message: &str) -> Option<&str> {
    let from = message.find(SYMBOL)?;
    message[from..].split('`').next()
}

/// True if the text has the message, whole or in its parts.
fn stands_in(text: &str, message: &str) -> bool {
    if message.is_empty() {
        return false;
    }
    let in_two = |joint: &str| {
        let mut splits = message.match_indices(joint);
        splits.any(|(at, _)| {
            text.contains(&message[..at]) && stands_in(text, message[at + joint.len()..].trim())
        })
    };
    text.contains(message) || in_two(": ") || in_two("…")
}

fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &str = "error: `A` cannot be raised\n  | ^ not an event\n  = note: the keys \
                            are `a`, `b`, `c`; did\n   you mean `a`?";

    fn judged(message: &str) -> bool {
        let text = format!("# Page\n\n{HEAD}\n|---|---|\n| one | {message} |\n\n## Next\n");
        let expected = [Source {
            path: "a.stderr".to_owned(),
            text: EXPECTED.to_owned(),
        }];
        faults_of(
            &page(&text),
            &expected,
            "const SYMBOL: &str = \"bento__event__a\";",
        )
        .is_empty()
    }

    fn page(text: &str) -> Source {
        Source {
            path: PAGES[0].to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_message_is_in_an_output_whole_or_in_parts_of_the_table() {
        assert!(judged("`` `A` cannot be raised``"));
        assert!(judged("``  `A` cannot be raised: not an event ``"));
        assert!(judged("`` the keys are `a`, …; did you mean `a`?``"));
        assert!(!judged("`` `B` cannot be raised``"));
        assert!(!judged("`` `A` cannot be raised: not an aggregate``"));
        assert!(!judged("no code"));
    }

    #[test]
    fn a_message_of_the_linker_is_looked_up_by_its_symbol() {
        assert!(judged("`` duplicate symbol: bento__event__a ``"));
        assert!(!judged("`` duplicate symbol: bento__event__b ``"));
    }

    #[test]
    fn a_page_without_a_table_is_a_fault() {
        assert_eq!(faults_of(&page("# Bento\n"), &[], "").len(), 1);
    }
}
