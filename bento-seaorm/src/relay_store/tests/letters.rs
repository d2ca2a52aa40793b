//! Dead letters inside the database.

use bento_core::dead_letter::{DeadLetterQuery, DeadLetters};
use bento_core::relay::store::Burial;

use super::*;

/// Positions can be handed out twice, after TRUNCATE … RESTART IDENTITY for example. Then a replay must not delete what it could
/// not move.
#[tokio::test]
async fn a_letter_whose_place_is_taken_stays_a_letter() {
    on_every_back_end(async |db| {
        let relay = Relay::new(&db).await;
        write(&db, 2).await.commit().await.unwrap();
        let rows = relay.settle(Vec::new()).await.fresh;
        let destination: Arc<str> = "default".into();
        let dead = Burial {
            attempts: 1,
            error: "refused".to_owned(),
            cause: Burial::PERMANENT.into(),
            parks: true,
            delivered: Vec::new(),
        };
        let bury = Settlement::Bury { position: rows[0].position, destination: Arc::clone(&destination), dead };
        let (position, why) = (rows[1].position, Held::Behind);
        let hold = Settlement::Hold { position, destination: Arc::clone(&destination), ordered: true, why };
        relay.settle(vec![bury, hold]).await;
        let take_its_place = format!("UPDATE bento_outbox_held SET position = {}", rows[0].position);
        db.execute_unprepared(&take_its_place).await.unwrap();
        let before = relay.store.list(&DeadLetterQuery::default()).await.unwrap();
        let replayed = relay.store.replay(rows[0].envelope.event_id, &destination).await.unwrap();
        assert!(!replayed.replayed, "it has no place to go to");
        assert_eq!(relay.store.list(&DeadLetterQuery::default()).await.unwrap(), before);
    })
    .await;
}
