//! A broker that is unavailable, comes back, or refuses every client.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use bento_relay::publish::{Delivery, FailureClass, Publisher};
use tokio::sync::watch;

use super::bench::{aggregate_and_number, first_arrivals, round};
use super::{Mode, PublisherHarness, WRONG_PASSWORD, skipped};

const AGGREGATES: usize = 20;
/// Batches that are confirmed before the broker stops, and at least as many after it came back.
const BATCHES: usize = 15;
/// A broker that takes longer to come back than this does not.
const PATIENCE: Duration = Duration::from_secs(120);
/// Making a publisher asks no server. Longer than it takes on a busy machine, and shorter than any
/// attempt to connect gives up.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Between two attempts of what was not published.
const PAUSE: Duration = Duration::from_millis(100);

/// A broker is killed while events are published, and started again.
///
/// Every call in between answers in time, and says that the broker is unavailable. The same
/// publisher goes on afterwards. What was confirmed is there, once unless an answer about it was
/// missing, and each aggregate is in order.
pub async fn a_broker_that_stops_in_mid_stream_loses_nothing_it_confirmed<H: PublisherHarness>(
    harness: &H,
) {
    let Some(harness) = harness.private().await else {
        return skipped(
            "a_broker_that_stops_in_mid_stream_loses_nothing_it_confirmed",
            "no broker may be stopped",
        );
    };
    let stream = Stream::new(&harness).await;
    let mut progress = stream.progress.subscribe();
    let outage = async {
        progress
            .wait_for(|progress| progress.confirmed >= BATCHES * AGGREGATES)
            .await
            .expect("the stream goes on");
        harness.stop().await;
        progress
            .wait_for(|progress| progress.failed > 0)
            .await
            .expect("the stream goes on");
        harness.start().await;
    };
    let both = async { tokio::join!(stream.run(), outage) };
    let (rounds, ()) = tokio::time::timeout(PATIENCE, both)
        .await
        .expect("the publisher goes on after the outage");
    let unclear = stream.progress.borrow().unclear.clone();
    let received = harness.received(rounds * AGGREGATES).await;
    let arrivals = first_arrivals(&received);
    assert_eq!(arrivals.len(), AGGREGATES);
    for (aggregate, numbers) in arrivals {
        assert!(
            numbers.into_iter().eq(0..rounds),
            "`{aggregate}` is incomplete or out of order"
        );
    }
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    received
        .iter()
        .for_each(|received| *times.entry(aggregate_and_number(received)).or_default() += 1);
    for (event, times) in times {
        assert!(
            times == 1 || unclear.contains(&event),
            "{event:?} was confirmed once and arrived {times} times"
        );
    }
}

/// A publisher is made while its broker is away: that succeeds at once, whoever is asked says that
/// the broker is unavailable, and the same publisher goes on when the broker is there.
pub async fn a_publisher_that_is_made_while_the_broker_is_away_goes_on_when_it_is_there<
    H: PublisherHarness,
>(
    harness: &H,
) {
    let Some(harness) = harness.private().await else {
        let rule = "a_publisher_that_is_made_while_the_broker_is_away_goes_on_when_it_is_there";
        return skipped(rule, "no broker may be stopped");
    };
    harness.stop().await;
    let made = tokio::time::timeout(AT_ONCE, harness.publisher(Mode::Binary)).await;
    let publisher = made.expect("a publisher is made at once, whether its broker is there or not");
    let stream = Stream::with(&harness, publisher);
    let waiting = stream.attempt(round(&harness, AGGREGATES, 0), 0).await;
    assert_eq!(
        waiting.len(),
        AGGREGATES,
        "the broker is not there to confirm anything"
    );
    harness.start().await;
    tokio::time::timeout(PATIENCE, stream.finish(waiting, 0))
        .await
        .expect("the publisher connects by itself");
    tokio::time::timeout(PATIENCE, stream.finish(round(&harness, AGGREGATES, 1), 1))
        .await
        .expect("it goes on");
    let arrivals = first_arrivals(&harness.received(2 * AGGREGATES).await);
    assert_eq!(arrivals.len(), AGGREGATES);
    for (aggregate, numbers) in arrivals {
        assert!(
            numbers.into_iter().eq(0..2),
            "`{aggregate}` is incomplete or out of order"
        );
    }
}

