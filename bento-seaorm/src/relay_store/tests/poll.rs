//! The cost of a poll for the database.

use super::*;
use crate::relay_store::poll;

#[tokio::test]
async fn a_poll_never_reads_a_table_from_end_to_end() {
    on_postgres(async |db| {
        let mut relay = Relay::new(&db).await;
        // To the planner all of them are of this shard, so that the next row would do for any.
        write(&db, 3_000).await.commit().await.unwrap();
        db.execute_unprepared("ANALYZE").await.unwrap();
        let plan = async |relay: &Relay| {
            let dialect = relay.store.dialect().unwrap();
            let poll = poll::statement(&relay.store, dialect, &[0, 1, 2], &[]).build();
            let explain = format!("EXPLAIN (COSTS OFF) {}", poll.sql);
            let explain =
                Statement::from_sql_and_values(DbBackend::Postgres, explain, poll.values.unwrap());
            let rows = db.query_all_raw(explain).await.unwrap();
            rows.iter()
                .map(|row| row.try_get_by_index::<String>(0).unwrap())
                .collect::<Vec<_>>()
                .join("\n")
        };
        let unknown = plan(&relay).await;
        let follows = async {
            while relay.floor() == 0 {
                relay.call().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), follows)
            .await
            .expect("the bound follows what is settled");
        let known = plan(&relay).await;
        for plan in [unknown, known] {
            assert!(
                plan.contains("Index") && !plan.contains("Seq Scan on bento_outbox o"),
                "{plan}"
            );
        }
    })
    .await;
}
