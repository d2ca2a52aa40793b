//! Calls that run to their end although their future was dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::close::close;

/// The longest time that a call is finished in the background. Then its connection is closed.
pub(crate) const UNATTENDED: Duration = Duration::from_secs(60);

/// Runs a call to its end. If this future is dropped before, the rest is done in the background and
/// the answer dropped.
///
/// A task is spawned only if the future is dropped.
pub(crate) fn to_the_end<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> ToTheEnd<T> {
    ToTheEnd {
        call: Some(Box::pin(call)),
        runtime: None,
    }
}

/// See [`to_the_end`].
pub(crate) struct ToTheEnd<T: Send + 'static> {
    call: Option<BoxFuture<'static, T>>,
    /// The runtime that polled it first. Before that nothing has begun.
    runtime: Option<Handle>,
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if self.runtime.is_none() {
            self.runtime = Handle::try_current().ok();
        }
        // It is taken out, so that a call that panics is not polled again.
        let mut call = self
            .call
            .take()
            .expect("a future is not polled after its end");
        let polled = call.as_mut().poll(cx);
        if polled.is_pending() {
            self.call = Some(call);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        if let (Some(call), Some(runtime)) = (self.call.take(), self.runtime.take()) {
            runtime.spawn(finish(call));
        }
    }
}

/// Finishes a call whose future was dropped.
pub(super) async fn finish<T>(mut call: BoxFuture<'static, T>) {
    if timeout(UNATTENDED, &mut call).await.is_err() {
        close(call);
    }
}