/// Publishes as a relay does: the next event of an aggregate once the one before it is confirmed.
struct Stream<'a, H: PublisherHarness> {
    harness: &'a H,
    publisher: H::Publisher,
    progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct Progress {
    confirmed: usize,
    failed: usize,
    /// The events of which one attempt or more was not confirmed.
    unclear: BTreeSet<(String, usize)>,
}

impl<'a, H: PublisherHarness> Stream<'a, H> {
    async fn new(harness: &'a H) -> Self {
        Self::with(harness, harness.publisher(Mode::Binary).await)
    }

    fn with(harness: &'a H, publisher: H::Publisher) -> Self {
        Self {
            harness,
            publisher,
            progress: watch::Sender::default(),
        }
    }

    /// Publishes until enough was confirmed after a failure. Returns the number of rounds.
    async fn run(&self) -> usize {
        let mut after_failure = 0;
        let mut number = 0;
        while after_failure < BATCHES {
            self.finish(round(self.harness, AGGREGATES, number), number)
                .await;
            number += 1;
            after_failure += usize::from(self.progress.borrow().failed > 0);
        }
        number
    }

    /// Publishes until everything is confirmed.
    async fn finish(&self, mut waiting: Vec<Delivery>, number: usize) {
        while !waiting.is_empty() {
            waiting = self.attempt(waiting, number).await;
            if !waiting.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Publishes and returns what was not confirmed.
    async fn attempt(&self, batch: Vec<Delivery>, number: usize) -> Vec<Delivery> {
        let began = Instant::now();
        let answers = self.publisher.publish(&batch).await;
        let limit = self.harness.traits().answers_within;
        assert!(
            began.elapsed() <= limit,
            "an answer took {:?}, more than {limit:?}",
            began.elapsed()
        );
        assert_eq!(
            answers.len(),
            batch.len(),
            "there is one answer for each delivery"
        );
        let mut waiting = Vec::new();
        self.progress.send_modify(|progress| {
            for (delivery, answer) in batch.into_iter().zip(answers) {
                let Err(error) = answer else {
                    progress.confirmed += 1;
                    continue;
                };
                let class = error.class();
                assert_eq!(
                    class,
                    FailureClass::Unavailable,
                    "an outage is not the event's fault: {}",
                    error.chain()
                );
                progress.failed += 1;
                progress
                    .unclear
                    .insert((delivery.envelope.aggregate_id.clone(), number));
                waiting.push(delivery);
            }
        });
        waiting
    }
}

/// A broker that does not know the password is an error of connecting, and the error does not show
/// the password.
pub async fn wrong_credentials_are_a_typed_error_at_connect<H: PublisherHarness>(harness: &H) {
    match harness.wrong_credentials().await {
        Some(error) => assert_shows_no_password(&*error),
        None => skipped(
            "wrong_credentials_are_a_typed_error_at_connect",
            "no credentials are asked for",
        ),
    }
}

/// Without a server the error names host and port, and not the password.
pub async fn a_refused_connection_names_the_address_and_no_password<H: PublisherHarness>(
    harness: &H,
) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a port is free").to_string();
    let Some(error) = harness.refused(&address).await else {
        return skipped(
            "a_refused_connection_names_the_address_and_no_password",
            "there is no connection",
        );
    };
    assert_shows_no_password(&*error);
    assert!(
        error.to_string().contains(&address),
        "`{error}` does not name {address}"
    );
}

fn assert_shows_no_password(error: &dyn Error) {
    let mut shown = format!("{error:?}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        shown.push_str(&format!(": {error:?}: {error}"));
        cause = error.source();
    }
    assert!(
        !shown.contains(WRONG_PASSWORD),
        "an error shows the password: {shown}"
    );
}
