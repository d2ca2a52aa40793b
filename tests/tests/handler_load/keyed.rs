//! Handlers with a key that wait: as many calls as may run do run, all the time.

use std::time::Duration;

use bento_core::EventId;
use bento_handlers::{HandleError, Handlers, IdempotencyKey, event_handler};
use bento_relay::publish::Publishers;
use bento_seaorm::OutboxConnection;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::stage::{JobQueued, Stage, events, tell};
use crate::support::TestDatabase;

/// The time of a call, and the calls at once.
const CALL: Duration = Duration::from_millis(20);
const AT_ONCE: usize = 16;

/// The least share of the rate of a loop by hand.
const SHARE: f64 = 0.8;

#[event_handler(name = "mail.send", concurrency = 16, from = beginning)]
async fn send(_: JobQueued, _: IdempotencyKey) -> Result<(), HandleError> {
    sleep(CALL).await;
    Ok(())
}

pub async fn calls_that_wait_run_as_many_at_once_as_they_may(database: &TestDatabase) {
    let stage = Stage::on(database).await;
    let count = events(1600);
    let jobs: Vec<_> = (0..count)
        .map(|job| (i64::try_from(job).unwrap(), 0))
        .collect();
    for some in jobs.chunks(200) {
        stage.commit(some).await;
    }
    let db = stage.handlers_db().await;
    let alone = calls(count / 2, async || sleep(CALL).await).await;
    let before = by_hand(&db, count / 2).await;

    let dispatcher = Handlers::new(()).add(send::handler()).build(&db).unwrap();
    let relay = stage.relay(Publishers::new(), dispatcher).await;
    let relay = relay.start().unwrap();
    stage.log.reaches("mail.send", count).await;
    let done = stage.log.of("mail.send");
    stage.drained().await;
    relay.stop().await.unwrap();

    let after = by_hand(&db, count / 2).await;
    let (first, last) = (done.values().min().unwrap(), done.values().max().unwrap());
    let rate = |count: usize, took: Duration| count as f64 / took.as_secs_f64();
    let handled = rate(count, *last - *first + CALL);
    let by_hand = rate(count / 2 * 2, before + after);
    let share = handled / by_hand;
    let numbers = format!(
        "{count} calls of {} ms, {AT_ONCE} at once: {handled:.0} a second, {share:.2} of \
         {by_hand:.0} by hand; {:.0} without a database\n",
        CALL.as_millis(),
        rate(count / 2, alone),
    );
    tell("rate", &numbers);
    assert!(share >= SHARE, "{share:.2}");
}

/// The calls by hand, between the same two statements.
async fn by_hand(db: &OutboxConnection, count: usize) -> Duration {
    calls(count, async || {
        let event = EventId::new();
        let record = db.handled_record("by.hand", event).await.unwrap();
        assert!(!record.is_done);
        sleep(CALL).await;
        assert!(
            db.record_handled("by.hand", event, record.generation)
                .await
                .unwrap()
        );
    })
    .await
}

/// The time of this number of calls, as many at once as there may be.
async fn calls(count: usize, call: impl AsyncFn()) -> Duration {
    let begun = Instant::now();
    let call = &call;
    let each = (0..AT_ONCE).map(|_| async move {
        for _ in 0..count / AT_ONCE {
            call().await;
        }
    });
    join_all(each).await;
    begun.elapsed()
}
