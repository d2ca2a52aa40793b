//! Counts libtest's output by suite and back end or broker.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{AddAssign, Sub};

use crate::Result;
use crate::servers::Kind;

/// The suites that every back end must pass.
const BACK_END_SUITES: [&str; 4] = ["store", "event_store", "transaction", "journey"];
/// The suites that every broker must pass.
const BROKER_SUITES: [&str; 2] = ["publisher", "source"];
/// Tests on a server that belong to none of them.
const OTHER: &str = "other";
const ROWS: [&str; 7] = [
    BACK_END_SUITES[0],
    BACK_END_SUITES[1],
    BACK_END_SUITES[2],
    BACK_END_SUITES[3],
    BROKER_SUITES[0],
    BROKER_SUITES[1],
    OTHER,
];

/// The tests that ran, read line by line from the output of `cargo test`.
#[derive(Debug)]
pub(super) struct Report {
    in_use: Vec<Kind>,
    /// As libtest counts, by suite and server; `None` is a test that needs no server.
    cells: BTreeMap<(&'static str, Option<&'static str>), Counts>,
    /// The totals that libtest prints at the end of each program.
    total: Counts,
    /// The tests that failed, by program and path.
    failures: Vec<String>,
    program: Program,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

/// The test program whose output is being read.
#[derive(Debug, Default)]
struct Program {
    /// As cargo calls it: the name of the package or of the integration test.
    name: String,
    is_integration_test: bool,
}

impl Report {
    pub(super) fn new(in_use: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            in_use: in_use.into_iter().collect(),
            cells: BTreeMap::new(),
            total: Counts::default(),
            failures: Vec::new(),
            program: Program::default(),
        }
    }

    /// Reads one line of cargo's or libtest's output; other lines are passed over.
    pub(super) fn read_line(&mut self, line: &str) {
        if let Some(program) = Program::from_line(line) {
            self.program = program;
        } else if let Some(summary) = line.strip_prefix("test result: ") {
            self.total += Counts::from_summary(summary);
        } else if let Some((path, counts)) = test_line(line) {
            self.read_test(path, counts);
        }
    }

    fn read_test(&mut self, path: &str, counts: Counts) {
        if counts.failed > 0 {
            self.failures.push(format!("{} {path}", self.program.name));
        }
        if let Some(cell) = self.program.cell(path) {
            *self.cells.entry(cell).or_default() += counts;
        }
    }

    /// # Errors
    /// If a test failed, or a suite did not run where it should have.
    pub(super) fn verdict(&self, cargo_succeeded: bool, all_was_asked_for: bool) -> Result {
        if self.total.failed > 0 {
            return Err(format!(
                "{} failed\n  {}",
                self.total.failed,
                self.failures.join("\n  ")
            )
            .into());
        }
        if !cargo_succeeded {
            return Err("cargo test failed although no test did; see above".into());
        }
        let holes = self.holes();
        if all_was_asked_for && !holes.is_empty() {
            return Err(format!("no test ran of: {}", holes.join(", ")).into());
        }
        Ok(())
    }

    fn holes(&self) -> Vec<String> {
        let mut holes = Vec::new();
        for kind in &self.in_use {
            let suites: &[_] = if kind.is_broker() {
                &BROKER_SUITES
            } else {
                &BACK_END_SUITES
            };
            let empty = suites
                .iter()
                .filter(|suite| self.counts(suite, Some(kind.name())).ran() == 0);
            holes.extend(empty.map(|suite| format!("{suite} on {}", kind.name())));
        }
        holes
    }

    fn counts(&self, suite: &'static str, server: Option<&'static str>) -> Counts {
        self.cells
            .get(&(suite, server))
            .copied()
            .unwrap_or_default()
    }

    /// The tests outside of the suites and without a server: unit tests, compile errors,
    /// documentation.
    fn remainder(&self) -> Counts {
        self.cells
            .values()
            .fold(self.total, |rest, counts| rest - *counts)
    }

