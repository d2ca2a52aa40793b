//! The answers of the streams, all on one subscription.
//!
//! The client itself gives each message a random inbox, a channel, a timer and a boxed future, and
//! wakes the task for every answer. Here the inbox of a message is the number of its call, its
//! place in it and a token, and a call wakes once, when it has all of its answers.
//!
//! Whoever listens to a subject sees the inboxes of its messages. The tokens keep them from
//! answering for others, of other subjects.
//!
//! Decision: docs/decisions/0026-acknowledgements-share-a-subscription.md

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Client, Message, StatusCode, Subject, SubscribeError, Subscriber, jetstream};
use bento_relay::publish::PublishError;
use bytes::BytesMut;
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;

use super::{NatsSettings, Outgoing, failure};

/// The result of one message.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A stream has it.
    Stored,
    /// Its subject has no subscriber.
    Unheard,
    /// It was not taken.
    Failed(PublishError),
}

/// Sends messages, and waits for the answers to them.
pub(super) struct Acks {
    client: Client,
    waiting: Arc<Waiting>,
    reader: AbortHandle,
}

/// The most bytes that an inbox adds to what all begin with, as a rule.
const INBOX: usize = 40;

/// The messages that wait for an answer.
struct Waiting {
    /// The beginning of the subject of every answer, up to and with a dot.
    inbox: String,
    /// The secret key of the tokens.
    key: RandomState,
    /// The name of the stream that must have taken an event, if there is one.
    expected_stream: Option<String>,
    /// The room for more unacknowledged messages.
    room: Semaphore,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    last: u64,
    open: HashMap<u64, Answers>,
}

/// The answers to one call.
#[derive(Default)]
struct Answers {
    outcomes: Vec<Option<Outcome>>,
    count: usize,
    /// The number of answers to come, and the receiver that waits for the last of them.
    complete: Option<(usize, oneshot::Sender<()>)>,
}

/// Messages that are sent together. Who drops it waits for them no more.
pub(super) struct Call<'a> {
    acks: &'a Acks,
    number: u64,
    sent: usize,
    /// The subjects of the answers, in one piece of memory.
    inboxes: BytesMut,
}

impl Acks {
    /// Begins to listen for answers.
    pub(super) async fn listen(
        client: Client,
        settings: &NatsSettings,
    ) -> Result<Self, SubscribeError> {
        let inbox = client.new_inbox() + ".";
        let subscriber = client.subscribe(format!("{inbox}*.*.*")).await?;
        let waiting = Arc::new(Waiting::new(inbox, settings));
        let reader = tokio::spawn(read(subscriber, Arc::clone(&waiting))).abort_handle();
        Ok(Self {
            client,
            waiting,
            reader,
        })
    }

    /// Begins a call with this number of messages.
    pub(super) fn call(&self, messages: usize) -> Call<'_> {
        let number = self.waiting.calls().begin(messages);
        let inboxes = BytesMut::with_capacity(messages * (self.waiting.inbox.len() + INBOX));
        Call {
            acks: self,
            number,
            sent: 0,
            inboxes,
        }
    }
}

/// The subscription would keep the connection open.
impl Drop for Acks {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Call<'_> {
    /// Sends the message with this place in the call, as soon as there is room for it.
    pub(super) async fn send(
        &mut self,
        place: usize,
        outgoing: Outgoing,
    ) -> Result<(), PublishError> {
        let Outgoing {
            subject,
            headers,
            body,
        } = outgoing;
        let Acks {
            client, waiting, ..
        } = self.acks;
        let room = waiting.room.acquire().await.expect("it is never closed");
        waiting.write_inbox(&mut self.inboxes, self.number, place);
        let inbox = Subject::from_utf8(self.inboxes.split()).expect("a text is UTF-8");
        client
            .publish_with_reply_and_headers(subject, inbox, headers, body)
            .await
            .map_err(failure::unsent)?;
        room.forget();
        self.sent += 1;
        Ok(())
    }

    /// Waits until everything that was sent is answered.
    pub(super) async fn answered(&self) {
        let answers = |calls: &mut Calls| calls.open.get_mut(&self.number)?.complete(self.sent);
        let complete = answers(&mut self.acks.waiting.calls());
        if let Some(complete) = complete {
            // The reader ends with the client only, and then nothing is answered any more.
            let _ = complete.await;
        }
    }

