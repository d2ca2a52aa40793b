//! The refusal of statements that would begin, end or leave a transaction without its events.

use sea_orm::DbBackend;

use crate::backend;
use crate::error::Error;

const BEGIN: &str = "use `begin` of the transaction for a nested one";
const COMMIT: &str = "use `commit` of the transaction, which writes its events";
const ROLLBACK: &str =
    "use `rollback` of the transaction, or of a nested one, which forgets its events";
const SAVEPOINT: &str =
    "use `begin` of the transaction for a nested one, whose events follow its savepoint";
const DDL: &str = "MySQL and MariaDB commit before such a statement; run it outside of the \
                   transaction, through `OutboxConnection::inner`";

/// Each word with the way out.
const CONTROL: [(&str, &str); 9] = [
    ("BEGIN", BEGIN),
    ("START", BEGIN),
    ("COMMIT", COMMIT),
    ("END", COMMIT),
    ("ROLLBACK", ROLLBACK),
    ("ABORT", ROLLBACK),
    ("SAVEPOINT", SAVEPOINT),
    ("RELEASE", SAVEPOINT),
    ("XA", COMMIT),
];

/// Refuses a statement that begins, ends or leaves a transaction. Only its first words are looked
/// at.
pub(super) fn check(backend: DbBackend, sql: &str) -> Result<(), Error> {
    let mut words = Words(sql);
    let first = words.next().unwrap_or_default();
    if let Some((statement, instead)) = CONTROL
        .iter()
        .find(|(word, _)| first.eq_ignore_ascii_case(word))
    {
        // MariaDB's compound statement begins no transaction.
        if *statement == "BEGIN"
            && words
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case("NOT"))
        {
            return Ok(());
        }
        return Err(Error::TransactionControl { statement, instead });
    }
    if first.eq_ignore_ascii_case("PREPARE")
        && words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("TRANSACTION"))
    {
        return Err(Error::TransactionControl {
            statement: "PREPARE TRANSACTION",
            instead: COMMIT,
        });
    }
    if let Some(statement) = backend::commits_before(backend)
        .iter()
        .find(|word| first.eq_ignore_ascii_case(word))
        && !words
            .take(3)
            .any(|word| word.eq_ignore_ascii_case("TEMPORARY"))
    {
        return Err(Error::TransactionControl {
            statement,
            instead: DDL,
        });
    }
    Ok(())
}

/// The words at the beginning of a statement, without the comments between them.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0 = without_comments(self.0);
        let end = self
            .0
            .find(|next: char| !next.is_ascii_alphabetic())
            .unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// Returns the rest behind space, empty statements and comments. A comment that does not end hides
/// the rest, which the database refuses.
fn without_comments(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|next: char| next.is_whitespace() || next == ';');
        let end = if sql.starts_with("--") || sql.starts_with('#') {
            sql.find('\n')
        } else if let Some(comment) = sql.strip_prefix("/*") {
            comment.find("*/").map(|at| at + 3)
        } else {
            return sql;
        };
        let Some(end) = end else { return "" };
        sql = &sql[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [DbBackend; 3] = [DbBackend::Postgres, DbBackend::MySql, DbBackend::Sqlite];

    fn refused(backend: DbBackend, sql: &str) -> Option<&'static str> {
        match check(backend, sql) {
            Err(Error::TransactionControl { statement, .. }) => Some(statement),
            _ => None,
        }
    }

    #[test]
    fn text_that_begins_or_ends_a_transaction_is_refused() {
        let texts = [
            ("BEGIN", "BEGIN"),
            ("begin immediate", "BEGIN"),
            ("START TRANSACTION READ ONLY", "START"),
            ("  \n\tCommit;", "COMMIT"),
            ("-- done\nCOMMIT", "COMMIT"),
            ("/* a */ /* b */COMMIT AND CHAIN", "COMMIT"),
            (";;end", "END"),
            ("ROLLBACK", "ROLLBACK"),
            ("ROLLBACK TO SAVEPOINT a", "ROLLBACK"),
            ("savepoint a", "SAVEPOINT"),
            ("RELEASE SAVEPOINT a", "RELEASE"),
            ("PREPARE TRANSACTION 'a'", "PREPARE TRANSACTION"),
        ];
        for (sql, statement) in texts {
            ALL.iter()
                .for_each(|backend| assert_eq!(refused(*backend, sql), Some(statement), "{sql}"));
        }
    }

    #[test]
    fn other_text_passes() {
        let texts = [
            "",
            "-- nothing",
            "/* nothing",
            "SELECT 1",
            "INSERT INTO commits VALUES ('COMMIT')",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "BEGIN NOT ATOMIC SELECT 1; END",
            "PREPARE a AS SELECT 1",
            "beginning",
            "ä",
        ];
        for sql in texts {
            ALL.iter()
                .for_each(|backend| assert_eq!(refused(*backend, sql), None, "{sql}"));
        }
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn ddl_is_refused_where_it_commits() {
        for sql in [
            "CREATE TABLE a (b INT)",
            "truncate a",
            "ALTER TABLE a ADD b INT",
            "DROP TABLE a",
            "LOCK TABLES a READ",
        ] {
            assert!(refused(DbBackend::MySql, sql).is_some(), "{sql}");
            assert_eq!(refused(DbBackend::Postgres, sql), None, "{sql}");
            assert_eq!(refused(DbBackend::Sqlite, sql), None, "{sql}");
        }
        for sql in [
            "CREATE TEMPORARY TABLE a (b INT)",
            "CREATE OR REPLACE TEMPORARY TABLE a (b INT)",
            "drop temporary table a",
        ] {
            assert_eq!(refused(DbBackend::MySql, sql), None, "{sql}");
        }
    }
}
