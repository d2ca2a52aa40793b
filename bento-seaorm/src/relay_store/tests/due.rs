//! Held rows that fall due, one stream or many.

use super::*;

/// More streams than one statement asks about, so that they are asked about in several.
#[tokio::test]
async fn many_streams_are_held_back_and_let_go_together() {
    const STREAMS: usize = 120;
    on_every_back_end(async |db| {
        let relay = Relay::new(&db).await;
        let tx = db.begin().await.unwrap();
        let entries = (0..2 * STREAMS).map(|nth| {
            let mut entry = entry();
            entry.envelope.aggregate_id = (nth % STREAMS).to_string();
            entry
        });
        OutboxWriter::new(Tables::default(), Expected::default())
            .write(&tx, entries.collect())
            .await
            .unwrap();
        tx.commit().await.unwrap();

        let rows = relay.settle(Vec::new()).await.pending;
        let route: Arc<str> = "d".into();
        let hold = |row: &OutboxRow| {
            let (position, route) = (row.position, Arc::clone(&route));
            Settlement::pending(position, route, Outcome::Behind)
        };
        let held = relay.settle(rows.iter().map(hold).collect()).await.held;
        let streams: Vec<_> = held
            .iter()
            .map(|held| held.row.envelope.aggregate_id.clone())
            .collect();
        assert_eq!(held.len(), 2 * STREAMS);
        assert!(
            streams.chunks(2).all(|pair| pair[0] == pair[1]),
            "a head comes with its follower"
        );
        let published = |held: &HeldRow| {
            let (position, route) = (held.row.position, Arc::clone(&held.route));
            Settlement::held(position, route, Outcome::Published)
        };
        let heads: Vec<_> = held.iter().step_by(2).map(published).collect();
        assert_eq!(relay.settle(heads).await.held.len(), STREAMS);
        let followers: Vec<_> = held.iter().skip(1).step_by(2).map(published).collect();
        assert_eq!(relay.settle(followers).await.held.len(), 0);
    })
    .await;
}

/// A row may fall due between the statement that asks which are and the one that asks when the next
/// is.
#[tokio::test]
async fn a_held_row_is_never_missed_however_it_falls_due() {
    on_every_back_end(async |db| {
        let mut relay = Relay::new(&db).await;
        write(&db, 1).await.commit().await.unwrap();
        let position = relay.call().await.pending[0].position;
        let route: Arc<str> = "d".into();
        relay.settled = vec![Settlement::pending(
            position,
            Arc::clone(&route),
            Outcome::Behind,
        )];
        for nth in 0..100 {
            let comes_back = async { while relay.call().await.held.is_empty() {} };
            tokio::time::timeout(Duration::from_secs(2), comes_back)
                .await
                .expect("it falls due and comes back");
            let retry_after = Duration::from_micros(2000 + nth * 37);
            let failure = Failure {
                attempts: 1,
                retry_after,
                error: String::new(),
                delivered: Vec::new(),
            };
            relay.settled = vec![Settlement::held(
                position,
                Arc::clone(&route),
                Outcome::Retry(failure),
            )];
            relay.revision = None;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_ever_can_be_stored() {
    on_every_back_end(async |db| {
        let relay = Relay::new(&db).await;
        write(&db, 1).await.commit().await.unwrap();
        let position = relay.settle(Vec::new()).await.pending[0].position;
        let failure = Failure {
            attempts: 1,
            retry_after: Duration::MAX,
            error: String::new(),
            delivered: Vec::new(),
        };
        let held = relay
            .settle(vec![Settlement::pending(
                position,
                "d".into(),
                Outcome::Retry(failure),
            )])
            .await;
        assert_eq!((held.pending.len(), held.held.len()), (0, 0));
        assert!(held.next_due.unwrap() > Duration::from_secs(3600));
    })
    .await;
}
