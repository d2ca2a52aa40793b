//! An open subscription.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Subject;
use async_nats::client::{Request, RequestErrorKind};
use bento_relay::source::{Cursor, Most, Received, SourceError, Subscription};
use tokio::time::{Instant, sleep};

use super::delivered::Delivered;
use super::line::Line;
use super::pull::Pull;
use super::stream::{Begin, Durable};
use crate::message::Reading;

/// Messages that NATS says are behind the last one come within this time, or later.
const FOLLOWING: Duration = Duration::from_millis(200);
/// Between two questions for a message that is not there yet.
const PAUSE: Duration = Duration::from_millis(100);
/// After this number of well-formed messages that were asked for one by one, the consumer gives
/// them out again.
const CAREFUL: usize = 256;

/// A subscription to a stream of NATS JetStream. See [`NatsSource`](super::NatsSource).
pub struct NatsSubscription {
    pub(super) line: Line,
    pub(super) durable: Durable,
    pub(super) pull: Pull,
    pub(super) reading: Reading,
    pub(super) source: Arc<str>,
    pub(super) incarnation: String,
    pub(super) request_timeout: Duration,
    /// The last message that was returned, or the place before the first.
    pub(super) last: u64,
    /// The number of the last delivery of the consumer.
    pub(super) number: u64,
    /// The acknowledgement that is to be sent.
    pub(super) ack: Option<Subject>,
    /// A message that did not fit into the bounds.
    pub(super) kept: Option<Delivered>,
    /// The end, if messages came before it.
    pub(super) ended: Option<SourceError>,
    /// Not `None` while messages are asked for one by one.
    pub(super) careful: Option<Careful>,
    /// Tells the next subscription to be careful.
    pub(super) was_cut: Arc<AtomicBool>,
}

/// The state of asking for messages one by one.
#[derive(Default)]
pub(super) struct Careful {
    /// The messages that were returned.
    returned: usize,
    acknowledged: usize,
    /// The well-formed ones since the last one that is not.
    well_formed: usize,
    has_all: bool,
}

/// The messages of one receive.
struct Batch {
    most: Most,
    until: Instant,
    delivered: Vec<Delivered>,
    bytes: usize,
}

