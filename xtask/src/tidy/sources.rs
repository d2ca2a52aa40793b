//! Every file says what it is for, none grows too long, none is unfinished.

use super::Source;
use super::rust_text::{code, line_of};

/// Lines; a file beyond it is two things.
const LONGEST: usize = 500;

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        faults.extend(undocumented(source));
        faults.extend(too_long(source));
        faults.extend(unfinished(source));
    }
    faults
}

fn undocumented(source: &Source) -> Option<String> {
    (!source.is_data() && !source.text.starts_with("//!"))
        .then(|| format!("{}:1: no `//!` that says what the file is for", source.path))
}

fn too_long(source: &Source) -> Option<String> {
    let (directory, rest) = source.path.split_once('/')?;
    let lines = source.text.lines().count();
    (directory.starts_with("bento-") && rest.starts_with("src/") && lines > LONGEST)
        .then(|| format!("{}: {lines} lines, {LONGEST} are enough", source.path))
}

fn unfinished(source: &Source) -> Vec<String> {
    let code = code(&source.text);
    let marks = ["todo!", "unimplemented!"];
    let found = marks.iter().flat_map(|mark| code.match_indices(mark));
    found
        .map(|(at, mark)| format!("{}:{}: `{mark}`", source.path, line_of(&code, at)))
        .collect()
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
    fn a_file_without_documentation_is_a_fault_unless_it_is_data() {
        assert_eq!(
            faults_in("tests/a.rs", "fn a() {}"),
            ["tests/a.rs:1: no `//!` that says what the file is for"]
        );
        assert_eq!(
            faults_in("bento-core/tests/ui/a.rs", "fn a() {}"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_long_file_is_a_fault_in_the_sources_of_a_crate_only() {
        let text = format!("//! x\n{}", "\n".repeat(LONGEST));
        assert_eq!(faults_in("bento-core/src/a.rs", &text).len(), 1);
        assert_eq!(
            faults_in("bento-core/tests/a.rs", &text),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_unfinished_place_is_a_fault_and_a_comment_about_one_is_not() {
        assert_eq!(
            faults_in("a.rs", "//! x\n// todo!()\nfn a() { todo!() }"),
            ["a.rs:3: `todo!`"]
        );
    }
}
