//! A statement: its text with `?` for each parameter, and the parameters beside it.
//!
//! | in the text | in the statement |
//! |---|---|
//! | `{outbox}`, `{held}`, … | the name of a table of [`Tables`] |
//! | `{unreadable}` | the name of the route of a row that cannot be read |
//! | `{event}` | the columns of an event as they are written |
//! | `{read_event}` | the same, as they are read |
//! | `{stored_event}` | the columns of an event in the event store |
//! | `{read_stored_event}` | the columns of an event, as they are read from the event store |
//! | `{row_number}` | the number that a row has beside its columns, or NULL |
//! | `{now}`, `{now_once}` | the time, by the database's clock |
//! | `{read_time a}`, `{micros_until a}` | the column `a` as the back end reads it |
//! | `{sum a}` | the sum of the whole numbers in the column `a` |
//! | `{lock_rows}`, `{lock_unlocked}` | the end of a SELECT that locks |
//! | `?` | the next parameter: a value, or a time that is counted from now |
//! | `IN (?)` | the test that the back end has for a list of numbers, ids or texts ([`any_of`]) |

use std::time::Duration;

use bento_relay::store::NewDeadLetter;
use sea_orm::{Statement, Value};
use uuid::Uuid;

use super::Dialect;
use crate::columns::{self, COLUMNS, Column, Kind};
use crate::tables::Tables;

/// The longest distance from now, 100 years. A time further away is moved to it, because a database
/// may be unable to store it.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A statement in the making.
#[derive(Debug)]
pub(crate) struct Sql<'a> {
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    text: String,
    values: Vec<Value>,
}

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Bind {
    Value(Value),
    /// The time at a distance from now in microseconds, by the database's clock.
    FromNow(i64),
    AnyOf(Vec<i64>),
    AnyOfIds(Vec<Uuid>),
    AnyOfTexts(Vec<String>),
}

impl<T: Into<Value>> From<T> for Bind {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

/// The time that lies so far ahead.
pub(crate) fn after(wait: Duration) -> Bind {
    Bind::FromNow(micros(wait))
}

/// The time that lies so far back.
pub(crate) fn before(age: Duration) -> Bind {
    Bind::FromNow(-micros(age))
}

/// The numbers of `IN (?)`.
pub(crate) fn any_of(numbers: Vec<i64>) -> Bind {
    Bind::AnyOf(numbers)
}

/// The ids of `IN (?)`.
pub(crate) fn any_of_ids(ids: Vec<Uuid>) -> Bind {
    Bind::AnyOfIds(ids)
}

/// The texts of `IN (?)`.
pub(crate) fn any_of_texts(texts: Vec<String>) -> Bind {
    Bind::AnyOfTexts(texts)
}

/// The parameters of a text, in its order.
macro_rules! binds {
    ($($bind:expr),* $(,)?) => {
        [$($crate::dialect::Bind::from($bind)),*]
    };
}
pub(crate) use binds;

impl<'a> Sql<'a> {
    pub(crate) fn new(
        dialect: &'static dyn Dialect,
        tables: &'a Tables,
        text: &str,
        binds: impl IntoIterator<Item = Bind>,
    ) -> Self {
        let sql = Self {
            dialect,
            tables,
            text: String::with_capacity(512),
            values: Vec::new(),
        };
        sql.then(text, binds)
    }

