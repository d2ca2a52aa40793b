//! Each decision page is named by a file that it explains, and listed in the table of the pages.

use super::Source;

const FOLDER: &str = "docs/decisions/";
const TEMPLATE: &str = "0000-template.md";
const MARK: &str = "//! Decision: ";

pub(super) fn faults(rust: &[Source], markdown: &[Source]) -> Vec<String> {
    let pages: Vec<&str> = markdown
        .iter()
        .filter_map(|page| page.path.strip_prefix(FOLDER))
        .filter(|page| page.starts_with(|first: char| first.is_ascii_digit()) && *page != TEMPLATE)
        .collect();
    let table = markdown
        .iter()
        .find(|page| page.path.strip_prefix(FOLDER) == Some("README.md"))
        .map_or("", |page| &page.text);
    let named: Vec<(&Source, &str)> = rust
        .iter()
        .flat_map(|file| {
            let marked = file.text.lines().filter_map(|line| line.strip_prefix(MARK));
            marked.map(move |page| (file, page))
        })
        .collect();
    let unnamed = pages
        .iter()
        .filter(|page| {
            !named
                .iter()
                .any(|(_, name)| name.strip_prefix(FOLDER) == Some(page))
        })
        .map(|page| {
            format!("{FOLDER}{page}: no file names it: write `{MARK}{FOLDER}{page}` in one")
        });
    let unlisted = pages
        .iter()
        .filter(|page| !table.contains(&format!("]({page})")))
        .map(|page| format!("{FOLDER}README.md: `{page}` is missing in the table"));
    let gone = named
        .iter()
        .filter(|(_, name)| {
            !pages
                .iter()
                .any(|page| name.strip_prefix(FOLDER) == Some(page))
        })
        .map(|(file, name)| format!("{}: there is no page `{name}`", file.path));
    unnamed.chain(unlisted).chain(gone).collect()
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

    #[test]
    fn a_page_is_listed_and_named_by_a_file() {
        let markdown = [
            source("docs/decisions/0000-template.md", ""),
            source("docs/decisions/0001-a.md", ""),
            source("docs/decisions/0002-b.md", ""),
            source("docs/decisions/README.md", "[0001-a](0001-a.md)"),
        ];
        let named = source("a/src/lib.rs", "//! Decision: docs/decisions/0001-a.md\n");
        let gone = source("a/src/b.rs", "//! Decision: docs/decisions/0003-c.md\n");
        assert_eq!(
            faults(&[named, gone], &markdown),
            [
                "docs/decisions/0002-b.md: no file names it: write `//! Decision: \
                 docs/decisions/0002-b.md` in one",
                "docs/decisions/README.md: `0002-b.md` is missing in the table",
                "a/src/b.rs: there is no page `docs/decisions/0003-c.md`",
            ]
        );
    }
}
