//! Only `backend`, `dialect` and `wake` of `bento-seaorm` tell one back end from another, as
//! ARCHITECTURE.md says.

use super::Source;
use super::rust_text::{code_without_tests, line_of};

const CRATE: &str = "bento-seaorm/src/";

/// The modules that may name a back end.
const ALLOWED: [&str; 3] = ["backend", "dialect", "wake"];

/// The names by which SeaORM and sqlx tell back ends apart.
const NAMES: [&str; 6] = [
    "DbBackend::Postgres",
    "DbBackend::MySql",
    "DbBackend::Sqlite",
    "SqlxPostgres",
    "SqlxMySql",
    "SqlxSqlite",
];

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| is_bound(&source.path))
        .flat_map(faults_of)
        .collect()
}

fn is_bound(path: &str) -> bool {
    let Some(path) = path.strip_prefix(CRATE) else {
        return false;
    };
    let module = path.split('/').next().unwrap_or(path);
    let module = module.strip_suffix(".rs").unwrap_or(module);
    let is_test =
        path == "test_database.rs" || path.ends_with("/tests.rs") || path.contains("/tests/");
    !(is_test || ALLOWED.contains(&module))
}

fn faults_of(source: &Source) -> Vec<String> {
    let code = code_without_tests(&source.text);
    let found = NAMES.iter().flat_map(|name| code.match_indices(name));
    let faults = found.map(|(at, name)| {
        let line = line_of(&code, at);
        format!(
            "{}:{line}: `{name}`: ask a function of `backend` or `dialect` instead",
            source.path
        )
    });
    faults.collect()
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
    fn a_back_end_is_named_in_three_modules_only() {
        let text = "fn f(backend: DbBackend) -> bool {\n    backend == DbBackend::Sqlite\n}\n";
        assert_eq!(faults_in("bento-seaorm/src/outbox.rs", text), 1);
        assert_eq!(faults_in("bento-seaorm/src/dialect/sqlite.rs", text), 0);
        assert_eq!(faults_in("bento-seaorm/src/dialect.rs", text), 0);
        assert_eq!(faults_in("bento-seaorm/src/backend/errors.rs", text), 0);
        assert_eq!(faults_in("bento-seaorm/src/wake.rs", text), 0);
        assert_eq!(faults_in("bento-seaorm/src/connection.rs", text), 1);
        assert_eq!(faults_in("bento-seaorm/src/session/dialect.rs", text), 1);
        assert_eq!(faults_in("examples/shop/src/service.rs", text), 0);
    }

    #[test]
    fn comments_and_tests_are_free() {
        let text =
            "/// [`DbBackend::Sqlite`]\n#[cfg(test)]\nmod tests {\n    use DbBackend::MySql;\n}\n";
        assert_eq!(faults_in("bento-seaorm/src/outbox.rs", text), 0);
        assert_eq!(
            faults_in("bento-seaorm/src/outbox/tests.rs", "DbBackend::MySql"),
            0
        );
    }
}
