//! The paths that ARCHITECTURE.md and CONTRIBUTING.md name lead to files and folders.

use super::Source;
use crate::workspace::root;

/// The pages that tell a reader in which file something is.
const MAPS: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| MAPS.contains(&source.path.as_str()))
        .flat_map(faults_of)
        .collect()
}

fn faults_of(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for path in paths(line).filter(|path| !root().join(path).exists()) {
            let number = index + 1;
            faults.push(format!("{}:{number}: there is no `{path}`", source.path));
        }
    }
    faults
}

/// The quoted paths of a line that begin with a folder of the workspace. Of `a/{b,c}.rs` there are
/// two.
fn paths(line: &str) -> impl Iterator<Item = String> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter(|text| is_path(text)).flat_map(alternatives)
}

/// True for a path from the root, without a placeholder.
fn is_path(text: &str) -> bool {
    let is_here = |folder: &str| !folder.is_empty() && root().join(folder).is_dir();
    let folder = text.split_once('/').map_or("", |(folder, _)| folder);
    !text.contains([' ', '<', '*']) && is_here(folder)
}

fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let (names, after) = rest.split_once('}').unwrap_or((rest, ""));
    let of_name = |name| format!("{before}{name}{after}");
    names.split(',').map(of_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_in(text: &str) -> Vec<String> {
        faults(&[Source {
            path: "CONTRIBUTING.md".to_owned(),
            text: text.to_owned(),
        }])
    }

    #[test]
    fn a_path_to_no_file_is_a_fault() {
        let text = "a `xtask/src/none.rs` and\n`xtask/src/tidy/{paths,none}.rs`";
        assert_eq!(
            faults_in(text),
            [
                "CONTRIBUTING.md:1: there is no `xtask/src/none.rs`",
                "CONTRIBUTING.md:2: there is no `xtask/src/tidy/none.rs`",
            ]
        );
    }

    #[test]
    fn placeholders_and_other_words_are_left_alone() {
        let text = "`xtask/<name>.rs`, `route/none.rs`, `cargo xtask/none`, `/etc/none`";
        assert_eq!(faults_in(text), Vec::<String>::new());
    }
}
