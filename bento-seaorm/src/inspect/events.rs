//! The state of the event store: counts by the heads of its aggregates.

use std::collections::BTreeMap;

use bento_relay::event_store::EventStoreError;
use bento_relay::inspect::{InspectEvents, StoredAggregates};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use crate::dialect::{self, Sql};
use crate::error::Error;
use crate::event_store::DatabaseEvents;

impl InspectEvents for DatabaseEvents {
    async fn stored_aggregates(&self) -> Result<Vec<StoredAggregates>, EventStoreError> {
        let counts = "SELECT aggregate_type, COUNT(*), {sum sequence}, 0 FROM {event_stream} \
            GROUP BY aggregate_type \
            UNION ALL SELECT aggregate_type, 0, 0, COUNT(*) FROM {snapshot} \
            GROUP BY aggregate_type";
        let mut types: BTreeMap<String, StoredAggregates> = BTreeMap::new();
        for counted in read(self, counts, counted_at).await? {
            let name = counted.aggregate_type.clone();
            let counts = types.entry(name).or_default();
            counts.aggregate_type = counted.aggregate_type;
            counts.aggregates += counted.aggregates;
            counts.events += counted.events;
            counts.snapshots += counted.snapshots;
        }
        Ok(types.into_values().collect())
    }

    async fn last_position(&self) -> Result<Option<i64>, EventStoreError> {
        let dialect = dialect::of(self.db().get_database_backend()).map_err(Error::from)?;
        let select = match dialect.logs_events() {
            true => "SELECT MAX(position) FROM {event_log}",
            false => "SELECT MAX(position) FROM {events}",
        };
        let position = |row: &QueryResult| row.try_get_by_index::<Option<i64>>(0);
        let read = read(self, select, position).await?;
        Ok(read.into_iter().flatten().next())
    }
}

async fn read<T>(
    events: &DatabaseEvents,
    select: &str,
    read: impl Fn(&QueryResult) -> Result<T, DbErr>,
) -> Result<Vec<T>, EventStoreError> {
    let db = events.db();
    let dialect = dialect::of(db.get_database_backend()).map_err(Error::from)?;
    let select = Sql::new(dialect, db.tables(), select, []).build();
    let rows = db.query_all_raw(select).await;
    let rows = rows.and_then(|rows| rows.iter().map(read).collect());
    Ok(rows.map_err(|error| Error::from_statement(dialect.backend(), error))?)
}

fn counted_at(row: &QueryResult) -> Result<StoredAggregates, DbErr> {
    let number = |index| {
        let number = row.try_get_by_index::<i64>(index);
        number.map(i64::cast_unsigned)
    };
    Ok(StoredAggregates {
        aggregate_type: row.try_get_by_index(0)?,
        aggregates: number(1)?,
        events: number(2)?,
        snapshots: number(3)?,
    })
}
