//! An older release that lacks a handler, and a newer one that has it: whichever reads the source
//! keeps what only the newer one handles.

use bento_tests::consuming::{MANY, NOTES, ONE, Point};

use crate::process::Process;
use crate::scene::{COUNTERS, Processes, Scene};

const OLD: [&str; 2] = [ONE, MANY];
const NEW: [&str; 3] = [ONE, MANY, NOTES];

pub async fn an_older_reader_keeps_all(mut scene: Scene<'_>) {
    let relay = scene.relay().await;
    let mut old = start(&scene.processes, &OLD).await;
    scene.commit(1).await;
    assert!(old.until("read", |told| told.received > 0).await);
    scene.drained().await;

    // The older release goes on reading while the newer one is there, is away, and comes back.
    let newer = start(&scene.processes, &NEW).await;
    let before = old.told().received;
    scene.commit_with_notes().await;
    scene.commit_with_notes().await;
    drained(&scene).await;
    let with_newer = old.told().received - before;
    assert_eq!(newer.told().received, 0, "the older release reads");
    newer.stop().await;
    scene.commit_with_notes().await;
    scene.drained_of(&["one", "many"]).await;
    let waiting = scene.sum("notes").await;
    assert_eq!(waiting, 2 * COUNTERS, "what only the newer one has waits");
    let mut newer = start(&scene.processes, &NEW).await;
    drained(&scene).await;
    let alone = old.told().received - before - with_newer;

    // The newer one reads, and the older one comes back.
    old.stop().await;
    scene.commit_with_notes().await;
    assert!(newer.until("read", |told| told.received > 0).await);
    let old = start(&scene.processes, &OLD).await;
    scene.commit_with_notes().await;
    drained(&scene).await;
    newer.stop().await;
    old.stop().await;

    relay.stop().await.unwrap();
    scene.assert_exact("one", scene.rounds).await;
    scene.assert_exact("many", scene.rounds).await;
    scene.assert_exact("notes", scene.notes).await;
    scene.assert_none_dead().await;
    scene.tell(
        "releases",
        &format!(
            "{} events and {} notes; the older release read {with_newer} messages beside the \
             newer one and {alone} while it was away or came back; every note was handled once",
            scene.committed(),
            scene.notes * COUNTERS
        ),
    );
    scene.broker.clear().await;
}

async fn start(processes: &Processes, handlers: &[&str]) -> Process {
    let mut process = processes.start_with(handlers, Point::Never, 0, "patient");
    assert!(process.until("it starts", |told| told.has_started).await);
    process
}

/// Waits until every event and note is handled.
async fn drained(scene: &Scene<'_>) {
    scene.drained_of(&["one", "many", "notes"]).await;
    scene
        .until("nothing is left", async || scene.left().await == 0)
        .await;
}
