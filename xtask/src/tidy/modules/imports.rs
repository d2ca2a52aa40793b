//! Paths in the code of a module, and the modules that they lead to.

use super::super::rust_text::{code_without_tests, line_of};
use super::{Crate, Module};

/// A path in one module that leads into another one.
pub(super) struct Import {
    pub(super) from: Module,
    pub(super) to: Module,
    pub(super) line: usize,
}

/// The imports of one module, those of its inner paths too.
pub(super) fn imports(krate: &Crate<'_>, module: &Module) -> Vec<Import> {
    let code = code_without_tests(&krate.modules[module].text);
    let paths = paths(&code).into_iter();
    let found = paths.filter_map(|(at, path)| {
        let to = target(krate, module, &path)?;
        Some(Import {
            from: module.clone(),
            to,
            line: line_of(&code, at),
        })
    });
    found.collect()
}

/// The module that a path leads to: the longest part of it that is one.
fn target(krate: &Crate<'_>, module: &Module, path: &[&str]) -> Option<Module> {
    let mut names = path.iter();
    let mut found = match *names.next()? {
        "crate" => Module::new(),
        "self" => module.clone(),
        "super" => parent(module)?,
        _ => return None,
    };
    for &name in names {
        if name == "super" {
            found = parent(&found)?;
            continue;
        }
        let mut child = found.clone();
        child.push(name.to_owned());
        if !krate.modules.contains_key(&child) {
            return Some(if found.is_empty() {
                exported(krate, name).unwrap_or(found)
            } else {
                found
            });
        }
        found = child;
    }
    Some(found)
}

fn parent(module: &Module) -> Option<Module> {
    Some(module.split_last()?.1.to_vec())
}

/// The module from which the root of the crate exports a name.
fn exported(krate: &Crate<'_>, name: &str) -> Option<Module> {
    let root = krate.modules.get(&Module::new())?;
    let code = code_without_tests(&root.text);
    let exports = code
        .match_indices("pub use self::")
        .map(|(at, matched)| at + matched.len());
    exports
        .filter_map(|at| code[at..].split_once(';'))
        .find_map(|(export, _)| {
            let names = export.split(|next: char| !is_part_of_a_name(next));
            let is_exported = names.clone().any(|own| own == name);
            is_exported.then(|| names.take(1).map(str::to_owned).collect())
        })
}

/// Each path that begins with `crate`, `super` or `self`, also those of a group, with its position.
fn paths(code: &str) -> Vec<(usize, Vec<&str>)> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before
                .is_none_or(|before| !(before == '$' || before == ':' || is_part_of_a_name(before)))
            {
                walk(code, at, &[], &mut found);
            }
        }
    }
    found
}

/// Adds the paths that begin at `at`, behind `before`. Returns the position behind them.
fn walk<'a>(
    code: &'a str,
    mut at: usize,
    before: &[&'a str],
    found: &mut Vec<(usize, Vec<&'a str>)>,
) -> usize {
    let start = at;
    let mut path = before.to_vec();
    loop {
        let name = name_at(&code[at..]);
        if !name.is_empty() {
            path.push(name);
            at += name.len();
            if let Some(rest) = code[at..].strip_prefix("::") {
                at = code.len() - rest.len();
                continue;
            }
        } else if code[at..].starts_with('{') && !path.is_empty() {
            return group(code, at + 1, &path, found);
        }
        break;
    }
    found.push((start, path));
    at
}

/// Adds the paths of a group whose first one begins at `at`. Returns the position behind the group.
fn group<'a>(
    code: &'a str,
    mut at: usize,
    before: &[&'a str],
    found: &mut Vec<(usize, Vec<&'a str>)>,
) -> usize {
    while let Some(next) = code[at..].chars().next() {
        if next == '}' {
            return at + 1;
        }
        if is_part_of_a_name(next) {
            at = walk(code, at, before, found);
            // A new name behind `as` is not a path.
            at += code[at..].find([',', '}']).unwrap_or(code.len() - at);
        } else {
            at += next.len_utf8();
        }
    }
    at
}

fn name_at(text: &str) -> &str {
    let end = text
        .find(|next: char| !is_part_of_a_name(next))
        .unwrap_or(text.len());
    &text[..end]
}

fn is_part_of_a_name(next: char) -> bool {
    next == '_' || next.is_alphanumeric()
}
