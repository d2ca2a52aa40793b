//! Requests for messages to a pull consumer, and what comes of them.

use std::time::Duration;

use async_nats::{StatusCode, Subscriber};
use bento_relay::source::{Most, SourceError};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::delivered::Delivered;
use super::line::Line;

/// The messages that the client holds for a subscription. A request asks for fewer, so that none is
/// dropped.
pub(super) const CAPACITY: usize = 1 << 16;
const LARGEST_BATCH: usize = CAPACITY / 2;
/// The time for which NATS keeps a request that it cannot answer.
const EXPIRES: Duration = Duration::from_secs(30);
/// NATS says this often that it is there, while it has no message.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A NATS that says nothing for this long has forgotten the request.
const SILENCE: Duration = Duration::from_secs(12);
/// A bound of bytes beyond this one is none.
const UNBOUNDED: usize = 1 << 40;

/// The requests of a subscription, one at a time: the next is made when the one before is answered.
/// The subscription asks for a message only if there is room for it.
pub(super) struct Pull {
    inbox: Subscriber,
    /// The subjects of the answers begin with this.
    prefix: String,
    /// The subject of the requests.
    next: String,
    open: Option<Open>,
    count: u64,
    /// The last time at which NATS was heard.
    heard: Instant,
    /// True if a message is larger than the bytes asked for: it is asked for alone.
    is_too_large: bool,
}

/// A request that is not answered in full.
struct Open {
    /// The subject of its answers.
    reply: String,
    left: usize,
    has_come: bool,
}

/// The end of a request, or of all.
enum Said {
    Nothing,
    Ended,
    TooLarge,
}

impl Pull {
    pub(super) async fn new(line: &Line, stream: &str, durable: &str) -> Result<Self, SourceError> {
        let prefix = line.client.new_inbox() + ".";
        let subscribed = line.client.subscribe(format!("{prefix}*")).await;
        let inbox = subscribed.map_err(|error| {
            SourceError::unavailable("the source could not listen for messages").because(error)
        })?;
        Ok(Self {
            inbox,
            prefix,
            next: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"),
            open: None,
            count: 0,
            heard: Instant::now(),
            is_too_large: false,
        })
    }

    /// True while NATS may send a message without another request.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Asks for messages, unless it has.
    pub(super) async fn ask(&mut self, line: &Line, most: Most) -> Result<(), SourceError> {
        if self.is_open() {
            return Ok(());
        }
        let left = match self.is_too_large {
            true => 1,
            false => most.messages.clamp(1, LARGEST_BATCH),
        };
        let mut body = json!({
            "batch": left,
            "expires": nanoseconds(EXPIRES),
            "idle_heartbeat": nanoseconds(HEARTBEAT),
        });
        if most.bytes < UNBOUNDED && !self.is_too_large {
            body["max_bytes"] = most.bytes.max(1).into();
        }
        self.count += 1;
        let reply = format!("{}{}", self.prefix, self.count);
        let body = body.to_string().into();
        let sent = line
            .client
            .publish_with_reply(self.next.clone(), reply.clone(), body)
            .await;
        sent.map_err(|error| {
            SourceError::unavailable("the source could not ask NATS for messages").because(error)
        })?;
        self.heard = Instant::now();
        self.is_too_large = false;
        self.open = Some(Open {
            reply,
            left,
            has_come: false,
        });
        Ok(())
    }

    /// The next message, `None` if there is none until then or if the request has ended.
    pub(super) async fn next(
        &mut self,
        line: &Line,
        until: Instant,
    ) -> Result<Option<Delivered>, SourceError> {
        while self.is_open() {
            let silent = self.heard + SILENCE;
            let message = tokio::select! {
                biased;
                message = self.inbox.next() => message,
                cut = line.cut() => return Err(cut),
                () = sleep_until(until.min(silent)) => match until < silent {
                    true => return Ok(None),
                    false => {
                        let refused = line.violation(&self.next);
                        let silence = || line.unavailable("NATS forgot the request for messages");
                        return Err(refused.unwrap_or_else(silence));
                    }
                },
            };
            let Some(message) = message else {
                return Err(line.cut().await);
            };
            self.heard = Instant::now();
            if message.subject.starts_with(&self.prefix) {
                self.take_note(line, &message)?;
            } else if let Some(delivered) = Delivered::of_consumer(message) {
                self.count_one();
                return Ok(Some(delivered));
            }
        }
        Ok(None)
    }

    fn count_one(&mut self) {
        if let Some(open) = &mut self.open {
            open.has_come = true;
            open.left -= 1;
            if open.left == 0 {
                self.open = None;
            }
        }
    }

    /// Takes note of what NATS says about a request.
    fn take_note(&mut self, line: &Line, message: &async_nats::Message) -> Result<(), SourceError> {
        let said = said(line, message)?;
        // What it says of an earlier one counts no more.
        let Some(open) = self.open.take_if(|open| *open.reply == *message.subject) else {
            return Ok(());
        };
        match said {
            Said::Nothing => self.open = Some(open),
            Said::Ended => {}
            Said::TooLarge => self.is_too_large = !open.has_come,
        }
        Ok(())
    }
}

fn said(line: &Line, message: &async_nats::Message) -> Result<Said, SourceError> {
    let description = message.description.as_deref().unwrap_or_default();
    let lower = description.to_lowercase();
    match message.status {
        Some(StatusCode::IDLE_HEARTBEAT) | None => Ok(Said::Nothing),
        Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => Ok(Said::Ended),
        Some(_) if lower.contains("message size exceeds maxbytes") => Ok(Said::TooLarge),
        Some(_) if lower.contains("batch completed") => Ok(Said::Ended),
        Some(StatusCode::NO_RESPONDERS) => {
            Err(line.unavailable("the durable consumer of the source has gone"))
        }
        Some(status) => Err(line.unavailable(&format!(
            "NATS ended the request for messages with {status} {description}"
        ))),
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
