//! Each promise in the tables of `docs/guarantees.md` names its test, and the test is there.

use std::collections::BTreeSet;

use super::Source;

const PAGE: &str = "docs/guarantees.md";
/// The head of the column that names tests.
const COLUMN: &str = "test";

pub(super) fn faults(rust: &[Source], markdown: &[Source]) -> Vec<String> {
    let Some(page) = markdown.iter().find(|page| page.path == PAGE) else {
        return vec![format!("there is no {PAGE}")];
    };
    let words: BTreeSet<&str> = rust
        .iter()
        .flat_map(|file| file.text.split(|c: char| !is_of_a_name(c)))
        .collect();
    let mut column = None;
    let mut faults = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let cells = cells(line);
        match column {
            _ if cells.is_empty() => column = None,
            None => column = Some(cells.iter().position(|cell| *cell == COLUMN)),
            Some(Some(tests)) if !line.starts_with("|---") => {
                let cell = cells.get(tests).copied().unwrap_or_default();
                let place = format!("{PAGE}:{}", index + 1);
                faults.extend(faults_of(cell, &words, &place));
            }
            Some(_) => {}
        }
    }
    faults
}

/// The faults of one cell: a test that is not there, or neither a test nor a page.
fn faults_of(cell: &str, words: &BTreeSet<&str>, place: &str) -> Vec<String> {
    let spans: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    if spans.is_empty() && !cell.contains("](") {
        return vec![format!(
            "{place}: the promise names no test: write the name of one, or the page that has it"
        )];
    }
    let names = spans.iter().filter(|span| span.chars().all(is_of_a_name));
    names
        .filter(|name| !words.contains(**name))
        .map(|name| format!("{place}: there is no test `{name}`"))
        .collect()
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The cells of a row of a table; none in any other line.
fn cells(line: &str) -> Vec<&str> {
    let row = line.strip_prefix("| ").or(line.strip_prefix("|---"));
    row.map_or_else(Vec::new, |row| {
        row.trim_end_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn judged(rows: &str) -> Vec<String> {
        let text = format!("# Page\n\n| promise | test |\n|---|---|\n{rows}\n");
        let rust = [source("a.rs", "async fn an_event_is_there() {}")];
        faults(&rust, &[source(PAGE, &text)])
    }

    #[test]
    fn a_promise_names_a_test_that_is_there() {
        assert!(judged("| one | `an_event_is_there` in `tests/a.rs` |").is_empty());
        assert!(judged("| one | on [a page](a.md) |").is_empty());
        assert_eq!(
            judged("| one | `an_event_is_there`, `another` |"),
            [format!("{PAGE}:5: there is no test `another`")]
        );
    }

    #[test]
    fn a_promise_without_a_test_is_a_fault() {
        assert_eq!(judged("| one | as we know |").len(), 1);
    }

    #[test]
    fn a_table_without_tests_is_no_promise() {
        let text = "| word | meaning |\n|---|---|\n| one | `two` |\n";
        assert!(faults(&[], &[source(PAGE, text)]).is_empty());
    }
}
