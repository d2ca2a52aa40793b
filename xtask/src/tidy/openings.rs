//! A doc comment opens with a noun phrase or a verb, not as a question or a riddle does.

use super::Source;

const REFUSED: [&str; 12] = [
    "What", "How", "Whether", "Who", "Where", "When", "Why", "That", "So", "Of", "For", "One that",
];

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| !source.is_data())
        .flat_map(faults_of)
        .collect()
}

fn faults_of(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let mut is_inside = false;
    for (index, line) in source.text.lines().enumerate() {
        let comment = doc_comment(line);
        if !is_inside && let Some(opening) = comment.and_then(refused) {
            faults.push(format!(
                "{}:{}: a doc comment opens with `{opening}`: begin with a noun or a verb",
                source.path,
                index + 1
            ));
        }
        is_inside = comment.is_some();
    }
    faults
}

/// The text of a line of a doc comment.
fn doc_comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///")
        .or_else(|| line.strip_prefix("//!"))
}

/// The refused opening with which a comment begins.
fn refused(comment: &str) -> Option<&'static str> {
    REFUSED.into_iter().find(|opening| {
        let after = comment.trim_start().strip_prefix(opening);
        after.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_in(path: &str, text: &str) -> Vec<String> {
        faults(&[Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }])
    }

    #[test]
    fn a_refused_opening_is_a_fault_in_each_block_of_comments() {
        let text = "//! Whether it is.\n\n/// One that is.\n    /// Why.\nfn a() {}\n/// How.\n";
        assert_eq!(
            faults_in("xtask/a.rs", text),
            [
                "xtask/a.rs:1: a doc comment opens with `Whether`: begin with a noun or a verb",
                "xtask/a.rs:3: a doc comment opens with `One that`: begin with a noun or a verb",
                "xtask/a.rs:6: a doc comment opens with `How`: begin with a noun or a verb",
            ]
        );
    }

    #[test]
    fn later_lines_other_words_and_data_are_left_alone() {
        let text =
            "/// The id.\n/// What more.\nfn a() {}\n/// Sorted, Formatted, Ones.\n// Why.\n";
        assert_eq!(faults_in("xtask/a.rs", text), Vec::<String>::new());
        assert_eq!(
            faults_in("tests/tests/ui/a.rs", "//! What."),
            Vec::<String>::new()
        );
    }
}
