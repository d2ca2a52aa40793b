//! The rules by which a message may enter the inbox.

use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::limits;
use bento_relay::source::{Message, RawMessage, Unreadable};
use bento_seaorm::Inbox;
use bento_seaorm::inbox::Arrival;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::settings::SourceSettings;

/// The rules of one source.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) settings: SourceSettings,
    pub(super) own_origin: Option<String>,
    /// The time for which it is remembered that events were handled.
    pub(super) retention: Duration,
}

/// The messages of a batch, as they enter.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    pub(super) arrivals: Vec<Arrival>,
    /// The number of events of this service itself.
    pub(super) own: usize,
}

impl Admission {
    /// Applies the rules.
    pub(super) fn admit(&self, messages: Vec<Message>, now: DateTime<Utc>) -> Admitted {
        let mut admitted = Admitted::default();
        for message in messages {
            match message {
                Message::Event {
                    envelope,
                    origin,
                    sent_at,
                } => {
                    if self.is_own(origin.as_deref()) {
                        admitted.own += 1;
                    } else {
                        admitted.arrivals.push(self.event(*envelope, sent_at, now));
                    }
                }
                Message::Unreadable(unreadable) => {
                    admitted.arrivals.push(Arrival::Unreadable(unreadable));
                }
            }
        }
        admitted
    }

    fn is_own(&self, origin: Option<&str>) -> bool {
        !self.settings.accept_own && origin.is_some() && origin == self.own_origin.as_deref()
    }

    fn event(
        &self,
        mut event: Envelope,
        sent_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Arrival {
        // What a message says about its way is not for this service.
        event.topic = None;
        event.routing_key = None;
        event.routing = Bytes::new();
        event.routing_version = 0;
        if !self.settings.trusted {
            event.tenant_id = None;
        }
        if let Err(rule) = limits::check_envelope(&event) {
            return unstorable(event, &rule);
        }
        let age = now - sent_at.unwrap_or(event.occurred_at);
        let is_old = age.to_std().is_ok_and(|age| age > self.retention);
        if !is_old || self.settings.allow_old {
            return Arrival::Event(event);
        }
        let error = format!(
            "the message is older than {} days, the time for which it is remembered that events \
             were handled: if it comes again, its handlers may get it twice; discard it if it was \
             handled, replay it if not, set a longer `retention`, or let the source `allow_old`",
            self.retention.as_secs() / 86_400
        );
        Arrival::Refused {
            event,
            cause: Inbox::TOO_OLD,
            error,
        }
    }
}

/// The dead letter of an event that breaks a limit of the database.
fn unstorable(event: Envelope, rule: &limits::Unstorable) -> Arrival {
    let headers = [
        ("event_type", event.event_type.into_owned()),
        ("schema_version", event.schema_version.to_string()),
        ("aggregate_type", event.aggregate_type.into_owned()),
        ("aggregate_id", event.aggregate_id),
        (
            "headers",
            String::from_utf8_lossy(&event.headers).into_owned(),
        ),
    ];
    let raw = RawMessage::new("an event of the source", event.payload).with_headers(headers);
    Arrival::Unreadable(Unreadable::new(event.event_id, rule.to_string(), raw))
}
