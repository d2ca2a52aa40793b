//! Measures the longest poll of a future, to detect one that blocks its thread.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

/// Returns the output of a future, and the duration of its longest poll.
pub(super) async fn watched<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let mut future = pin!(future);
    let mut longest = Duration::ZERO;
    let output = poll_fn(|context| {
        // The real time, also in tests with a paused tokio clock.
        let began = Instant::now();
        let polled = future.as_mut().poll(context);
        longest = longest.max(began.elapsed());
        polled
    });
    (output.await, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_that_blocks_is_told_from_one_that_waits() {
        let wait = Duration::from_millis(60);
        let (said, waiting) = watched(async { (tokio::time::sleep(wait).await, 1).1 }).await;
        assert!(said == 1 && waiting < wait, "{waiting:?}");
        let ((), blocking) = watched(async { std::thread::sleep(wait) }).await;
        assert!(blocking >= wait, "{blocking:?}");
    }
}