    /// Appends text with its parameters.
    pub(crate) fn then(mut self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Self {
        let mut binds = binds.into_iter();
        let mut rest = text;
        while let Some(at) = rest.find(['?', '{']) {
            self.text.push_str(&rest[..at]);
            let is_bind = rest[at..].starts_with('?');
            rest = &rest[at + 1..];
            if is_bind {
                let bind = binds.next().expect("each `?` has a parameter");
                rest = self.write_bind(bind, rest);
            } else {
                let (name, behind) = rest.split_once('}').expect("each `{` has a `}`");
                self.write_name(name);
                rest = behind;
            }
        }
        self.text.push_str(rest);
        assert!(binds.next().is_none(), "each parameter has a `?`: {text}");
        self
    }

    /// Appends what skips a row whose key exists, to an INSERT into this table.
    pub(crate) fn or_leave(mut self, table: &str, key: &[&str]) -> Self {
        self.text.push_str(&self.dialect.or_leave(table, key));
        self
    }

    pub(crate) fn build(self) -> Statement {
        Statement::from_sql_and_values(self.dialect.backend(), self.text, self.values)
    }

    /// Writes a parameter; returns the rest of the text that is still to be written.
    fn write_bind<'t>(&mut self, bind: Bind, rest: &'t str) -> &'t str {
        let Self {
            dialect,
            text,
            values,
            ..
        } = self;
        match bind {
            Bind::Value(value) => {
                values.push(value);
                dialect.placeholder(values.len(), text);
            }
            Bind::FromNow(micros) => {
                values.push(micros.into());
                let mut placeholder = String::new();
                dialect.placeholder(values.len(), &mut placeholder);
                dialect.after_micros(&placeholder, text);
            }
            Bind::AnyOf(numbers) => {
                let behind = without_in(text, rest);
                dialect.one_of(numbers, text, values);
                return behind;
            }
            Bind::AnyOfIds(ids) => {
                let behind = without_in(text, rest);
                dialect.one_of_ids(ids, text, values);
                return behind;
            }
            Bind::AnyOfTexts(texts) => {
                let behind = without_in(text, rest);
                dialect.one_of_texts(texts, text, values);
                return behind;
            }
        }
        rest
    }

    fn write_name(&mut self, name: &str) {
        let (dialect, tables) = (self.dialect, self.tables);
        if let Some((function, column)) = name.split_once(' ') {
            return self.text.push_str(&match function {
                "read_time" => dialect.read_time(column),
                "micros_until" => dialect.micros_until(column),
                "sum" => dialect.sum(column),
                _ => unreachable!("`{{{name}}}` is not known"),
            });
        }
        self.text.push_str(match name {
            "outbox" => tables.outbox(),
            "held" => tables.held(),
            "dead_letter" => tables.dead_letter(),
            "discarded_letter" => tables.discarded_letter(),
            "published" => tables.published(),
            "paused_tenant" => tables.paused_tenant(),
            "handled_event" => tables.handled_event(),
            "handler" => tables.handler(),
            "shard" => tables.shard(),
            "relay" => tables.relay(),
            "meta" => tables.meta(),
            "source" => tables.source(),
            "events" => tables.event(),
            "event_stream" => tables.event_stream(),
            "snapshot" => tables.snapshot(),
            "event_log" => tables.event_log(),
            "event_sequencer" => tables.event_sequencer(),
            "projection" => tables.projection(),
            "projection_checkpoint" => tables.projection_checkpoint(),
            "projection_effect" => tables.projection_effect(),
            "projection_skip" => tables.projection_skip(),
            "stored_event" => columns::stored_list(),
            "read_stored_event" => return self.write_read_event(|column| column.is_stored),
            "unreadable" => NewDeadLetter::UNREADABLE,
            "event" => columns::list(),
            "read_event" => return self.write_read_event(|_| true),
            "now" => dialect.now(),
            "now_once" => dialect.now_once(),
            "row_number" => dialect.row_number().unwrap_or("NULL"),
            "lock_rows" => dialect.lock_rows(),
            "lock_unlocked" => dialect.lock_unlocked(),
            _ => unreachable!("`{{{name}}}` is not known"),
        });
    }

    /// Writes every column, NULL for one that the table does not have.
    fn write_read_event(&mut self, has: impl Fn(&Column) -> bool) {
        for (nth, column) in COLUMNS.iter().enumerate() {
            self.text.push_str(if nth == 0 { "" } else { ", " });
            match column.kind {
                _ if !has(column) => self.text.push_str("NULL"),
                Kind::Time => self.text.push_str(&self.dialect.read_time(column.name)),
                _ => self.text.push_str(column.name),
            }
        }
    }
}