    /// The answers by place, as far as there are any. Makes room for others, whatever is not
    /// answered.
    pub(super) fn end(&mut self) -> Vec<Option<Outcome>> {
        let waiting = &self.acks.waiting;
        let answers = waiting
            .calls()
            .open
            .remove(&self.number)
            .unwrap_or_default();
        waiting
            .room
            .add_permits(std::mem::take(&mut self.sent).saturating_sub(answers.count));
        answers.outcomes
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Calls {
    fn begin(&mut self, messages: usize) -> u64 {
        self.last += 1;
        let outcomes = std::iter::repeat_with(|| None).take(messages).collect();
        self.open.insert(
            self.last,
            Answers {
                outcomes,
                ..Answers::default()
            },
        );
        self.last
    }
}

impl Answers {
    /// Receives a signal when this number of answers has come; `None` if it has come already.
    fn complete(&mut self, sent: usize) -> Option<oneshot::Receiver<()>> {
        (self.count < sent).then(|| {
            let (complete, told) = oneshot::channel();
            self.complete = Some((sent, complete));
            told
        })
    }

    /// Takes the first answer to a message.
    fn take(&mut self, place: usize, outcome: impl FnOnce() -> Outcome) -> bool {
        let Some(slot @ None) = self.outcomes.get_mut(place) else {
            return false;
        };
        *slot = Some(outcome());
        self.count += 1;
        if let Some((_, complete)) = self.complete.take_if(|(sent, _)| *sent == self.count) {
            // The caller has stopped waiting.
            let _ = complete.send(());
        }
        true
    }
}

impl Waiting {
    fn new(inbox: String, settings: &NatsSettings) -> Self {
        let room = Semaphore::new(settings.max_in_flight.min(Semaphore::MAX_PERMITS));
        let expected_stream = settings.expected_stream.clone();
        Self {
            inbox,
            key: RandomState::new(),
            expected_stream,
            room,
            calls: Mutex::default(),
        }
    }

    fn write_inbox(&self, buffer: &mut BytesMut, number: u64, place: usize) {
        let token = self.token(number, place);
        write!(buffer, "{}{number}.{place}.{token:016x}", self.inbox)
            .expect("a buffer takes every text");
    }

    /// Returns what cannot be guessed from the tokens of other messages: SipHash with a random key.
    fn token(&self, number: u64, place: usize) -> u64 {
        self.key.hash_one((number, place))
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, message: &Message) {
        let Some((number, place)) = self.place(&message.subject) else {
            return;
        };
        if self
            .calls()
            .open
            .get_mut(&number)
            .is_some_and(|answers| answers.take(place, || self.outcome(message)))
        {
            self.room.add_permits(1);
        }
    }

    /// The call and the place in it that an answer is for. None if its token is wrong.
    fn place(&self, subject: &str) -> Option<(u64, usize)> {
        let (number, rest) = subject.strip_prefix(&*self.inbox)?.split_once('.')?;
        let (place, token) = rest.split_once('.')?;
        let (number, place) = (number.parse().ok()?, place.parse().ok()?);
        let is_ours = u64::from_str_radix(token, 16) == Ok(self.token(number, place));
        is_ours.then_some((number, place))
    }

    fn outcome(&self, message: &Message) -> Outcome {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Outcome::Unheard;
        }
        let no_stream =
            || PublishError::unavailable("the answer came from a subscriber, not from a stream");
        match serde_json::from_slice(&message.payload) {
            Ok(Answer {
                error: Some(error), ..
            }) => Outcome::Failed(failure::refused(&error)),
            Ok(Answer {
                stream: Some(stream),
                sequence: Some(_),
                ..
            }) => match &self.expected_stream {
                Some(expected) if *expected != stream => {
                    Outcome::Failed(failure::elsewhere(&stream, expected))
                }
                _ => Outcome::Stored,
            },
            Ok(_) => Outcome::Failed(no_stream()),
            Err(error) => Outcome::Failed(no_stream().because(error)),
        }
    }
}

async fn read(mut answers: Subscriber, waiting: Arc<Waiting>) {
    while let Some(message) = answers.next().await {
        waiting.note(&message);
    }
}

/// The answer of JetStream: an error, or the place of the message. The answer of another subscriber
/// is neither.
#[derive(Deserialize)]
struct Answer<'a> {
    error: Option<jetstream::Error>,
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
    #[serde(rename = "seq")]
    sequence: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> Message {
        Message {
            subject: "".into(),
            reply: None,
            payload: payload.to_owned().into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    fn waiting(expected_stream: Option<&str>) -> Waiting {
        let expected_stream = expected_stream.map(str::to_owned);
        Waiting::new(
            "_INBOX.x.".to_owned(),
            &NatsSettings {
                expected_stream,
                ..NatsSettings::default()
            },
        )
    }

    fn outcome(message: &Message) -> Outcome {
        waiting(None).outcome(message)
    }

    #[test]
    fn only_who_has_the_token_of_a_message_answers_for_it() {
        let waiting = waiting(None);
        let inbox = |number, place| {
            let mut buffer = BytesMut::new();
            waiting.write_inbox(&mut buffer, number, place);
            String::from_utf8(buffer.to_vec()).unwrap()
        };
        assert_eq!(waiting.place(&inbox(7, 3)), Some((7, 3)));
        let (_, token) = inbox(7, 3)
            .rsplit_once('.')
            .map(|(_, token)| ((), token.to_owned()))
            .unwrap();
        let guesses = [
            format!("7.4.{token}"),
            format!("8.3.{token}"),
            "7.3.0".to_owned(),
            "7.3.".to_owned(),
            "7.3".to_owned(),
        ];
        for forged in guesses.map(|guess| format!("_INBOX.x.{guess}")) {
            assert_eq!(waiting.place(&forged), None, "{forged}");
        }
    }

    #[test]
    fn another_stream_than_the_expected_one_confirms_nothing() {
        let stored = message(r#"{"stream":"orders","seq":1}"#);
        assert!(matches!(
            waiting(Some("orders")).outcome(&stored),
            Outcome::Stored
        ));
        let Outcome::Failed(error) = waiting(Some("audit")).outcome(&stored) else {
            panic!("it is another stream")
        };
        assert_eq!(
            error.to_string(),
            "the stream `orders` of NATS answered, and not `audit`, which is expected"
        );
    }

    #[test]
    fn only_the_first_answer_counts() {
        let mut calls = Calls::default();
        let number = calls.begin(2);
        let answers = calls.open.get_mut(&number).unwrap();
        let stored = message(r#"{"stream":"s","seq":1}"#);
        assert!(answers.take(0, || outcome(&stored)));
        let mut complete = answers.complete(2).unwrap();
        assert!(
            !answers.take(0, || outcome(&message("again")))
                && !answers.take(2, || outcome(&stored))
        );
        assert!(complete.try_recv().is_err(), "one is not answered");
        assert!(answers.take(1, || outcome(&stored)));
        complete.try_recv().unwrap();
        assert!(
            answers
                .outcomes
                .iter()
                .all(|outcome| matches!(outcome, Some(Outcome::Stored)))
        );
        assert!(
            answers.complete(2).is_none(),
            "there is nothing to wait for"
        );
    }

    #[test]
    fn an_answer_is_of_a_stream_or_confirms_nothing() {
        let full = r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"s","seq":0}"#;
        let Outcome::Failed(refused) = outcome(&message(full)) else {
            panic!("it was refused")
        };
        assert!(
            refused.to_string().contains("maximum messages exceeded"),
            "{refused}"
        );
        for other in ["", "+OK", "{}", r#"{"seq":1}"#, r#"{"stream":"s"}"#] {
            assert!(
                matches!(outcome(&message(other)), Outcome::Failed(_)),
                "{other}"
            );
        }
        let unheard = Message {
            status: Some(StatusCode::NO_RESPONDERS),
            ..message("")
        };
        assert!(matches!(outcome(&unheard), Outcome::Unheard));
        assert!(matches!(
            outcome(&message(r#"{"stream":"s","seq":9,"duplicate":true}"#)),
            Outcome::Stored
        ));
    }
}
