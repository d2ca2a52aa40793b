//! An old release, and a new one with a handler more.

use bento_relay::handler_control::HandlerControl as _;
use bento_relay::store::Leftovers;
use bento_tests::releases::{MAIL, STOCK};

use crate::load::commit;
use crate::scene::{Scene, assert_each_once, assert_in_order, step, stop};
use crate::support::TestDatabase;

pub async fn a_new_handler_misses_nothing_while_releases_come_and_go(database: &TestDatabase) {
    let (scene, step) = (Scene::on(database).await, step());
    let old = scene.start("old", &[STOCK], false);
    let load = scene.load(0);
    let first_of_stock = scene.recorded(STOCK, &load).await;
    scene.handles(STOCK, step).await;
    let mut new = scene.start("new", &[STOCK, MAIL], false);
    let first_of_mail = scene.recorded(MAIL, &load).await;
    scene.handles(MAIL, step).await;

    // The new release is taken away: the old one goes on, and what only the new one has waits.
    new.kill().await.unwrap();
    scene.handles(STOCK, step).await;
    scene.holds_untried(MAIL, step).await;
    let held = "SELECT count(*) FROM bento_outbox_held WHERE route = 'release.mail'";
    let held = scene.number(held).await;
    let new = scene.start("again", &[STOCK, MAIL], false);
    scene.handles(MAIL, held + step).await;
    let end = load.stop().await;
    scene.drained().await;
    stop(new).await;
    stop(old).await;

    // A process that lacks the other handler, until that is retired.
    let only_mail = scene.start("mail", &[MAIL], false);
    let more = 30;
    for number in end..end + more {
        commit(&scene.outbox, number).await;
    }
    scene.handles_up_to(MAIL, end + more - 1).await;
    scene.holds_untried(STOCK, more).await;
    let held = u64::try_from(more).unwrap();
    let retired = scene.store().retire_handler(STOCK).await.unwrap();
    assert_eq!(retired, Some(Leftovers { held, dead: 0 }));
    for number in end + more..end + 2 * more {
        commit(&scene.outbox, number).await;
    }
    let end_of_mail = end + 2 * more;
    scene.handles_up_to(MAIL, end_of_mail - 1).await;
    let nothing_more = "SELECT count(*) FROM bento_outbox_status";
    scene.until("left", nothing_more, |left| left == more).await;
    stop(only_mail).await;

    let (stock, mail) = (scene.handled(STOCK).await, scene.handled(MAIL).await);
    let of = |process: &str| mail.iter().filter(|(name, _)| name == process).count();
    scene.tell(
        "releases",
        &format!(
            "{STOCK} handled {} of {end}, recorded at {first_of_stock}; {MAIL} {} of \
             {end_of_mail}, recorded at {first_of_mail}: {} by the new release, {} when it came \
             back, {} alone; \
             {more} left by the retired one",
            stock.len(),
            mail.len(),
            of("new"),
            of("again"),
            of("mail"),
        ),
    );
    assert_each_once(STOCK, &stock, first_of_stock, end);
    assert_each_once(MAIL, &mail, first_of_mail, end_of_mail);
    assert_eq!(
        [assert_in_order(STOCK, &stock), assert_in_order(MAIL, &mail)],
        [0, 0]
    );
}
