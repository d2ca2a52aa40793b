//! Sources of different types behind one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::{Most, Received, Resume, Source, SourceError, Subscription};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// A source of any type.
///
/// ```
/// use bento_relay::source::{BoxSource, MemorySource};
///
/// let source = BoxSource::new(MemorySource::default());
/// assert!(format!("{source:?}").contains("MemorySource"));
/// ```
pub struct BoxSource(Box<dyn AnySource>);

/// An open subscription of any type.
pub struct BoxSubscription(Box<dyn AnySubscription>);

trait AnySource: fmt::Debug + Send + Sync {
    fn subscribe(&self, resume: Resume) -> Answer<'_, BoxSubscription>;
}

trait AnySubscription: Send {
    fn receive(&mut self, most: Most) -> Answer<'_, Received>;
    fn acknowledge(&mut self) -> Answer<'_, ()>;
    fn lag(&mut self) -> Answer<'_, Option<u64>>;
    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<S: Source> AnySource for S {
    fn subscribe(&self, resume: Resume) -> Answer<'_, BoxSubscription> {
        Box::pin(async move {
            let subscription = Source::subscribe(self, resume).await?;
            Ok(BoxSubscription(Box::new(subscription)))
        })
    }
}

impl<S: Subscription> AnySubscription for S {
    fn receive(&mut self, most: Most) -> Answer<'_, Received> {
        Box::pin(Subscription::receive(self, most))
    }

    fn acknowledge(&mut self) -> Answer<'_, ()> {
        Box::pin(Subscription::acknowledge(self))
    }

    fn lag(&mut self) -> Answer<'_, Option<u64>> {
        Box::pin(Subscription::lag(self))
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Subscription::close(*self))
    }
}

impl BoxSource {
    /// Puts a source into a box.
    pub fn new(source: impl Source) -> Self {
        Self(Box::new(source))
    }
}

impl fmt::Debug for BoxSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BoxSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxSubscription").finish_non_exhaustive()
    }
}

impl Source for BoxSource {
    type Subscription = BoxSubscription;

    async fn subscribe(&self, resume: Resume) -> Result<BoxSubscription, SourceError> {
        self.0.subscribe(resume).await
    }
}

impl Subscription for BoxSubscription {
    async fn receive(&mut self, most: Most) -> Result<Received, SourceError> {
        self.0.receive(most).await
    }

    async fn acknowledge(&mut self) -> Result<(), SourceError> {
        self.0.acknowledge().await
    }

    async fn lag(&mut self) -> Result<Option<u64>, SourceError> {
        self.0.lag().await
    }

    async fn close(self) {
        self.0.close().await;
    }
}
