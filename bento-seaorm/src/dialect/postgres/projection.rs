//! The statements of projections: an array for each column, so that the text does not depend on the
//! number of rows.

use sea_orm::{Statement, Value};

use crate::backend::Postgres;
use crate::checkpoint::{Checkpoint, Checkpoints, Gap, ProjectionKey};
use crate::dialect::{Bind, Sql, binds, projecting};
use crate::tables::Tables;

/// Each key is looked up by itself. A planner without statistics would rather compare every
/// checkpoint of the projection with every key.
pub(super) fn read_checkpoints(of: Checkpoints<'_>) -> Statement {
    let select = "SELECT u.id, c.sequence FROM unnest(?::text[]) AS u (id) CROSS JOIN LATERAL \
                  (SELECT sequence FROM {projection_checkpoint} WHERE projection = ? AND version \
                  = ? AND aggregate_type = ? AND aggregate_id = u.id LIMIT 1) c";
    let key = binds![&*of.key.name, of.key.number(), of.aggregate_type];
    let binds = arrays([of.ids.into()]).chain(key);
    Sql::new(&Postgres, of.tables, select, binds).build()
}

pub(super) fn write_checkpoints(
    tables: &Tables,
    key: &ProjectionKey,
    checkpoints: Vec<Checkpoint>,
) -> Statement {
    let insert = "INSERT INTO {projection_checkpoint} (projection, version, aggregate_type, \
                  aggregate_id, sequence) SELECT ?, ?, u.aggregate_type, u.aggregate_id, \
                  u.sequence FROM unnest(?::text[], ?::text[], ?::bigint[]) AS u \
                  (aggregate_type, aggregate_id, sequence) ON CONFLICT (projection, version, \
                  aggregate_type, aggregate_id) DO UPDATE SET sequence = excluded.sequence";
    let (mut types, mut ids, mut sequences) = (Vec::new(), Vec::new(), Vec::new());
    for checkpoint in checkpoints {
        types.push(checkpoint.aggregate_type);
        ids.push(checkpoint.aggregate_id);
        sequences.push(checkpoint.sequence);
    }
    let key = binds![&*key.name, key.number()];
    let binds = key
        .into_iter()
        .chain(arrays([types.into(), ids.into(), sequences.into()]));
    Sql::new(&Postgres, tables, insert, binds).build()
}

pub(super) fn events_in(
    tables: &Tables,
    gaps: &[Gap],
    types: Option<&[String]>,
    limit: u64,
) -> Statement {
    let select = "SELECT {read_stored_event} FROM unnest(?::text[], ?::text[], ?::bigint[], \
                  ?::bigint[]) AS gap (of_type, of_id, behind, before) JOIN {events} ON \
                  aggregate_type = of_type AND aggregate_id = of_id AND sequence > behind AND \
                  sequence < before";
    let column = |of: fn(&Gap) -> String| gaps.iter().map(of).collect::<Vec<_>>();
    let numbers = |of: fn(&Gap) -> i64| gaps.iter().map(of).collect::<Vec<_>>();
    let arrays = arrays([
        column(|gap| gap.aggregate_type.clone()).into(),
        column(|gap| gap.aggregate_id.clone()).into(),
        numbers(|gap| gap.after).into(),
        numbers(|gap| gap.before).into(),
    ]);
    let select = Sql::new(&Postgres, tables, select, arrays);
    projecting::in_order(select, types, limit)
}

fn arrays<const N: usize>(arrays: [Value; N]) -> impl Iterator<Item = Bind> {
    arrays.into_iter().map(Bind::Value)
}
