//! The tasks of a consumer: a reader for each source, and the measuring of the inbox.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bento_relay::inspect::Inspect as _;
use bento_relay::source::SourceError;
use bento_seaorm::Inbox;
use futures_util::FutureExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::reader::Reader;
use crate::telemetry::{self, TARGET_CONSUME};

/// The wait before a reader that panicked begins anew.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// The interval of measurements.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// Runs a reader until the consumer stops. One that panics begins anew.
pub(super) async fn keep_reading(reader: Reader) {
    loop {
        let run = AssertUnwindSafe(reader.run()).catch_unwind();
        if run.await.is_ok() {
            return;
        }
        tracing::error!(
            target: TARGET_CONSUME, source = &*reader.name,
            "the reader of the source panicked and begins anew",
        );
        reader.notes.fail(SourceError::unavailable(
            "the reader of the source panicked",
        ));
        if timeout(AFTER_PANIC, reader.stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// Measures the inbox until the consumer stops.
pub(super) async fn keep_measuring(inbox: Inbox, stop: CancellationToken) {
    loop {
        let store = inbox.store();
        // A database that is away is told by the relay and the readers.
        match stop.run_until_cancelled(store.backlog()).await {
            Some(Ok(backlog)) => telemetry::set_inbox(&backlog),
            Some(Err(_)) => {}
            None => return,
        }
        if timeout(MEASURE_EVERY, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}
