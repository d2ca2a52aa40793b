//! A broker that goes, comes back, is made anew, or was never there.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use bento_relay::source::{Resume, Source, SourceError, Subscription};

use super::bench::{acknowledge, events, nothing_comes, numbers, receive, subscribe, take, up_to};
use super::{LEASE, SourceBench, skipped};

/// A broker that is away is given up within this time.
const AWAY: Duration = Duration::from_secs(20);

/// The connection ends in the middle of a batch: a new subscription goes on with what was not
/// acknowledged, in order. Where the broker alone knows what comes next, the last acknowledgement
/// may end with the connection, and its messages come again as well.
pub async fn a_severed_connection_loses_nothing<B: SourceBench>(bench: &B) {
    bench.send(&events(1..=10)).await;
    let mut first = subscribe(bench, None).await;
    let stored = take(&mut first, 2).await.cursor;
    acknowledge(&mut first).await;
    take(&mut first, 5).await;
    if !bench.sever().await {
        return skipped(
            "a_severed_connection_loses_nothing",
            "no connection can be cut off",
        );
    }
    // It says so, or goes on by itself; either way it ends.
    let after = receive(&mut first, up_to(1)).await;
    if let Ok(received) = &after {
        let seen = numbers(&received.messages);
        assert!(seen.is_empty() || seen == [8], "{seen:?} came behind 7");
    }
    drop(first);
    bench.send(&events(11..=12)).await;
    let mut second = subscribe(bench, stored).await;
    let mut seen = numbers(&take(&mut second, 10).await.messages);
    if !bench.traits().has_places && seen.starts_with(&[1, 2]) {
        seen.drain(..2);
        seen.extend(numbers(&take(&mut second, 2).await.messages));
    }
    assert!(seen.iter().copied().eq(3..=12), "{seen:?} came again");
    acknowledge(&mut second).await;
    nothing_comes(&mut second).await;
    second.close().await;
}

/// A stream that was deleted and made anew is read from its beginning, whatever the cursor says:
/// that was of another one.
pub async fn a_stream_made_anew_is_read_from_its_beginning<B: SourceBench>(bench: &B) {
    bench.send(&events(1..=6)).await;
    let mut first = subscribe(bench, None).await;
    let cursor = take(&mut first, 4).await.cursor;
    acknowledge(&mut first).await;
    if !bench.make_anew().await {
        return skipped(
            "a_stream_made_anew_is_read_from_its_beginning",
            "a stream cannot be told from the one before",
        );
    }
    bench.send(&events(101..=106)).await;
    // The old subscription ends, or has nothing more; it does not go on in the middle.
    if let Ok(received) = receive(&mut first, up_to(10)).await {
        let seen = numbers(&received.messages);
        let is_old_or_whole = seen.iter().all(|number| *number < 100) || seen[0] == 101;
        assert!(is_old_or_whole, "{seen:?} came to the old subscription");
    }
    drop(first);
    let mut second = subscribe(bench, cursor).await;
    let seen = numbers(&take(&mut second, 6).await.messages);
    assert!(seen.iter().copied().eq(101..=106), "{seen:?}");
    acknowledge(&mut second).await;
    nothing_comes(&mut second).await;
    second.close().await;
}

/// Without the stream an operator has to act: the subscription is refused.
pub async fn a_missing_stream_is_refused<B: SourceBench>(bench: &B) {
    match bench.missing() {
        Some(source) => {
            let error = error_of(source).await;
            assert!(error.is_refused(), "{}", error.chain());
        }
        None => skipped("a_missing_stream_is_refused", "every stream is there"),
    }
}

/// Without the broker the subscription fails in time, to be tried again.
pub async fn a_broker_that_is_away_is_unavailable<B: SourceBench>(bench: &B) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a port is free").to_string();
    match bench.unreachable(&address) {
        Some(source) => {
            let begun = Instant::now();
            let error = error_of(source).await;
            assert!(!error.is_refused(), "{}", error.chain());
            let took = begun.elapsed();
            assert!(took < AWAY, "it took {took:?}");
            let chain = error.chain();
            assert!(
                chain.contains(&address),
                "`{chain}` does not name {address}"
            );
        }
        None => skipped(
            "a_broker_that_is_away_is_unavailable",
            "there is no connection",
        ),
    }
}

async fn error_of(source: impl Source) -> SourceError {
    let resume = Resume::new("outside").lease(LEASE);
    match source.subscribe(resume).await {
        Ok(_) => panic!("subscribed to what is not there"),
        Err(error) => error,
    }
}
