//! Rust code in the README is quoted from a file that is compiled, and equal to it.
//!
//! A block of Rust follows the line `<!-- quoted from path/of/file.rs -->`. Its lines stand in that
//! file one after the other, perhaps indented further; a line `// …` leaves some out.

use std::fs;

use super::{Source, resolve};

const MARK: &str = "<!-- quoted from ";
const ELISION: &str = "// …";

/// A block of Rust in Markdown.
#[derive(Debug)]
struct Quotation<'a> {
    line: usize,
    from: Option<&'a str>,
    code: Vec<&'a str>,
}

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        for quotation in quotations(&source.text) {
            let reason = match quotation.from {
                Some(path) => differs(source, path, &quotation.code),
                None => (source.path == "README.md")
                    .then(|| format!("Rust without `{MARK}… -->` above it")),
            };
            faults.extend(
                reason.map(|reason| format!("{}:{}: {reason}", source.path, quotation.line)),
            );
        }
    }
    faults
}

fn quotations(text: &str) -> Vec<Quotation<'_>> {
    let mut quotations: Vec<Quotation<'_>> = Vec::new();
    let mut from = None;
    let mut in_rust = false;
    for (index, line) in text.lines().enumerate() {
        if in_rust {
            if line.starts_with("```") {
                in_rust = false;
            } else if let Some(quotation) = quotations.last_mut() {
                quotation.code.push(line);
            }
        } else if line.starts_with("```rust") {
            in_rust = true;
            quotations.push(Quotation {
                line: index + 1,
                from: from.take(),
                code: Vec::new(),
            });
        } else if !line.trim().is_empty() {
            from = line
                .trim()
                .strip_prefix(MARK)
                .and_then(|rest| rest.strip_suffix("-->"))
                .map(str::trim);
        }
    }
    quotations
}

fn differs(source: &Source, path: &str, code: &[&str]) -> Option<String> {
    let Ok(original) = fs::read_to_string(resolve(&source.path, path)) else {
        return Some(format!("quotes `{path}`, which cannot be read"));
    };
    let lines: Vec<&str> = original.lines().collect();
    let mut rest = lines.as_slice();
    for part in code.split(|line| line.trim() == ELISION) {
        let part = without_outer_blanks(part);
        let Some(at) = (0..=rest.len()).find(|at| is_quoted_at(&rest[*at..], part)) else {
            let first = part.first().unwrap_or(&"");
            return Some(format!(
                "`{path}` has no such lines, from `{}`",
                first.trim()
            ));
        };
        rest = &rest[at + part.len()..];
    }
    None
}

fn without_outer_blanks<'a, 'b>(mut lines: &'a [&'b str]) -> &'a [&'b str] {
    while let [first, rest @ ..] = lines
        && first.trim().is_empty()
    {
        lines = rest;
    }
    while let [rest @ .., last] = lines
        && last.trim().is_empty()
    {
        lines = rest;
    }
    lines
}

/// True if the file goes on with these lines, all indented by the same further amount.
fn is_quoted_at(file: &[&str], part: &[&str]) -> bool {
    let Some(first) = part.first() else {
        return true;
    };
    if file.len() < part.len() {
        return false;
    }
    let Some(indent) = file[0]
        .strip_suffix(first)
        .filter(|indent| indent.trim().is_empty())
    else {
        return false;
    };
    part.iter().zip(file).all(|(quoted, line)| {
        (quoted.trim().is_empty() && line.trim().is_empty())
            || line.strip_prefix(indent) == Some(quoted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: [&str; 5] = ["fn a() {", "    one();", "", "    two();", "}"];

    #[test]
    fn lines_may_be_indented_further_but_must_follow_each_other() {
        assert!(is_quoted_at(&FILE[1..], &["one();", "", "two();"]));
        assert!(!is_quoted_at(&FILE[1..], &["one();", "two();"]));
        assert!(!is_quoted_at(&FILE, &["one();"]));
    }

    #[test]
    fn rust_in_the_readme_must_name_its_source() {
        let readme = |text: &str| {
            faults(&[Source {
                path: "README.md".to_owned(),
                text: text.to_owned(),
            }])
        };
        assert_eq!(
            readme("```rust\na\n```\n"),
            ["README.md:1: Rust without `<!-- quoted from … -->` above it"]
        );
        let quoting = "<!-- quoted from xtask/src/tidy/quotations.rs -->\n\n```rust\nuse \
                       std::fs;\n// …\nNOPE\n```\n";
        assert_eq!(readme(quoting).len(), 1);
        assert_eq!(
            readme(&quoting.replace("NOPE", "use super::{Source, resolve};")),
            Vec::<String>::new()
        );
    }
}
