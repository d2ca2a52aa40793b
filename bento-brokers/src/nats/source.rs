//! The source: a stream of NATS JetStream, read by a durable pull consumer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bento_relay::source::{Cursor, Resume, Source, SourceError};
use chrono::TimeDelta;

mod delivered;
mod line;
mod pull;
mod settings;
mod stream;
mod subscription;

use self::delivered::Position;
use self::line::Line;
use self::pull::Pull;
pub use self::settings::{NatsSourceSettings, NatsStart};
use self::settings::{name_fault, shown};
use self::stream::{Begin, ConsumerInfo, StreamInfo};
use self::subscription::Careful;
pub use self::subscription::NatsSubscription;
use crate::ConnectError;
use crate::message::Reading;

/// Receives from a stream of NATS JetStream.
///
/// ```
/// use bento_brokers::message::Reading;
/// use bento_brokers::nats::{NatsSource, NatsSourceSettings};
///
/// let source = NatsSource::new(NatsSourceSettings {
///     stream: "ORDERS".to_owned(),
///     ..NatsSourceSettings::default()
/// })?
/// .reading(Reading::default());
/// # Ok::<_, bento_brokers::ConnectError>(())
/// ```
///
/// # What NATS guarantees
///
/// * **Order**: messages come in the order of the stream. What was not acknowledged comes again
///   before what follows it.
/// * **Place**: the cursor that is stored with the events is the sequence in the stream and the
///   time at which the stream stored it, and it counts, not what the consumer remembers. After a
///   crash between the commit and the acknowledgement nothing comes twice; after the restore of a
///   backup the messages that the database lacks come again, as long as the stream keeps them. A
///   stream that was deleted and made anew, which its time of creation tells, is read from its
///   beginning. One that lost its last messages, after a power failure or by the restore of its
///   backup, gives their numbers out again: the source goes on with what was stored since.
/// * **Retention**: the stream needs the retention `limits`. `workqueue` and `interest` delete what
///   is acknowledged, or what no consumer waits for, and so cannot go back to a cursor; they are
///   refused. What the limits of the stream delete before it is read is lost; that is logged.
/// * **The durable consumer** has the name of the source, or its `durable`, and belongs to it: a
///   consumer of that name which another program made is refused. It keeps the place for tools, and
///   with [`NatsStart::New`] for a source that has stored nothing yet. With [`NatsStart::All`] and
///   [`NatsStart::Time`] a database without a place begins there, whatever the consumer has
///   acknowledged: that is in another database.
/// * **A transformed copy** and its original, on two subjects of one stream, are two messages.
///
/// # How it goes on
///
/// The start of a consumer cannot be changed, and a consumer gives out again what was not
/// acknowledged *after* [`ack_wait`](NatsSourceSettings::ack_wait), behind messages that it gave
/// out in the meantime. So a subscription keeps the consumer only if it stands exactly at the
/// cursor, with nothing unacknowledged and nothing asked for. Else it deletes it and makes it anew
/// behind the cursor.
///
/// A process that lost its lease and still reads has no consumer after that. If it asks the new
/// one, the gap in the numbers of the deliveries ends the subscription, and the next one begins
/// behind the cursor. One acknowledgement, of the last message, stands for a whole batch, and the
/// server confirms it.
///
/// A message whose headers are not UTF-8, or malformed, ends the connection of the client that
/// receives it. So after a connection that was lost, messages are asked for one by one, in base64,
/// until there is none or 256 were well formed. That takes a request for each.
///
/// # Permissions
///
/// A user needs to publish to `$JS.API.STREAM.INFO.<stream>`, `$JS.API.STREAM.MSG.GET.<stream>`,
/// `$JS.API.CONSUMER.INFO.<stream>.<durable>`,
/// `$JS.API.CONSUMER.DURABLE.CREATE.<stream>.<durable>`,
/// `$JS.API.CONSUMER.DELETE.<stream>.<durable>`, `$JS.API.CONSUMER.MSG.NEXT.<stream>.<durable>` and
/// `$JS.ACK.<stream>.<durable>.>`; to subscribe to `_INBOX.>`; and with `create` also to publish to
/// `$JS.API.STREAM.CREATE.<stream>`.
///
/// # Failures
///
/// | what happens | class |
/// |---|---|
/// | no connection, a lost one, no answer in time, no leader, JetStream not ready | unavailable |
/// | the consumer was deleted, or another process reads with it | unavailable |
/// | NATS says nothing for 12 s, though it should every 5 s | unavailable |
/// | the credentials are not accepted, a permission is missing | refused |
/// | the stream is missing and not to be made, or has another retention than `limits` | refused |
/// | the durable consumer was made by another program | refused |
/// | several `subjects` and a server before 2.10 | refused |
/// | `ack_wait` is not longer than the lease | refused |
pub struct NatsSource {
    settings: NatsSourceSettings,
    reading: Reading,
    /// True after a connection was lost: its message may be one that the client cannot read.
    was_cut: Arc<AtomicBool>,
}

