//! The statements of projections that back ends spell differently.

use sea_orm::Statement;
use uuid::Uuid;

use super::{Dialect, Sql, any_of_ids, any_of_texts, binds};
use crate::checkpoint::{Checkpoint, Checkpoints, Gap, ProjectionKey};
use crate::tables::Tables;

/// The query for checkpoints by a list of keys.
pub(super) fn read_list(dialect: &'static dyn Dialect, of: Checkpoints<'_>) -> Statement {
    let select = "SELECT aggregate_id, sequence FROM {projection_checkpoint} WHERE projection = ? \
                  AND version = ? AND aggregate_type = ? AND aggregate_id IN (?)";
    let key = binds![&*of.key.name, of.key.number(), of.aggregate_type];
    let binds = key.into_iter().chain([any_of_texts(of.ids)]);
    Sql::new(dialect, of.tables, select, binds).build()
}

/// The writing of checkpoints as rows of VALUES.
pub(super) fn write_values(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    key: &ProjectionKey,
    checkpoints: Vec<Checkpoint>,
) -> Statement {
    let rows = vec!["(?, ?, ?, ?, ?)"; checkpoints.len()].join(", ");
    let end = dialect.or_replace_if(
        tables.projection_checkpoint(),
        &["projection", "version", "aggregate_type", "aggregate_id"],
        &["sequence"],
        "1 = 1",
    );
    let insert = format!(
        "INSERT INTO {{projection_checkpoint}} (projection, version, aggregate_type, \
         aggregate_id, sequence) VALUES {rows}{end}"
    );
    let binds = checkpoints.into_iter().flat_map(|checkpoint| {
        let Checkpoint {
            aggregate_type,
            aggregate_id,
            sequence,
        } = checkpoint;
        binds![
            &*key.name,
            key.number(),
            aggregate_type,
            aggregate_id,
            sequence
        ]
    });
    Sql::new(dialect, tables, &insert, binds).build()
}

/// The deletion of pending events by a list of their ids.
pub(super) fn delete_list(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    ids: Vec<Uuid>,
) -> Statement {
    let delete = "DELETE FROM {outbox} WHERE event_id IN (?)";
    Sql::new(dialect, tables, delete, [any_of_ids(ids)]).build()
}

/// The query for the events in gaps, each gap a condition.
pub(super) fn select_in(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    gaps: &[Gap],
    types: Option<&[String]>,
    limit: u64,
) -> Statement {
    let gap = "(aggregate_type = ? AND aggregate_id = ? AND sequence > ? AND sequence < ?)";
    let conditions = vec![gap; gaps.len()].join(" OR ");
    let select = format!("SELECT {{read_stored_event}} FROM {{events}} WHERE ({conditions})");
    let binds = gaps.iter().flat_map(|gap| {
        binds![
            &*gap.aggregate_type,
            &*gap.aggregate_id,
            gap.after,
            gap.before
        ]
    });
    let select = Sql::new(dialect, tables, &select, binds);
    in_order(select, types, limit)
}

/// The end of a query for stored events in gaps: of these types where some are given, those of an
/// aggregate in their order.
pub(super) fn in_order(select: Sql<'_>, types: Option<&[String]>, limit: u64) -> Statement {
    let select = match types {
        Some(types) => select.then(" AND event_type IN (?)", [any_of_texts(types.to_vec())]),
        None => select,
    };
    let end = " ORDER BY aggregate_type, aggregate_id, sequence LIMIT ?";
    select.then(end, binds![limit]).build()
}
