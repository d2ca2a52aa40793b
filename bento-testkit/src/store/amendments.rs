//! The headers of dead letters: what a dry run says of them, and what an operator can change.

use std::collections::BTreeSet;
use std::sync::Arc;

use bento_core::EventId;
use bento_core::outbox::OutboxEntry;
use bento_relay::dead_letter::{
    Amendment, DeadLetter, DeadLetterFilter, DeadLetterQuery, DeadLetters, Discarding, Problem,
    ReplayMode,
};
use bento_relay::publish::Destination;
use bento_relay::store::{HeldRow, OutboxRow, Outcome, Settlement, StoreError};
use bytes::Bytes;

use super::StoreHarness;
use super::bench::{Bench, dead_letter, died, event};

/// A dry run tells of headers that cannot be sent or read, and is content once they are amended.
pub async fn a_dry_run_tells_of_headers_that_cannot_be_sent<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = dead(
        &bench,
        [
            r#"{"x-note":"line\nbreak"}"#,
            "[]",
            r#"{"x-user-name":"Zoë"}"#,
        ],
    )
    .await;
    let dry_run = async || {
        let report = bench
            .store
            .replay_all(&DeadLetterFilter::default(), ReplayMode::DryRun)
            .await;
        let mut problems = report.expect("the store is there").problems;
        problems.retain(|found| found.problem == Problem::UnsendableHeaders);
        problems
    };
    let found = dry_run().await;
    assert_eq!(
        found.iter().map(|found| found.event_id).collect::<Vec<_>>(),
        [event_id(&rows[0]), event_id(&rows[1])]
    );
    assert!(
        found[0].detail.contains("`x-note`") && found[1].detail.contains("not a JSON object"),
        "{found:?}"
    );
    for row in &rows[..2] {
        let amendment = Amendment::default().without_other_headers();
        bench
            .store
            .amend(event_id(row), Destination::DEFAULT, &amendment)
            .await
            .expect("it is there");
    }
    assert_eq!(dry_run().await, []);
}

/// An amended letter is replayed with its new headers; the rest of the event, and its letters for
/// other routes, stay.
pub async fn an_amended_letter_is_replayed_with_its_new_headers<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([with_headers(
            1,
            r#"{"actor":"ann","cookie":"c","x-a":"1","x-b":"2"}"#,
        )])
        .await;
    let elsewhere = Settlement::pending(
        rows[0].position,
        "elsewhere".into(),
        Outcome::Dead(dead_letter(true)),
    );
    bench.settle(vec![died(&rows[0], true), elsewhere]).await;
    let mut expected = everything(&bench.store).await;
    assert_eq!(&*expected[0].route, Destination::DEFAULT);
    let amendment = Amendment::default()
        .with_header("x-b", "Zoë")
        .with_header("x-c", "3")
        .without_header("cookie");
    let amend = async || {
        bench
            .store
            .amend(event_id(&rows[0]), Destination::DEFAULT, &amendment)
            .await
    };
    amend().await.expect("it is there");
    amend().await.expect("a repetition changes nothing more");
    let mut event = (*rows[0].envelope).clone();
    event.headers = r#"{"actor":"ann","x-a":"1","x-b":"Zoë","x-c":"3"}"#.into();
    expected[0].envelope = Arc::new(event.clone());
    assert_eq!(everything(&bench.store).await, expected);
    bench
        .store
        .replay(event_id(&rows[0]), Destination::DEFAULT)
        .await
        .expect("the store is there");
    let held = bench.next().await.held;
    assert_eq!(
        (held.len(), &*held[0].row.envelope, held[0].row.position),
        (1, &event, rows[0].position)
    );
}

/// A letter without headers can get some, and one can lose all.
pub async fn headers_can_be_added_and_taken_away<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = dead(&bench, [""]).await;
    for (amendment, headers) in [
        (
            Amendment::default().with_header("x-a", "1"),
            r#"{"x-a":"1"}"#,
        ),
        (Amendment::default().without_header("x-a"), ""),
    ] {
        bench
            .store
            .amend(event_id(&rows[0]), Destination::DEFAULT, &amendment)
            .await
            .expect("it is there");
        assert_eq!(everything(&bench.store).await[0].envelope.headers, headers);
    }
}

