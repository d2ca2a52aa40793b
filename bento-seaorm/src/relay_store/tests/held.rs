//! PostgreSQL's plans for the statements that find held rows.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use super::pinned;
use crate::dialect;
use crate::relay_store::held::Wanted;
use crate::tables::Tables;
use crate::test_database::on_postgres;

/// A stream of 2,000 rows whose head waits, 2,000 rows of one aggregate that keep no place and
/// wait, and one head that is due.
const MANY: &str = "
    INSERT INTO bento_outbox_held (shard, position, route, event_id, event_type, schema_version,
        aggregate_type, aggregate_id, tenant_id, occurred_at, payload, ordered, retry_after)
    SELECT n % 4, n, 'default', gen_random_uuid(), 'thing.happened', 1,
        'thing', (n % 4)::text, 'acme', now(), ''::bytea, n <= 8000,
        CASE WHEN n <= 4 OR n > 8000 THEN now() + interval '1 hour' END
    FROM generate_series(1, 16000) n
    UNION ALL SELECT 0, 20000, 'default', gen_random_uuid(), 'thing.happened', 1,
        'thing', '9', 'acme', now(), ''::bytea, true, now()";

async fn plan(db: &DatabaseConnection, without: &[Arc<str>]) -> String {
    let tables = Tables::default();
    let dialect = dialect::of(DbBackend::Postgres).unwrap();
    let heads = Wanted {
        dialect,
        tables: &tables,
        shard: 0,
        without,
    }
    .due_heads(100)
    .build();
    let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {}", heads.sql);
    let tx = pinned(db).await;
    let explain =
        Statement::from_sql_and_values(DbBackend::Postgres, explain, heads.values.unwrap());
    let rows = tx.query_all_raw(explain).await.unwrap();
    rows.iter()
        .map(|row| row.try_get_by_index::<String>(0).unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn due_heads_are_found_by_indexes_whatever_is_away() {
    on_postgres(async |db| {
        db.execute_unprepared(MANY).await.unwrap();
        db.execute_unprepared("ANALYZE bento_outbox_held")
            .await
            .unwrap();
        for without in [&[][..], &["elsewhere".into(), "nowhere".into()]] {
            let plan = plan(&db, without).await;
            assert!(
                plan.contains("Index Scan using bento_outbox_held_retry_after"),
                "{plan}"
            );
            assert!(
                !plan.contains("Seq Scan") && !plan.contains("Hash"),
                "{plan}"
            );
            assert!(
                plan.contains("bento_outbox_held_stream")
                    && plan.contains("bento_paused_tenant_pkey"),
                "{plan}"
            );
            let by_time = plan
                .lines()
                .any(|line| line.contains("Index Cond") && line.contains("retry_after <="));
            assert!(
                by_time && !plan.contains("Sort"),
                "what waits is not looked at, and the rest comes in order: {plan}"
            );
            let by_place = plan
                .lines()
                .any(|line| line.contains("Index Cond") && line.contains("ordered = true"));
            assert!(by_place, "the index tells who keeps a place: {plan}");
        }
    })
    .await;
}
