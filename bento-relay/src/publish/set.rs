//! Several publishers behind one trait object or one set.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::join_all;

use super::{
    Answering, Delivery, Destination, HandlerRoute, PublishError, Publisher, RelayTerms,
    UnfitPublisher,
};

type Answers = Vec<Result<(), PublishError>>;

/// [`Publisher`] without its type, to choose one at run time.
trait ErasedPublisher: fmt::Debug + Send + Sync + 'static {
    fn publish_erased<'a>(
        &'a self,
        batch: &'a [Delivery],
    ) -> Pin<Box<dyn Future<Output = Answers> + Send + 'a>>;
    fn chains_erased(&self, destination: &Destination) -> bool;
    fn answering_erased(&self, destination: &Destination) -> Answering;
    fn serves_erased(&self, destination: &Destination) -> bool;
    fn handlers_erased(&self) -> Vec<HandlerRoute>;
    fn has_only_handlers_erased(&self) -> bool;
    fn prepare_erased(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher>;
}

impl<P: Publisher> ErasedPublisher for P {
    fn publish_erased<'a>(
        &'a self,
        batch: &'a [Delivery],
    ) -> Pin<Box<dyn Future<Output = Answers> + Send + 'a>> {
        Box::pin(Publisher::publish(self, batch))
    }

    fn chains_erased(&self, destination: &Destination) -> bool {
        Publisher::chains(self, destination)
    }

    fn answering_erased(&self, destination: &Destination) -> Answering {
        Publisher::answering(self, destination)
    }

    fn serves_erased(&self, destination: &Destination) -> bool {
        Publisher::serves(self, destination)
    }

    fn handlers_erased(&self) -> Vec<HandlerRoute> {
        Publisher::handlers(self)
    }

    fn has_only_handlers_erased(&self) -> bool {
        Publisher::has_only_handlers(self)
    }

    fn prepare_erased(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        Publisher::prepare(self, terms)
    }
}

/// Any publisher, chosen at run time. Cheap to clone; costs one allocation for each batch.
#[derive(Clone, Debug)]
pub struct BoxPublisher(Arc<dyn ErasedPublisher>);

impl BoxPublisher {
    /// `publisher` without its type.
    pub fn new(publisher: impl Publisher) -> Self {
        Self(Arc::new(publisher))
    }
}

impl Publisher for BoxPublisher {
    async fn publish(&self, batch: &[Delivery]) -> Answers {
        self.0.publish_erased(batch).await
    }

    fn chains(&self, destination: &Destination) -> bool {
        self.0.chains_erased(destination)
    }

    fn answering(&self, destination: &Destination) -> Answering {
        self.0.answering_erased(destination)
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.0.serves_erased(destination)
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        self.0.handlers_erased()
    }

    fn has_only_handlers(&self) -> bool {
        self.0.has_only_handlers_erased()
    }

    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        self.0.prepare_erased(terms)
    }
}

/// Publishers by name: each serves the destinations that name it, and its own handlers under
/// whatever name it stands.
///
/// ```
/// use bento_relay::publish::{ConsolePublisher, Destination, MemoryPublisher};
/// use bento_relay::publish::{Publisher, Publishers};
///
/// let publishers = Publishers::new()
///     .with("console", ConsolePublisher::text())
///     .with("memory", MemoryPublisher::default());
/// assert!(publishers.serves(&Destination::new("audit").via("console")));
/// assert!(!publishers.serves(&Destination::new("kafka")));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Publishers {
    members: BTreeMap<Arc<str>, BoxPublisher>,
    /// The names of the members that bring handlers, by handler.
    handlers: BTreeMap<Arc<str>, Arc<str>>,
}

impl Publishers {
    /// A set without publishers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a publisher; an earlier one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, publisher: impl Publisher) -> Self {
        let (name, publisher) = (name.into(), BoxPublisher::new(publisher));
        self.handlers.retain(|_, member| *member != name);
        for handler in publisher.handlers() {
            self.handlers.insert(handler.name, Arc::clone(&name));
        }
        self.members.insert(name, publisher);
        self
    }

    /// Adds a publisher that calls handlers, under the name [`HandlerRoute::PUBLISHER`].
    #[must_use]
    pub fn with_handlers(self, publisher: impl Publisher) -> Self {
        self.with(HandlerRoute::PUBLISHER, publisher)
    }

    /// The publisher of this name.
    pub fn get(&self, name: &str) -> Option<&BoxPublisher> {
        self.members.get(name)
    }

    /// The names of the publishers, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(|name| &**name)
    }

    /// The name of the member for a destination: that which brings the handler, else the one that
    /// the destination names.
    fn member<'a>(&'a self, destination: &'a Destination) -> &'a str {
        let publisher = destination.publisher();
        match self.handlers.get(&destination.name) {
            Some(member) if publisher == HandlerRoute::PUBLISHER => member,
            _ => publisher,
        }
    }

    async fn publish_one_kind(&self, name: &str, batch: &[Delivery]) -> Answers {
        match self.get(name) {
            Some(publisher) => publisher.publish(batch).await,
            None => batch
                .iter()
                .map(|_| {
                    Err(PublishError::permanent(format!(
                        "unknown publisher `{name}`: add it to the `Publishers`"
                    )))
                })
                .collect(),
        }
    }
}