/// Headers that no broker could be sent, or that cannot be read, are refused, and nothing is
/// changed.
pub async fn an_amendment_that_cannot_be_sent_changes_nothing<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = dead(&bench, ["", r#"{"x-a":1}"#]).await;
    let before = everything(&bench.store).await;
    for (name, value) in [
        ("x-a", "line\nbreak"),
        ("authorization", "Bearer token"),
        ("actor", "evil"),
        ("x a", ""),
    ] {
        let amendment = Amendment::default().with_header(name, value);
        let refused = bench
            .store
            .amend(event_id(&rows[0]), Destination::DEFAULT, &amendment)
            .await;
        assert!(
            matches!(&refused, Err(StoreError::Unsendable(header)) if header.name == name),
            "{refused:?}"
        );
    }
    let some = Amendment::default().with_header("x-a", "1");
    let refused = bench
        .store
        .amend(event_id(&rows[1]), Destination::DEFAULT, &some)
        .await;
    assert!(
        matches!(refused, Err(StoreError::UnreadableHeaders { .. })),
        "{refused:?}"
    );
    assert_eq!(everything(&bench.store).await, before);
}

/// A letter that was replayed or discarded, or never was one, cannot be amended.
pub async fn a_letter_that_is_gone_cannot_be_amended<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = dead(&bench, [""; 3]).await;
    bench
        .store
        .replay(event_id(&rows[0]), Destination::DEFAULT)
        .await
        .expect("the store is there");
    let because = Discarding::because("wrong").expect("it says something");
    bench
        .store
        .discard(event_id(&rows[1]), Destination::DEFAULT, &because)
        .await
        .expect("the store is there");
    let amendment = Amendment::default().with_header("x-a", "1");
    for (id, to) in [
        (event_id(&rows[0]), Destination::DEFAULT),
        (event_id(&rows[1]), Destination::DEFAULT),
        (event_id(&rows[2]), "elsewhere"),
        (EventId::new(), Destination::DEFAULT),
    ] {
        let refused = bench.store.amend(id, to, &amendment).await;
        let is_it = |event_id: EventId, route: &str| (event_id, route) == (id, to);
        let Err(StoreError::NoDeadLetter { event_id, route }) = refused else {
            panic!("{refused:?}")
        };
        assert!(is_it(event_id, &route));
    }
    assert_eq!(bench.next().await.held[0].row, rows[0]);
}

/// A replay at the time of an amendment has the new headers if the amendment succeeded, and the old
/// ones if not.
pub async fn an_amendment_and_a_replay_at_once_agree<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = dead(&bench, [""; 20]).await;
    let amendment = Amendment::default().with_header("x-a", "1");
    let mut amended = BTreeSet::new();
    for row in &rows {
        let amending = bench
            .store
            .amend(event_id(row), Destination::DEFAULT, &amendment);
        let replaying = bench.store.replay(event_id(row), Destination::DEFAULT);
        let (amending, replayed) = tokio::join!(amending, replaying);
        assert!(replayed.expect("the store is there").replayed);
        match amending {
            Ok(()) => _ = amended.insert(event_id(row)),
            Err(StoreError::NoDeadLetter { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let held = bench.next().await.held;
    let has_new = |held: &&HeldRow| held.row.envelope.headers == r#"{"x-a":"1"}"#;
    assert_eq!(held.len(), rows.len());
    assert_eq!(
        held.iter()
            .filter(has_new)
            .map(|held| event_id(&held.row))
            .collect::<BTreeSet<_>>(),
        amended
    );
}

/// Buries an event with each of these headers, each of an aggregate of its own.
async fn dead<H: StoreHarness>(
    bench: &Bench<'_, H>,
    headers: impl IntoIterator<Item = &'static str>,
) -> Vec<OutboxRow> {
    let rows = bench
        .pending(
            (0..)
                .zip(headers)
                .map(|(number, headers)| with_headers(number, headers)),
        )
        .await;
    bench
        .settle(rows.iter().map(|row| died(row, true)).collect())
        .await;
    rows
}

fn with_headers(number: u32, headers: &'static str) -> OutboxEntry {
    let mut entry = event(&number.to_string(), number);
    entry.envelope.headers = Bytes::from_static(headers.as_bytes());
    entry
}

async fn everything(store: &impl DeadLetters) -> Vec<DeadLetter> {
    store
        .list(&DeadLetterQuery::default())
        .await
        .expect("the store is there")
}

fn event_id(row: &OutboxRow) -> EventId {
    row.envelope.event_id
}
