//! Relays that publish, and workers that handle as well, as two deployments.

use bento_tests::releases::{MAIL, STOCK};

use crate::scene::{Scene, assert_each_once, assert_in_order, step, stop};
use crate::support::TestDatabase;

pub async fn relays_publish_while_all_workers_are_away(database: &TestDatabase) {
    let (scene, step) = (Scene::on(database).await, step());
    let relays = ["relay-1", "relay-2"].map(|name| scene.start(name, &[], true));
    let load = scene.load(0);
    let workers = ["worker-1", "worker-2"].map(|name| scene.start(name, &[STOCK, MAIL], true));
    let first = scene.recorded(STOCK, &load).await;
    let first = first.max(scene.recorded(MAIL, &load).await);

    // Workers serve everything, so they get the shards.
    let by_relays = format!(
        "SELECT count(*) FROM (SELECT relay FROM broker_log ORDER BY id DESC LIMIT {step}) AS log \
         WHERE relay LIKE 'relay-%'"
    );
    scene
        .until("published by relays", &by_relays, |relays| relays == 0)
        .await;
    scene.handles(STOCK, step).await;
    scene.handles(MAIL, step).await;

    for mut worker in workers {
        worker.kill().await.unwrap();
    }
    scene
        .until("published by relays", &by_relays, |relays| relays == step)
        .await;
    // By now the server has ended the transactions of the killed processes.
    let handled = "SELECT count(*) FROM handled";
    let handled_before = scene.number(handled).await;
    scene.holds_untried(STOCK, step).await;
    scene.holds_untried(MAIL, step).await;
    assert_eq!(scene.number(handled).await, handled_before);

    let workers = ["worker-3", "worker-4"].map(|name| scene.start(name, &[STOCK, MAIL], true));
    scene.handles(STOCK, 2 * step).await;
    let end = load.stop().await;
    scene.drained().await;
    for process in relays.into_iter().chain(workers) {
        stop(process).await;
    }

    let (stock, mail) = (scene.handled(STOCK).await, scene.handled(MAIL).await);
    let published = scene.published().await;
    assert_each_once(STOCK, &stock, first, end);
    assert_each_once(MAIL, &mail, first, end);
    let mut once = published.clone();
    let mut seen = std::collections::BTreeSet::new();
    once.retain(|(_, number)| seen.insert(*number));
    assert_each_once("the log", &once, 0, end);
    let twice = assert_in_order("the log", &published);
    assert_eq!(
        [assert_in_order(STOCK, &stock), assert_in_order(MAIL, &mail)],
        [0, 0]
    );
    let by_relays = published
        .iter()
        .filter(|(name, _)| name.starts_with("relay"));
    scene.tell(
        "deployments",
        &format!(
            "{end} events, {} published by relays and {} by workers, {twice} of them twice; \
             handlers recorded at {first}: {STOCK} handled {}, {MAIL} {}",
            by_relays.clone().count(),
            published.len() - by_relays.count(),
            stock.len(),
            mail.len(),
        ),
    );
}