impl Batch {
    fn new(most: Most) -> Self {
        Self {
            most,
            until: Instant::now() + most.wait,
            delivered: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes a message, or gives it back if the batch is full.
    fn take(&mut self, delivered: Delivered) -> Option<Delivered> {
        let bytes = self.bytes.saturating_add(delivered.body.len());
        if !self.is_empty() && bytes > self.most.bytes {
            return Some(delivered);
        }
        self.bytes = bytes;
        self.delivered.push(delivered);
        None
    }

    fn is_empty(&self) -> bool {
        self.delivered.is_empty()
    }

    fn is_full(&self) -> bool {
        self.delivered.len() >= self.most.messages
    }
}

impl NatsSubscription {
    /// Receives by the consumer.
    async fn pulled(&mut self, batch: &mut Batch) -> Result<(), SourceError> {
        let mut until = batch.until;
        while !batch.is_full() {
            if batch.is_empty() {
                self.pull.ask(&self.line, batch.most).await?;
            } else if !self.pull.is_open() {
                return Ok(());
            }
            let next = match self.pull.next(&self.line, until).await {
                Err(error) if batch.is_empty() => return Err(error),
                Err(error) => {
                    self.ended = Some(error);
                    return Ok(());
                }
                Ok(None) if !batch.is_empty() => return Ok(()),
                Ok(next) => next,
            };
            match next {
                Some(delivered) => {
                    let now = Instant::now();
                    until = match &delivered.by_consumer {
                        Some(by) if by.pending > 0 => batch.until.min(now + FOLLOWING),
                        _ => now,
                    };
                    if !self.is_new(&delivered)? {
                        until = batch.until;
                        continue;
                    }
                    self.kept = batch.take(delivered);
                    if self.kept.is_some() {
                        return Ok(());
                    }
                }
                None if self.pull.is_open() || Instant::now() >= batch.until => return Ok(()),
                // The request has ended, and the wait has not.
                None => {}
            }
        }
        Ok(())
    }

    /// False for a message that this subscription has had: it comes again because it was not
    /// acknowledged in time.
    fn is_new(&mut self, delivered: &Delivered) -> Result<bool, SourceError> {
        let Some(by) = &delivered.by_consumer else {
            return Ok(true);
        };
        if by.number != self.number + 1 {
            return Err(SourceError::unavailable(format!(
                "another process reads with the consumer `{}` of the stream `{}`: delivery {} \
                 came behind {}",
                self.durable.name, self.durable.stream, by.number, self.number
            )));
        }
        self.number = by.number;
        let is_new = delivered.sequence > self.last;
        self.last = self.last.max(delivered.sequence);
        Ok(is_new)
    }

    /// Receives by asking the stream for each message.
    async fn fetched(&mut self, batch: &mut Batch) -> Result<(), SourceError> {
        while !batch.is_full() {
            match self.durable.fetch(&self.line, self.last + 1).await {
                Ok(Some(delivered)) => {
                    let sequence = delivered.sequence;
                    // One that does not fit is asked for again.
                    if batch.take(delivered).is_some() {
                        break;
                    }
                    self.last = sequence;
                }
                Ok(None) => {
                    self.careful_state().has_all = true;
                    if !batch.is_empty() || Instant::now() >= batch.until {
                        break;
                    }
                    sleep(PAUSE.min(batch.until - Instant::now())).await;
                }
                Err(error) if batch.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        let careful = self.careful_state();
        careful.returned += batch.delivered.len();
        for delivered in &batch.delivered {
            careful.well_formed = match delivered.is_well_formed {
                true => careful.well_formed + 1,
                false => 0,
            };
        }
        Ok(())
    }

    fn careful_state(&mut self) -> &mut Careful {
        self.careful.get_or_insert_default()
    }

    /// Leaves asking one by one to the consumer again, made anew behind what was acknowledged.
    async fn trust_again(&mut self) -> Result<(), SourceError> {
        let is_over = self.careful.as_ref().is_some_and(|careful| {
            let is_enough = careful.has_all || careful.well_formed >= CAREFUL;
            is_enough && careful.acknowledged == careful.returned
        });
        if is_over {
            self.durable.delete(&self.line).await?;
            let begin = Begin::At(self.last + 1);
            let made = self.durable.make(&self.line, &begin).await?;
            self.number = made.delivered.consumer_seq;
            self.careful = None;
        }
        Ok(())
    }

    async fn receive_into(&mut self, batch: &mut Batch) -> Result<(), SourceError> {
        if let Some(error) = self.ended.take() {
            return Err(error);
        }
        if let Some(kept) = self.kept.take() {
            batch.take(kept);
        }
        self.trust_again().await?;
        match self.careful {
            Some(_) => self.fetched(batch).await,
            None => self.pulled(batch).await,
        }
    }

    /// Sends an acknowledgement, and waits until the server has it.
    async fn send_ack(&self, reply: &Subject) -> Result<(), SourceError> {
        let request = Request::new()
            .payload("+ACK".into())
            .timeout(Some(self.request_timeout));
        let sent = tokio::select! {
            biased;
            cut = self.line.cut() => return Err(cut),
            sent = self.line.client.send_request(reply.clone(), request) => sent,
        };
        sent.map(drop).map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => {
                let what = "the durable consumer of the source has gone";
                self.line.unavailable(what)
            }
            _ => self.line.violation(reply).unwrap_or_else(|| {
                let what = "NATS did not take the acknowledgement";
                self.line.unavailable(what).because(error)
            }),
        })
    }
}

impl Subscription for NatsSubscription {
    async fn receive(&mut self, most: Most) -> Result<Received, SourceError> {
        let mut batch = Batch::new(most);
        self.receive_into(&mut batch).await?;
        let Some(last) = batch.delivered.last() else {
            return Ok(Received::default());
        };
        let cursor = Cursor {
            incarnation: self.incarnation.clone(),
            place: last.position().to_string(),
        };
        if let Some(by) = &last.by_consumer {
            self.ack = Some(by.reply.clone());
        }
        let stream = (&*self.durable.stream, &*self.incarnation);
        let messages = batch.delivered.into_iter();
        let messages = messages
            .map(|delivered| delivered.message(&self.reading, &self.source, stream))
            .collect();
        Ok(Received {
            messages,
            cursor: Some(cursor),
        })
    }

    async fn acknowledge(&mut self) -> Result<(), SourceError> {
        if let Some(careful) = &mut self.careful {
            careful.acknowledged = careful.returned;
        }
        if let Some(reply) = &self.ack {
            self.send_ack(reply).await?;
            self.ack = None;
        }
        Ok(())
    }

    async fn lag(&mut self) -> Result<Option<u64>, SourceError> {
        let Some(info) = self.durable.get(&self.line).await? else {
            return Err(self
                .line
                .unavailable("the durable consumer of the source has gone"));
        };
        let fetched = self
            .careful
            .as_ref()
            .map_or(0, |careful| careful.acknowledged);
        let waiting = info.num_pending + info.num_ack_pending;
        Ok(Some(waiting.saturating_sub(fetched as u64)))
    }

    async fn close(self) {
        // What was asked for is forgotten with the connection, which ends with its last user.
        let _ = tokio::time::timeout(self.request_timeout, self.line.client.flush()).await;
    }
}

impl Drop for NatsSubscription {
    fn drop(&mut self) {
        if self.line.is_cut() {
            self.was_cut.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for NatsSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSubscription")
            .field("stream", &self.durable.stream)
            .field("durable", &self.durable.name)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
