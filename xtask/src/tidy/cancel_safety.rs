//! Every public async function of the published crates says what becomes of it when its future is
//! dropped.

use super::Source;

const CRATES: [&str; 7] = [
    "bento/src/",
    "bento-core/src/",
    "bento-relay/src/",
    "bento-seaorm/src/",
    "bento-handlers/src/",
    "bento-brokers/src/",
    "bento-testkit/src/",
];
const SECTION: &str = "# Cancel safety";

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let published = sources
        .iter()
        .filter(|source| CRATES.iter().any(|begin| source.path.starts_with(begin)));
    published
        .filter(|source| !is_test(&source.path))
        .flat_map(faults_of)
        .collect()
}

/// The rules of the conformance suites are tests; the modules around them say so once for all of
/// them.
const RULES: [&str; 4] = [
    "bento-testkit/src/store/",
    "bento-testkit/src/publisher/",
    "bento-testkit/src/source/",
    "bento-testkit/src/event_store/",
];

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || RULES.iter().any(|rules| path.starts_with(rules))
}

fn faults_of(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut faults = Vec::new();
    let mut in_trait = false;
    let mut has_section = false;
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if code.starts_with("#[cfg(test)]") {
            break;
        }
        if *line == "}" {
            in_trait = false;
        } else if line.starts_with("pub trait ") {
            in_trait = true;
        }
        if code.starts_with("///") {
            has_section |= code.contains(SECTION);
            continue;
        }
        if code.starts_with("#[") {
            continue;
        }
        if let Some(name) = async_function(&lines[at..], in_trait)
            && !has_section
        {
            faults.push(format!(
                "{}:{}: `{name}` is async and has no section `{SECTION}`",
                source.path,
                at + 1
            ));
        }
        has_section = false;
    }
    faults
}

/// The name of the public async function whose signature begins here.
fn async_function<'a>(lines: &[&'a str], in_trait: bool) -> Option<&'a str> {
    let code = lines[0].trim_start();
    let is_member = in_trait && lines[0].starts_with("    ") && !lines[0].starts_with("     ");
    let rest = match code.strip_prefix("pub ") {
        Some(rest) => rest,
        None if is_member => code,
        None => return None,
    };
    let (is_async, rest) = match rest.strip_prefix("async ") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let name = rest.strip_prefix("fn ")?.split(['(', '<']).next()?;
    (is_async || returns_future(lines)).then_some(name)
}

/// True if the signature that begins here returns a future, which may stand some lines below.
fn returns_future(lines: &[&str]) -> bool {
    for line in lines {
        if line.contains("-> impl Future") || line.contains("-> BoxFuture<") {
            return true;
        }
        if line.ends_with(';') || line.ends_with('{') {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_in(path: &str, text: &str) -> usize {
        faults(&[Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }])
        .len()
    }

    #[test]
    fn a_public_async_function_has_the_section() {
        let without = "/// Waits.\n#[must_use]\npub async fn wait() {}\n";
        let with =
            "/// Waits.\n///\n/// # Cancel safety\n/// Nothing is lost.\npub async fn wait() {}\n";
        assert_eq!(faults_in("bento-core/src/id.rs", without), 1);
        assert_eq!(faults_in("bento-core/src/id.rs", with), 0);
        assert_eq!(faults_in("bento-core/src/id/tests.rs", without), 0);
        assert_eq!(faults_in("xtask/src/main.rs", without), 0);
        assert_eq!(
            faults_in(
                "bento-core/src/id.rs",
                "pub(crate) async fn wait() {}\nfn f() {}\n"
            ),
            0
        );
        assert_eq!(
            faults_in(
                "bento-core/src/id.rs",
                "#[cfg(test)]\nmod tests {\n    pub async fn wait() {}\n}\n"
            ),
            0
        );
    }

    #[test]
    fn a_function_of_a_public_trait_has_it_too() {
        let text = "pub trait Wait {\n    /// Waits.\n    fn wait(\n        &self,\n    ) -> impl \
                    Future<Output = ()> + Send;\n    fn now(&self);\n}\n";
        assert_eq!(faults_in("bento-seaorm/src/wait.rs", text), 1);
        assert_eq!(
            faults_in(
                "bento-seaorm/src/wait.rs",
                &text.replace("impl Future<Output = ()> + Send", "BoxFuture<'_, ()>")
            ),
            1
        );
        assert_eq!(
            faults_in(
                "bento-seaorm/src/wait.rs",
                &text.replace("pub trait", "trait")
            ),
            0
        );
        assert_eq!(
            faults_in(
                "bento-seaorm/src/wait.rs",
                &text.replace("Waits.", "# Cancel safety")
            ),
            0
        );
    }
}
