//! A transformed copy and its original, on two subjects of one stream.

use bento_tests::consuming::{MANY, OF_COPIES, ONE, Point};

use crate::scene::Scene;

pub async fn copies_are_messages(mut scene: Scene<'_>) {
    let relay = scene.relay_with_copies().await;
    let handlers = [ONE, MANY, OF_COPIES];
    let processes = &scene.processes.clone();
    let mut killed = processes.start_with(&handlers, Point::BeforeAcknowledge, 2, "once");
    scene.commit(3).await;
    assert!(killed.until("killed", |told| told.is_at_its_point).await);
    killed.kill().await;
    let steady = processes.start_with(&handlers, Point::Never, 0, "once");
    scene.commit(2).await;
    scene.drained_of(&["one", "many", "copies"]).await;
    scene
        .until("nothing is left", async || scene.left().await == 0)
        .await;
    steady.stop().await;
    relay.stop().await.unwrap();
    for table in ["one", "many", "copies"] {
        scene.assert_exact(table, scene.rounds).await;
    }
    scene.assert_none_dead().await;
    let messages = scene.committed() * 2;
    scene.tell(
        "copies",
        &format!(
            "{} events and as many copies; {}",
            scene.committed(),
            scene.messages(messages)
        ),
    );
    scene.broker.clear().await;
}