impl Publisher for Publishers {
    /// Hands each publisher its own deliveries, all at the same time.
    async fn publish(&self, batch: &[Delivery]) -> Answers {
        let Some(first) = batch.first() else {
            return Vec::new();
        };
        let name = self.member(&first.destination);
        if batch
            .iter()
            .all(|delivery| self.member(&delivery.destination) == name)
        {
            return self.publish_one_kind(name, batch).await;
        }
        let mut kinds: BTreeMap<&str, (Vec<usize>, Vec<Delivery>)> = BTreeMap::new();
        for (index, delivery) in batch.iter().enumerate() {
            let (indexes, deliveries) =
                kinds.entry(self.member(&delivery.destination)).or_default();
            indexes.push(index);
            deliveries.push(delivery.clone());
        }
        let calls = kinds
            .iter()
            .map(|(name, (_, deliveries))| self.publish_one_kind(name, deliveries));
        let answered = join_all(calls).await;
        let missing = || {
            Err(PublishError::unavailable(
                "the publisher did not answer for this event",
            ))
        };
        let mut answers: Answers = batch.iter().map(|_| missing()).collect();
        for ((indexes, _), kind) in kinds.into_values().zip(answered) {
            for (index, answer) in indexes.into_iter().zip(kind) {
                answers[index] = answer;
            }
        }
        answers
    }

    fn chains(&self, destination: &Destination) -> bool {
        self.get(self.member(destination))
            .is_some_and(|publisher| publisher.chains(destination))
    }

    fn answering(&self, destination: &Destination) -> Answering {
        self.get(self.member(destination))
            .map_or_else(Answering::default, |publisher| {
                publisher.answering(destination)
            })
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.get(self.member(destination))
            .is_some_and(|publisher| publisher.serves(destination))
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        let members = self.members.iter();
        let brought = members.flat_map(|(name, publisher)| {
            let handlers = publisher.handlers();
            handlers.into_iter().map(move |handler| (name, handler))
        });
        let is_its_own = |(name, handler): &(&Arc<str>, HandlerRoute)| {
            self.handlers.get(&handler.name) == Some(*name)
        };
        brought
            .filter(is_its_own)
            .map(|(_, handler)| handler)
            .collect()
    }

    fn has_only_handlers(&self) -> bool {
        let mut members = self.members.values();
        !self.members.is_empty() && members.all(Publisher::has_only_handlers)
    }

    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        let mut members = self.members.values();
        members.try_for_each(|member| member.prepare(terms))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::publish::MemoryPublisher;
    use bento_core::envelope::Envelope;

    fn delivery(to: Destination) -> Delivery {
        Delivery::new(
            Arc::new(Envelope::new(
                "order.created",
                1,
                DateTime::UNIX_EPOCH,
                "{}",
            )),
            to,
        )
    }

    #[tokio::test]
    async fn each_publisher_gets_its_own_and_answers_keep_their_order() {
        let (a, b) = (MemoryPublisher::default(), MemoryPublisher::default());
        let publishers = Publishers::new().with("a", a.clone()).with("b", b.clone());
        let batch = [
            delivery(Destination::new("b")),
            delivery(Destination::new("nobody")),
            delivery(Destination::new("copy").via("a")),
            delivery(Destination::new("b")),
        ];
        let answers = publishers.publish(&batch).await;
        let is_ok: Vec<_> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(is_ok, [true, false, true, true]);
        assert_eq!(
            answers[1].as_ref().unwrap_err().to_string(),
            "unknown publisher `nobody`: add it to the `Publishers`"
        );
        assert_eq!((a.published().len(), b.published().len()), (1, 2));
    }

    /// A publisher that brings one handler.
    #[derive(Debug)]
    struct Brings(&'static str, MemoryPublisher);

    impl Publisher for Brings {
        async fn publish(&self, batch: &[Delivery]) -> Answers {
            self.1.publish(batch).await
        }

        fn handlers(&self) -> Vec<HandlerRoute> {
            vec![HandlerRoute::new(self.0, ["order.*"])]
        }
    }

    #[tokio::test]
    async fn a_handler_is_reached_under_whatever_name_its_publisher_stands() {
        let (a, b) = (MemoryPublisher::default(), MemoryPublisher::default());
        let handlers = Publishers::new()
            .with_handlers(Brings("mail", a.clone()))
            .with("jobs", Brings("stock", b.clone()));
        assert!(handlers.has_only_handlers());
        let all = handlers.with("nats", MemoryPublisher::default());
        assert!(!all.has_only_handlers());
        let routes = all.handlers();
        let batch: Vec<_> = routes
            .iter()
            .map(|route| delivery(route.destination()))
            .collect();
        assert_eq!(batch.len(), 2);
        assert!(batch.iter().all(|to| all.serves(&to.destination)));
        assert!(all.publish(&batch).await.iter().all(Result::is_ok));
        assert_eq!((a.published().len(), b.published().len()), (1, 1));
        let replaced = all.with("jobs", MemoryPublisher::default());
        assert_eq!(replaced.handlers().len(), 1);
    }
}
