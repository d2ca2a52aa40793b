//! The broker's log against the ground truth.

use std::collections::{HashMap, HashSet};
use std::fmt;

use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Statement};

use crate::relays::Takeover;

/// The committed events: for each token the account and the version it counted to.
pub struct Truth(HashMap<String, (i64, i64)>);

/// The judged contents of the broker.
pub struct Verdict {
    committed: usize,
    /// Events of transactions and savepoints that were rolled back.
    rolled_back: i64,
    deliveries: usize,
    lost: usize,
    phantom: usize,
    out_of_order: usize,
    early_out_of_order: usize,
    early: usize,
    duplicates: Vec<Duplicate>,
    takeovers: Vec<Takeover>,
}

/// An event the broker saw more than once.
struct Duplicate {
    relays: Vec<String>,
}

impl Truth {
    pub async fn read(database: &DatabaseConnection) -> Self {
        let rows = rows(database, "SELECT token, account, version FROM truth").await;
        Self(
            rows.iter()
                .map(|row| (text(row, 0), (number(row, 1), number(row, 2))))
                .collect(),
        )
    }
}

/// The number of first deliveries that came after a later version of their account.
pub fn out_of_order<'a>(truth: &Truth, tokens: impl Iterator<Item = &'a String>) -> usize {
    let mut seen = HashSet::new();
    let mut highest = HashMap::new();
    let mut violations = 0;
    for token in tokens.filter(|token| seen.insert(token.as_str())) {
        let Some(&(account, version)) = truth.0.get(token) else {
            continue;
        };
        let highest = highest.entry(account).or_insert(0);
        violations += usize::from(version < *highest);
        *highest = version.max(*highest);
    }
    violations
}

impl Verdict {
    pub async fn read(
        database: &DatabaseConnection,
        rolled_back: i64,
        takeovers: &[Takeover],
    ) -> Self {
        let truth = Truth::read(database).await;
        let log = rows(
            database,
            "SELECT token, relay, event_type FROM broker_log ORDER BY id",
        )
        .await;
        let mut first = Vec::new();
        let mut early = Vec::new();
        let mut relays = HashMap::<String, Vec<String>>::new();
        for row in &log {
            let kind = if text(row, 2) == "account.counted" {
                &mut first
            } else {
                &mut early
            };
            kind.push(text(row, 0));
            relays.entry(text(row, 0)).or_default().push(text(row, 1));
        }
        Self {
            committed: truth.0.len(),
            rolled_back,
            deliveries: log.len(),
            lost: truth
                .0
                .keys()
                .filter(|token| !relays.contains_key(*token))
                .count(),
            phantom: relays
                .keys()
                .filter(|token| !truth.0.contains_key(*token))
                .count(),
            out_of_order: out_of_order(&truth, first.iter()),
            early_out_of_order: out_of_order(&truth, early.iter()),
            early: early.len(),
            duplicates: relays
                .into_values()
                .filter(|relays| relays.len() > 1)
                .map(|relays| Duplicate { relays })
                .collect(),
            takeovers: takeovers.to_vec(),
        }
    }

    /// Nothing lost, nothing of a rolled-back transaction, order kept, duplicates only of what was
    /// in flight at a takeover.
    pub fn assert_promise(&self) {
        assert_eq!(self.lost, 0, "committed events that the broker never saw");
        assert_eq!(
            self.phantom, 0,
            "events of rolled-back transactions that the broker saw"
        );
        assert_eq!(
            self.out_of_order, 0,
            "first deliveries after a later version of their account"
        );
        let disturbed: Vec<&str> = self
            .takeovers
            .iter()
            .map(|takeover| takeover.relay.as_str())
            .collect();
        for duplicate in &self.duplicates {
            let by_disturbed = duplicate
                .relays
                .iter()
                .any(|relay| disturbed.contains(&relay.as_str()));
            assert!(
                by_disturbed,
                "a duplicate without a takeover, published by {:?}",
                duplicate.relays
            );
        }
        let in_flight: usize = self
            .takeovers
            .iter()
            .map(|takeover| takeover.in_flight_at_most)
            .sum();
        assert!(
            self.duplicates.len() <= in_flight,
            "{} duplicates of {in_flight} in flight",
            self.duplicates.len()
        );
    }

    /// Without them `phantom` would say nothing.
    pub fn assert_some_were_rolled_back(&self) {
        assert!(
            self.rolled_back > 0,
            "nothing was rolled back: the history is too tame"
        );
    }

    pub fn assert_early_flush_reorders(&self) {
        assert!(
            self.early_out_of_order > 0,
            "flush before lock kept the order: the history is too tame"
        );
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            committed,
            rolled_back,
            deliveries,
            ..
        } = self;
        writeln!(
            f,
            "committed {committed}, rolled back {rolled_back}, deliveries {deliveries}"
        )?;
        writeln!(
            f,
            "lost {}, phantom {}, out of order {}",
            self.lost, self.phantom, self.out_of_order
        )?;
        for takeover in &self.takeovers {
            writeln!(f, "takeover: {takeover}")?;
        }
        writeln!(f, "duplicates {}", self.duplicates.len())?;
        write!(
            f,
            "flush before lock: {} of {} out of order",
            self.early_out_of_order, self.early
        )
    }
}

async fn rows(database: &DatabaseConnection, sql: &str) -> Vec<QueryResult> {
    let statement = Statement::from_string(database.get_database_backend(), sql);
    database
        .query_all_raw(statement)
        .await
        .expect("the test's tables can be read")
}

fn text(row: &QueryResult, index: usize) -> String {
    row.try_get_by_index(index).expect("a text")
}

fn number(row: &QueryResult, index: usize) -> i64 {
    row.try_get_by_index(index).expect("a number")
}
