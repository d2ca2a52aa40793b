//! Streams on a server of NATS that other tests use as well.

use std::time::{Duration, Instant};

use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{Context, ErrorCode};

/// The time within which a stream can be made.
const MADE_WITHIN: Duration = Duration::from_secs(30);

/// Makes a stream. With its last stream NATS deletes the directory of all of them, which another
/// test may just need: then it is tried again.
pub(crate) async fn make_stream(context: &Context, config: Config) -> Stream {
    let begun = Instant::now();
    loop {
        match context.create_stream(&config).await {
            Ok(stream) => return stream,
            Err(error) if is_of_the_store(&error.kind()) && begun.elapsed() < MADE_WITHIN => {
                // Nothing tells when the directory is there.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("no stream `{}`: {error}", config.name),
        }
    }
}

fn is_of_the_store(error: &CreateStreamErrorKind) -> bool {
    match error {
        CreateStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_CREATE,
        _ => false,
    }
}
