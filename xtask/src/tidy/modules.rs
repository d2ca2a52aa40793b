//! The module order of `bento-core` is the journey of an event: a module uses only what stands above it.

use super::Source;
use super::rust_text::{code_without_tests, line_of};

const CRATE: &str = "bento-core/src/";

/// From top to bottom; modules of one layer may use each other.
///
/// Architecture Invariant: a new module gets its place here, and nothing imports upwards.
const LAYERS: [&[&str]; 8] = [
    &["id", "clock", "duration", "error", "telemetry", "trace"],
    &["event", "codec", "upcast", "registry"],
    &["metadata", "envelope", "limits"],
    &["outbox"],
    &["pending", "unit_of_work", "aggregate"],
    &["publish", "retry", "task"],
    &["route"],
    &["relay", "tenant", "dead_letter", "inspect", "private"],
];

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        if let Some(module) = module(&source.path) {
            faults.extend(faults_of(source, module));
        }
    }
    faults
}

/// The top module that a file of `bento-core` belongs to; none for the root of the crate and for test files.
fn module(path: &str) -> Option<&str> {
    let path = path.strip_prefix(CRATE)?.strip_suffix(".rs")?;
    let is_test = path.rsplit('/').next().is_some_and(|file| file == "tests");
    let module = path.split('/').next()?;
    (module != "lib" && !is_test).then_some(module)
}

fn faults_of(source: &Source, module: &str) -> Vec<String> {
    let Some(own_layer) = layer(module) else {
        return vec![format!("{}: `{module}` has no place in xtask's list of layers", source.path)];
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

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
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

    fn faults_in(path: &str, text: &str) -> Vec<String> {
        faults(&[Source { path: path.to_owned(), text: text.to_owned() }])
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
}
