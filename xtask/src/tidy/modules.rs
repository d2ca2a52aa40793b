//! The module order of `bento-core` is the journey of an event: a module uses only what stands above it in the table of ARCHITECTURE.md.

use super::Source;
use super::rust_text::{code_without_tests, line_of};

const CRATE: &str = "bento-core/src/";
const PAGE: &str = "ARCHITECTURE.md";
const HEADING: &str = "### `bento-core`";

/// The rows of the table, from top to bottom. Modules of one row may use each other.
type Layers<'a> = Vec<Vec<&'a str>>;

pub(super) fn faults(rust: &[Source], markdown: &[Source]) -> Vec<String> {
    let page = markdown.iter().find(|source| source.path == PAGE);
    let layers = page.map(|page| layers(&page.text)).unwrap_or_default();
    if layers.is_empty() {
        return vec![format!("{PAGE}: `{HEADING}` has no table of modules")];
    }
    let modules = rust.iter().filter_map(|source| Some((source, module(&source.path)?)));
    modules.flat_map(|(source, module)| faults_of(source, module, &layers)).collect()
}

/// The modules in the first column of the first table below the heading.
fn layers(page: &str) -> Layers<'_> {
    let section = page.lines().skip_while(|line| *line != HEADING).skip(1);
    let rows = section.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    // The first two are the head of the table and the line below it.
    rows.skip(2).map(|row| first_cell(row).split('`').skip(1).step_by(2).collect()).collect()
}

fn first_cell(row: &str) -> &str {
    row.trim_start_matches('|').split('|').next().unwrap_or_default()
}

/// The top module that a file of `bento-core` belongs to; none for the root of the crate and for test files.
fn module(path: &str) -> Option<&str> {
    let path = path.strip_prefix(CRATE)?.strip_suffix(".rs")?;
    let is_test = path.rsplit('/').next().is_some_and(|file| file == "tests");
    let module = path.split('/').next()?;
    (module != "lib" && !is_test).then_some(module)
}

fn faults_of(source: &Source, module: &str, layers: &Layers<'_>) -> Vec<String> {
    let layer = |name: &str| layers.iter().position(|layer| layer.contains(&name));
    let Some(own_layer) = layer(module) else {
        return vec![format!("{}: `{module}` has no place in the table of {PAGE}", source.path)];
    };
    let code = code_without_tests(&source.text);
    let mut faults = Vec::new();
    for (at, name) in imports(&code) {
        // Other names are items that the root of the crate exports.
        if layer(name).is_some_and(|layer| layer > own_layer) {
            let line = line_of(&code, at);
            faults.push(format!("{}:{line}: `{module}` uses `crate::{name}`, which stands below it", source.path));
        }
    }
    faults
}

/// Each first name behind `crate::`, also those of a group, with its position.
fn imports(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, matched) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|before| before == '$' || before == '_' || before.is_alphanumeric()) {
            continue;
        }
        let rest = at + matched.len();
        if code[rest..].starts_with('{') {
            found.extend(group(code, rest));
        } else {
            found.push((rest, identifier(&code[rest..])));
        }
    }
    found
}

/// The first names of `{a, b::c, d::{e, f}}`, whose opening brace is at `open`.
fn group(code: &str, open: usize) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut name_is_due = false;
    for (offset, next) in code[open..].char_indices() {
        match next {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(next, '{' | ',') {
            name_is_due = true;
        } else if name_is_due && !next.is_whitespace() {
            names.push((open + offset, identifier(&code[open + offset..])));
            name_is_due = false;
        }
    }
    names
}

fn identifier(text: &str) -> &str {
    let end = text.find(|next: char| !(next.is_alphanumeric() || next == '_')).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "### `bento-core`\n\nIn order.\n\n| module | what it holds |\n|---|---|\n| `id` | ids |\n\
        | `event`, `codec` | events, `outbox` |\n| `outbox` | shards |\n| `publish`, `relay` | the way out |\n\n| `utils` | |\n";

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    fn faults_in(path: &str, text: &str) -> Vec<String> {
        faults(&[source(path, text)], &[source(PAGE, TABLE)])
    }

    #[test]
    fn a_module_may_not_use_what_stands_below_it() {
        let faults =
            faults_in("bento-core/src/event/field.rs", "//! x\nuse crate::id::Id;\nuse crate::relay::Relay;\n");
        assert_eq!(faults, ["bento-core/src/event/field.rs:3: `event` uses `crate::relay`, which stands below it"]);
    }

    #[test]
    fn every_name_of_a_group_and_every_path_in_code_counts() {
        let text = "use crate::{\n    id::{Id, relay},\n    outbox::Row,\n};\nfn f() { crate::publish::g() }\n";
        assert_eq!(faults_in("bento-core/src/event.rs", text).len(), 2);
    }

    #[test]
    fn comments_texts_and_tests_are_free() {
        let text = "/// See [`crate::relay`].\nconst A: &str = \"crate::relay\";\n#[cfg(test)]\nmod tests {\n    use crate::relay::Relay;\n}\n";
        assert_eq!(faults_in("bento-core/src/event.rs", text), Vec::<String>::new());
        assert_eq!(faults_in("bento-core/src/event/tests.rs", "use crate::relay::Relay;"), Vec::<String>::new());
    }

    #[test]
    fn a_module_without_a_place_is_a_fault() {
        assert_eq!(faults_in("bento-core/src/utils.rs", "//! x").len(), 1);
    }

    #[test]
    fn modules_of_one_row_may_use_each_other() {
        assert_eq!(faults_in("bento-core/src/event.rs", "use crate::codec::Codec;"), Vec::<String>::new());
        assert_eq!(faults_in("bento-core/src/codec.rs", "use crate::event::Event;"), Vec::<String>::new());
    }

    #[test]
    fn a_page_without_the_table_is_a_fault() {
        assert_eq!(faults(&[], &[source(PAGE, "### `bento-core`\n\n### `bento-seaorm`\n")]).len(), 1);
    }
}