impl NatsSource {
    /// Checks the settings. No server is asked before the subscription.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: NatsSourceSettings) -> Result<Self, ConnectError> {
        settings.check()?;
        Ok(Self {
            settings,
            reading: Reading::default(),
            was_cut: Arc::default(),
        })
    }

    /// Sets the way from messages to events.
    #[must_use]
    pub fn reading(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    /// The name of the durable consumer.
    fn durable_name<'n>(&'n self, source: &'n str) -> Result<&'n str, SourceError> {
        let Some(own) = &self.settings.durable else {
            return match name_fault(source) {
                None => Ok(source),
                Some(why) => Err(SourceError::refused(format!(
                    "the name of the source, `{}`, cannot be that of a durable consumer: {why}; \
                     set `durable`",
                    shown(source)
                ))),
            };
        };
        Ok(own)
    }

    /// The place behind a position of this stream.
    async fn behind(
        &self,
        line: &Line,
        stream: &StreamInfo,
        position: Position,
    ) -> Result<Begin, SourceError> {
        let (
            name,
            Position {
                sequence,
                stored_at,
            },
        ) = (&*self.settings.stream, position);
        let (first, last) = (stream.state.first_seq, stream.state.last_seq);
        if sequence > last {
            tracing::warn!(
                stream = name,
                cursor = sequence,
                last,
                "the stream has lost messages that the source has read: it goes on behind the last \
                 one that is left"
            );
            return Ok(Begin::At(last + 1));
        }
        if sequence < first {
            if sequence + 1 < first {
                tracing::warn!(
                    stream = name,
                    cursor = sequence,
                    first,
                    "the limits of the stream deleted messages before the source read them"
                );
            }
            return Ok(Begin::At(sequence + 1));
        }
        let Some(read_at) = stored_at else {
            return Ok(Begin::At(sequence + 1));
        };
        let found = StreamInfo::stored_at(line, name, sequence).await?;
        if found.is_none_or(|found| found == read_at) {
            return Ok(Begin::At(sequence + 1));
        }
        tracing::warn!(
            stream = name,
            cursor = sequence,
            "the stream has lost messages that the source has read, and has others under their \
             numbers: it goes on with what was stored since"
        );
        // What has the lost numbers was stored later than what the source has read.
        Ok(Begin::Time(read_at + TimeDelta::nanoseconds(1)))
    }

    /// The place at which a subscription begins.
    async fn begin(
        &self,
        line: &Line,
        stream: &StreamInfo,
        cursor: Option<&Cursor>,
        consumer: Option<&ConsumerInfo>,
    ) -> Result<Begin, SourceError> {
        let name = &*self.settings.stream;
        let own = cursor.filter(|cursor| cursor.incarnation == stream.incarnation());
        if let Some(position) = own.and_then(|cursor| Position::of(&cursor.place)) {
            return self.behind(line, stream, position).await;
        }
        if let Some(cursor) = cursor {
            tracing::warn!(
                stream = name,
                cursor = cursor.place,
                "the stream is another one than that of the cursor: it is read from its beginning"
            );
        }
        Ok(match (cursor, self.settings.start, consumer) {
            // What a consumer has acknowledged is stored in another database, or in none: nothing
            // of this stream is in this one.
            (Some(_), ..) | (None, NatsStart::All, _) => Begin::First,
            (None, NatsStart::Time(time), _) => Begin::Time(time),
            // The consumer knows the place: it may be made anew before anything is stored.
            (None, NatsStart::New, Some(consumer)) => consumer.place(),
            (None, NatsStart::New, None) => Begin::At(stream.state.last_seq + 1),
        })
    }
}

impl Source for NatsSource {
    type Subscription = NatsSubscription;

    async fn subscribe(&self, resume: Resume) -> Result<NatsSubscription, SourceError> {
        let settings = &self.settings;
        if settings.ack_wait <= resume.lease {
            return Err(SourceError::refused(format!(
                "`ack_wait` is {:?} and must be longer than the lease of the source, {:?}: \
                 raise it",
                settings.ack_wait, resume.lease
            )));
        }
        let name = self.durable_name(&resume.source)?;
        let line = Line::open(settings).await?;
        let stream = StreamInfo::get(&line, settings).await?;
        let durable = settings.durable(name, &resume.source, stream.filters(settings));
        let found = durable.get_own(&line).await?;
        let begin = self.begin(&line, &stream, resume.cursor.as_ref(), found.as_ref());
        let begin = begin.await?;
        let consumer = match found {
            Some(found) if durable.goes_on(&found, &begin) => found,
            found => {
                if found.is_some() {
                    durable.delete(&line).await?;
                }
                durable.make(&line, &begin).await?
            }
        };
        let pull = Pull::new(&line, &durable.stream, &durable.name).await?;
        let is_careful = self.was_cut.swap(false, Ordering::Relaxed);
        Ok(NatsSubscription {
            line,
            durable,
            pull,
            reading: self.reading.clone(),
            source: resume.source,
            incarnation: stream.incarnation(),
            request_timeout: settings.request_timeout,
            last: match begin {
                Begin::At(sequence) => sequence.saturating_sub(1),
                Begin::First | Begin::Time(_) => consumer.delivered.stream_seq,
            },
            number: consumer.delivered.consumer_seq,
            ack: None,
            kept: None,
            ended: None,
            careful: is_careful.then(Careful::default),
            was_cut: Arc::clone(&self.was_cut),
        })
    }
}

impl fmt::Debug for NatsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSource")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