/// Takes the IN around a list off, which PostgreSQL does not write. Returns what follows it.
fn without_in<'t>(text: &mut String, rest: &'t str) -> &'t str {
    let (before, behind) = (text.strip_suffix(" IN ("), rest.strip_prefix(')'));
    let (before, behind) = before.zip(behind).expect("a list stands in `IN (?)`");
    text.truncate(before.len());
    behind
}

/// Appends a test if the expression before it is in a list. The list is filled up with its last
/// value to a power of two, so that there are few texts.
pub(crate) fn in_list<T: Clone + Into<Value>>(
    list: Vec<T>,
    sql: &mut String,
    values: &mut Vec<Value>,
) {
    let Some(last) = list.last().cloned() else {
        sql.push_str(" IN (NULL)");
        return;
    };
    let length = list.len().next_power_of_two().min(list.len().max(32_768));
    sql.push_str(" IN (?");
    sql.push_str(&", ?".repeat(length - 1));
    sql.push(')');
    let filled = list.into_iter().chain(std::iter::repeat(last));
    values.extend(filled.take(length).map(Into::into));
}

/// `?, ?, ?`
pub(crate) fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.min(FAR).as_micros()).expect("it is not that far")
}

#[cfg(all(test, feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod tests {
    use sea_orm::DbBackend;

    use super::*;
    use crate::dialect;

    fn text_on(backend: DbBackend) -> (String, usize) {
        let tables = Tables::default();
        let sql = Sql::new(
            dialect::of(backend).unwrap(),
            &tables,
            "DELETE FROM {held} WHERE shard = ? AND position IN (?)",
            binds![7, any_of(vec![1, 2, 3])],
        );
        let built = sql.then(" AND route = ?", binds!["mail"]).build();
        (built.sql, built.values.unwrap().0.len())
    }

    #[test]
    fn a_text_is_spelled_for_each_back_end() {
        let begin = "DELETE FROM bento_outbox_held WHERE shard =";
        let expected = [
            (
                DbBackend::Postgres,
                format!("{begin} $1 AND position = ANY($2::bigint[]) AND route = $3"),
                3,
            ),
            (
                DbBackend::MySql,
                format!("{begin} ? AND position IN (?, ?, ?, ?) AND route = ?"),
                6,
            ),
            (
                DbBackend::Sqlite,
                format!("{begin} ? AND position IN (SELECT value FROM json_each(?)) AND route = ?"),
                3,
            ),
        ];
        for (backend, text, values) in expected {
            assert_eq!(text_on(backend), (text, values), "{backend:?}");
        }
    }

    #[test]
    fn ids_are_one_array_or_a_list() {
        let text = "SELECT 1 FROM {held} WHERE event_id IN (?)";
        let ids = [1, 2, 3].map(Uuid::from_u128).to_vec();
        let begin = "SELECT 1 FROM bento_outbox_held WHERE event_id";
        let expected = [
            (DbBackend::Postgres, "= ANY($1::uuid[])", 1),
            (DbBackend::MySql, "IN (?, ?, ?, ?)", 4),
            (DbBackend::Sqlite, "IN (?, ?, ?, ?)", 4),
        ];
        for (backend, test, values) in expected {
            let dialect = dialect::of(backend).unwrap();
            let binds = [any_of_ids(ids.clone())];
            let built = Sql::new(dialect, &Tables::default(), text, binds).build();
            assert_eq!(built.sql, format!("{begin} {test}"), "{backend:?}");
            assert_eq!(built.values.unwrap().0.len(), values, "{backend:?}");
        }
    }

    #[test]
    #[should_panic(expected = "each parameter has a `?`")]
    fn a_parameter_without_a_place_is_refused() {
        let dialect = dialect::of(DbBackend::Sqlite).unwrap();
        let _ = Sql::new(dialect, &Tables::default(), "SELECT 1", binds![1]);
    }
}