    fn cell_text(&self, suite: &'static str, kind: Kind) -> String {
        let counts = self.counts(suite, Some(kind.name()));
        if self.in_use.contains(&kind) {
            counts.to_string()
        } else {
            // Without its server a test returns at once, which libtest calls passed.
            Counts {
                ignored: counts.passed + counts.ignored,
                ..Counts::default()
            }
            .to_string()
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut header: Vec<String> = Kind::ALL.map(|kind| kind.name().to_owned()).into();
        header.insert(0, "suite".to_owned());
        header.push("no server".to_owned());
        let mut rows = vec![header];
        for suite in ROWS {
            let mut row = vec![suite.to_owned()];
            row.extend(Kind::ALL.map(|kind| self.cell_text(suite, kind)));
            let mut free = self.counts(suite, None);
            if suite == OTHER {
                free += self.remainder();
            }
            row.push(free.to_string());
            rows.push(row);
        }
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].len())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        for row in &rows {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            writeln!(
                formatter,
                "{}",
                cells.collect::<Vec<_>>().join("  ").trim_end()
            )?;
        }
        write!(formatter, "all: {}", self.total)
    }
}

impl Counts {
    /// Reads `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
    fn from_summary(summary: &str) -> Self {
        let number = |word: &str| {
            let words: Vec<&str> = summary
                .split([' ', ';'])
                .filter(|word| !word.is_empty())
                .collect();
            let at = words.iter().position(|candidate| *candidate == word);
            at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok())
                .unwrap_or_default()
        };
        Self {
            passed: number("passed"),
            failed: number("failed"),
            ignored: number("ignored"),
        }
    }

    fn ran(self) -> usize {
        self.passed + self.failed
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            passed: self.passed.saturating_sub(other.passed),
            failed: self.failed.saturating_sub(other.failed),
            ignored: self.ignored.saturating_sub(other.ignored),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.ignored, "skipped"),
        ];
        let text: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        formatter.write_str(
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.join(", ")
            }
            .as_str(),
        )
    }
}

impl Program {
    /// Reads cargo's announcement of a test program:
    /// `Running tests/store.rs (target/debug/deps/store-0f…)`.
    fn from_line(line: &str) -> Option<Self> {
        let line = line.trim_start();
        if let Some(package) = line.strip_prefix("Doc-tests ") {
            return Some(Self {
                name: package.to_owned(),
                is_integration_test: false,
            });
        }
        let what = line
            .strip_prefix("Running ")
            .filter(|what| what.ends_with(')'))?;
        let (_, executable) = what.rsplit_once(['/', '\\'])?;
        let (name, _) = executable.rsplit_once('-')?;
        Some(Self {
            name: name.to_owned(),
            is_integration_test: !what.starts_with("unittests "),
        })
    }

    /// The suite and the server for which a test counts; `None` if it belongs to neither.
    ///
    /// An integration test may name the suite or the server by its file. That of a broker is the
    /// suite of its publisher, and with `_source` behind the name that of its source.
    fn cell(&self, path: &str) -> Option<(&'static str, Option<&'static str>)> {
        let segments: Vec<&str> = path.split("::").collect();
        let file = self.is_integration_test.then_some(self.name.as_str());
        let of_source = file.and_then(|file| file.strip_suffix("_source"));
        let file = of_source.or(file);
        let kind = segments
            .iter()
            .copied()
            .chain(file)
            .find_map(Kind::from_name)
            .map(Kind::name);
        let of_broker = file
            .and_then(Kind::from_name)
            .filter(|kind| kind.is_broker())
            .map(|_| match of_source {
                Some(_) => BROKER_SUITES[1],
                None => BROKER_SUITES[0],
            });
        match (
            file.and_then(suite)
                .or(of_broker)
                .or_else(|| suite(segments[0])),
            kind,
        ) {
            (Some(suite), _) => Some((suite, kind)),
            // Unit tests may sit in a module that is named like a back end without needing one.
            (None, Some(_)) if self.is_integration_test => Some((OTHER, kind)),
            (None, _) => None,
        }
    }
}

