//! The transactions of the relay beside others, and the settings of their sessions.

use super::*;

#[tokio::test]
async fn plans_are_pinned_and_nothing_of_it_outlives_the_transaction() {
    on_postgres(async |db| {
        db.execute_unprepared("ANALYZE bento_outbox").await.unwrap();
        let statement = "DELETE FROM bento_outbox WHERE shard = 0 AND position = ANY ('{1,2,3}')";
        let tx = pinned(&db).await;
        let plan = explained(&tx, statement).await;
        assert!(
            plan.contains("Index Scan") && !plan.contains("Seq Scan"),
            "{plan}"
        );
        tx.commit().await.unwrap();
        for setting in [
            "enable_seqscan",
            "enable_bitmapscan",
            "enable_hashjoin",
            "enable_mergejoin",
        ] {
            let value: String = one(&db, &format!("SHOW {setting}"))
                .await
                .try_get_by_index(0)
                .unwrap();
            assert_eq!(value, "on", "{setting} leaks");
        }
        let mode: String = one(&db, "SHOW plan_cache_mode")
            .await
            .try_get_by_index(0)
            .unwrap();
        assert_eq!(mode, "auto");
    })
    .await;
}

#[tokio::test]
async fn the_relay_sets_durability_and_isolation_itself() {
    on_postgres(async |db| {
        db.execute_unprepared("SET synchronous_commit = off")
            .await
            .unwrap();
        db.execute_unprepared("SET default_transaction_isolation = 'serializable'")
            .await
            .unwrap();
        let tx = pinned(&db).await;
        for (setting, expected) in [
            ("synchronous_commit", "on"),
            ("transaction_isolation", "read committed"),
        ] {
            let value: String = one(&tx, &format!("SHOW {setting}"))
                .await
                .try_get_by_index(0)
                .unwrap();
            assert_eq!(value, expected, "{setting}");
        }
    })
    .await;
}

#[tokio::test]
async fn writers_and_the_relay_never_wait_for_each_other_in_a_circle() {
    const WRITERS: usize = 4;
    const TRANSACTIONS: usize = 40;
    on_every_back_end(async |db| {
        let mut relay = Relay::new(&db).await;
        let writer = async || {
            for _ in 0..TRANSACTIONS {
                write(&db, 5).await.commit().await.unwrap();
            }
        };
        let relaying = async {
            while relay.seen.len() < WRITERS * TRANSACTIONS * 5 {
                relay.call().await;
            }
        };
        tokio::join!(
            relaying,
            futures_util::future::join_all((0..WRITERS).map(|_| writer()))
        );
        relay.seen.sort_unstable();
        relay.seen.dedup();
        assert_eq!(relay.seen.len(), WRITERS * TRANSACTIONS * 5);
    })
    .await;
}
