//! A process that stops between receiving and storing, for longer than its lease.

use bento_tests::consuming::Point;

use crate::scene::Scene;

const STOPS: i64 = 3;

pub async fn a_stopped_reader_is_replaced(mut scene: Scene<'_>) {
    let relay = scene.relay().await;
    for stop in 1..=STOPS {
        let call = u32::try_from(stop).unwrap();
        let mut reader = scene.processes.start(Point::Stop, call);
        scene.commit(2).await;
        assert!(reader.until("stopped", |told| told.is_at_its_point).await);
        // The lease runs out; with RabbitMQ the server also has to miss the heartbeats.
        let mut other = scene.processes.start(Point::Never, 0);
        assert!(other.until("read", |told| told.received > 0).await);
        scene.commit(2).await;
        reader.go_on().await;
        scene.commit(2).await;
        scene.drained().await;
        reader.stop().await;
        // It reads what comes now, as the only one.
        scene.commit(1).await;
        scene.drained().await;
        other.stop().await;
    }
    relay.stop().await.unwrap();
    assert_eq!(scene.left().await, 0, "nothing is left behind");
    scene.assert_exact("one", scene.rounds).await;
    scene.assert_exact("many", scene.rounds).await;
    scene.assert_none_dead().await;
    let committed = scene.committed();
    scene.tell(
        "stopped",
        &format!(
            "{committed} events, {STOPS} stops between receiving and storing; {}",
            scene.messages(committed)
        ),
    );
    scene.broker.clear().await;
}
