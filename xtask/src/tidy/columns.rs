//! Lines of Rust have at most 100 columns, comments included.
//!
//! Longer may be the rows of a table in a comment, and a line whose excess cannot be broken: a link
//! that has the line of a comment to itself, and raw text.

use super::Source;
use super::rust_text::raw_texts;

/// The columns of rustfmt's `max_width`.
const WIDTH: usize = 100;

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| !source.is_data())
        .flat_map(faults_of)
        .collect()
}

fn faults_of(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let mut start = 0;
    for (index, line) in source.text.split_inclusive('\n').enumerate() {
        let excess = line.trim_end_matches('\n').char_indices().nth(WIDTH);
        if let Some((offset, _)) = excess
            && !is_unbreakable_comment(line)
            && !raw_texts(&source.text).any(|text| text.contains(&(start + offset)))
        {
            let columns = line.trim_end_matches('\n').chars().count();
            faults.push(format!(
                "{}:{}: {columns} columns, {WIDTH} are allowed",
                source.path,
                index + 1
            ));
        }
        start += line.len();
    }
    faults
}

/// True for the row of a table, and for a comment of one word.
fn is_unbreakable_comment(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("//") else {
        return false;
    };
    let text = comment.trim_start_matches(['/', '!']).trim();
    text.starts_with('|') || !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_in(text: &str) -> Vec<String> {
        faults(&[Source {
            path: "xtask/src/a.rs".to_owned(),
            text: text.to_owned(),
        }])
    }

    #[test]
    fn a_line_of_more_than_a_hundred_columns_is_a_fault() {
        let allowed = format!("// é {}\n", "x".repeat(WIDTH - 5));
        assert_eq!(faults_in(&allowed), Vec::<String>::new());
        let longer = format!("//! a\n// é {}\n", "x".repeat(WIDTH - 4));
        assert_eq!(
            faults_in(&longer),
            ["xtask/src/a.rs:2: 101 columns, 100 are allowed"]
        );
    }

    #[test]
    fn tables_links_and_raw_texts_may_be_longer() {
        let long = "x".repeat(WIDTH);
        for line in [
            format!("//! | a | {long} |"),
            format!("    /// <https://{long}>"),
            format!("a(r#\"b {long}\"#);"),
        ] {
            assert_eq!(faults_in(&line), Vec::<String>::new(), "{line}");
        }
        assert_eq!(faults_in(&format!("a(\"b {long}\");")).len(), 1);
    }
}