fn suite(name: &str) -> Option<&'static str> {
    BACK_END_SUITES
        .into_iter()
        .chain(BROKER_SUITES)
        .find(|suite| *suite == name)
}

/// Reads `test path::of::it ... ok`. Documentation and compile-error tests, named by file, are left
/// to the summary.
fn test_line(line: &str) -> Option<(&str, Counts)> {
    let (path, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let path = path.strip_suffix(" - should panic").unwrap_or(path);
    if path.contains(' ') || path.contains(".rs") {
        return None;
    }
    let mut counts = Counts::default();
    match outcome {
        "ok" => counts.passed = 1,
        "FAILED" => counts.failed = 1,
        _ if outcome.starts_with("ignored") => counts.ignored = 1,
        _ => return None,
    }
    Some((path, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
     Running unittests src/lib.rs (target/debug/deps/bento_seaorm-01)
test dialect::postgres::quotes_names ... ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
     Running tests/transaction.rs (target/debug/deps/transaction-02)
test postgres::rollback_writes_nothing ... ok
test mysql::rollback_writes_nothing ... ok
test sqlite::rollback_writes_nothing ... FAILED
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
     Running tests/all.rs (target/debug/deps/all-03)
test store::postgres::claims_once ... ok
test store::memory::claims_once ... ok
test codec::postgres::round_trip ... ignored, slow
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s
     Running tests/nats.rs (target/debug/deps/nats-04)
test nats::every_event_is_answered_for ... ok
test own::a_refused_password_is_told_at_connect ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
     Running tests/nats_source/main.rs (target/debug/deps/nats_source-05)
test nats::an_aggregate_keeps_its_order ... ok
test own::a_deleted_consumer_is_made_anew ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
     Running tests/source.rs (target/debug/deps/source-06)
test memory::an_aggregate_keeps_its_order ... ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
     Running tests/event_store.rs (target/debug/deps/event_store-07)
test sqlite::a_hole_is_told ... ok
test in_schema::postgres::a_hole_is_told ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
   Doc-tests bento_core
test bento-core/src/event.rs - event (line 3) ... ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s";

    fn report() -> Report {
        let mut report = Report::new([Kind::Sqlite, Kind::Postgres, Kind::Nats, Kind::Redis]);
        OUTPUT.lines().for_each(|line| report.read_line(line));
        report
    }

    #[test]
    fn a_test_counts_by_program_or_leading_module_and_by_server() {
        let table = "\
suite        sqlite    postgres   mysql      nats      rabbitmq  redis  kafka  no server
store        -         1 passed   -          -         -         -      -      1 passed
event_store  1 passed  1 passed   -          -         -         -      -      -
transaction  1 failed  1 passed   1 skipped  -         -         -      -      -
journey      -         -          -          -         -         -      -      -
publisher    -         -          -          2 passed  -         -      -      -
source       -         -          -          2 passed  -         -      -      1 passed
other        -         1 skipped  -          -         -         -      -      2 passed
all: 13 passed, 1 failed, 1 skipped";
        assert_eq!(report().to_string(), table);
    }

    #[test]
    fn a_suite_that_did_not_run_on_a_server_in_use_is_a_hole() {
        assert_eq!(
            report().holes(),
            [
                "store on sqlite",
                "journey on sqlite",
                "journey on postgres",
                "publisher on redis",
                "source on redis"
            ]
        );
    }

    #[test]
    fn a_failed_test_fails_the_command() {
        assert_eq!(
            report().verdict(true, false).unwrap_err().to_string(),
            "1 failed\n  transaction sqlite::rollback_writes_nothing"
        );
    }

    #[test]
    fn a_filtered_run_may_have_holes() {
        let empty = Report::new([Kind::Sqlite]);
        empty.verdict(true, false).unwrap();
        empty.verdict(true, true).unwrap_err();
    }
}
