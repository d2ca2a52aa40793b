//! The place where reading a shard begins, as PostgreSQL shows it.

use super::*;

/// Rounds in which an event commits after later ones were published; returns how many of all events
/// never came.
async fn late_commits(db: &DatabaseConnection, by_largest_seen: bool) -> usize {
    const ROUNDS: usize = 20;
    let mut relay = Relay::new(db).await;
    for _ in 0..ROUNDS {
        let late = write(db, 1).await;
        for _ in 0..4 {
            write(db, 1).await.commit().await.unwrap();
            relay.call().await;
            if by_largest_seen {
                relay.begin_behind_the_largest_seen();
            }
        }
        late.commit().await.unwrap();
        relay.call().await;
        if by_largest_seen {
            relay.begin_behind_the_largest_seen();
        }
    }
    for _ in 0..4 {
        relay.call().await;
    }
    db.execute_unprepared("DELETE FROM bento_outbox")
        .await
        .unwrap();
    relay.store.release(relay.lease.owner).await.unwrap();
    relay.seen.sort_unstable();
    relay.seen.dedup();
    ROUNDS * 5 - relay.seen.len()
}

#[tokio::test]
async fn a_late_commit_is_read_though_a_larger_position_was_seen() {
    on_postgres(async |db| {
        assert_eq!(late_commits(&db, false).await, 0);
        assert!(
            late_commits(&db, true).await >= 20,
            "the wrong bound has to lose, or the test proves nothing"
        );
    })
    .await;
}

/// The default of the column takes the transaction's id before the position. Without that the bound
/// could pass a position whose transaction has no id yet.
#[tokio::test]
async fn a_transaction_has_its_id_before_its_first_position() {
    on_postgres(async |db| {
        let position = "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = \
                        'bento_outbox'::regclass";
        let default: String = one(&db, position).await.try_get_by_index(0).unwrap();
        assert!(
            default.contains("pg_current_xact_id() IS NOT NULL"),
            "{default}"
        );
        let cache = "SELECT cache_size FROM pg_sequences WHERE sequencename = \
                     'bento_outbox_position'";
        assert_eq!(one(&db, cache).await.try_get_by_index::<i64>(0).unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn reading_skips_deleted_rows_that_a_snapshot_still_shows() {
    on_postgres(async |db| {
        let mut relay = Relay::new(&db).await;
        let reader = db
            .begin_with_config(Some(sea_orm::IsolationLevel::RepeatableRead), None)
            .await
            .unwrap();
        one(&reader, "SELECT count(*) FROM bento_outbox").await;
        for _ in 0..40 {
            write(&db, 200).await.commit().await.unwrap();
            assert_eq!(relay.call().await.pending.len(), 200);
        }
        // A transaction of another test on the same server may hold the bound back for as long as
        // it runs.
        let follows = async {
            while relay.floor() < 7_800 {
                relay.call().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), follows)
            .await
            .expect("the bound follows what is settled");
        let from_the_start = blocks_read(&db, 0).await;
        let from_the_bound = blocks_read(&db, relay.floor()).await;
        assert!(
            from_the_bound * 5 < from_the_start,
            "{from_the_bound} blocks against {from_the_start}"
        );
        reader.rollback().await.unwrap();
    })
    .await;
}

async fn blocks_read(db: &DatabaseConnection, floor: i64) -> u64 {
    let select = format!(
        "SELECT payload FROM bento_outbox WHERE shard = 0 AND position > {floor} ORDER BY \
         position LIMIT 200"
    );
    let tx = pinned(db).await;
    let plan = explained(&tx, &format!("(ANALYZE, BUFFERS) {select}")).await;
    let hit = plan
        .split("shared hit=")
        .nth(1)
        .expect("a plan names the blocks it read");
    hit.split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn positions_that_begin_anew_are_read_anew() {
    on_postgres(async |db| {
        let mut relay = Relay::new(&db).await;
        write(&db, 50).await.commit().await.unwrap();
        let follows = async {
            while relay.floor() < 50 {
                relay.call().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), follows)
            .await
            .expect("the bound follows what is settled");
        db.execute_unprepared("TRUNCATE bento_outbox RESTART IDENTITY")
            .await
            .unwrap();
        // As many as there were, so that the last position tells nothing.
        write(&db, 60).await.commit().await.unwrap();
        assert_eq!(relay.store.poll(&[0], &[]).await.unwrap(), [0]);
        assert_eq!(relay.call().await.pending.len(), 60);
    })
    .await;
}
