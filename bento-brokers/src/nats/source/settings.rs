//! The settings of a source.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::super::link::{Servers, address};
use super::super::{NatsCredentials, subject};
use crate::{ConnectError, ServerUrl, TlsSettings};

/// The settings of a source of NATS JetStream: a connection, a stream, and how to read it.
///
/// ```
/// use bento_brokers::nats::{NatsSourceSettings, NatsStart};
///
/// let settings = NatsSourceSettings {
///     urls: vec!["nats://a.local:4222".into()],
///     stream: "ORDERS".to_owned(),
///     subjects: vec!["orders.confirmed".to_owned()],
///     start: NatsStart::New,
///     ..NatsSourceSettings::default()
/// };
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSourceSettings {
    /// The servers of one cluster, `nats://localhost:4222` by default; `tls://` asks for TLS.
    /// Others of the cluster are found by themselves.
    pub urls: Vec<ServerUrl>,
    /// The credentials of the client; none by default. They replace a name and password, or a token
    /// alone, in the first URL that has them.
    pub credentials: Option<NatsCredentials>,
    /// Transport security.
    pub tls: TlsSettings,
    /// The name of the stream. Required.
    pub stream: String,
    /// The subjects of the stream that are read, with wildcards; all by default. More than one
    /// needs NATS 2.10, unless they are exactly those of the stream.
    pub subjects: Vec<String>,
    /// The name of the durable consumer; that of the source by default. It belongs to the source,
    /// which makes and deletes it.
    pub durable: Option<String>,
    /// Makes the stream if it is not there, of the [`subjects`](Self::subjects), with the defaults
    /// of NATS: stored in files, one replica, no limits. Off by default.
    pub create: bool,
    /// The place at which the first subscription begins: `all` by default.
    pub start: NatsStart,
    /// The time after which NATS gives out again what was not acknowledged; 60 s by default. It
    /// must be longer than the lease of the source.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub ack_wait: Duration,
    /// The time limit of a request to NATS, an acknowledgement among them; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub request_timeout: Duration,
    /// The time limit of connecting; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub connect_timeout: Duration,
}

/// The place at which a source begins that has stored nothing yet.
///
/// What is stored in the database decides, and not the durable consumer: without a stored place the
/// source deletes a consumer that stands elsewhere and makes it anew at this place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NatsStart {
    /// The first message that the stream still has.
    #[default]
    All,
    /// The first message after the first subscription. As long as nothing is stored, the durable
    /// consumer keeps that place: a later subscription goes on there.
    New,
    /// The first message that the stream took at this time or later.
    Time(DateTime<Utc>),
}

impl Default for NatsSourceSettings {
    fn default() -> Self {
        Self {
            urls: vec!["nats://localhost:4222".into()],
            credentials: None,
            tls: TlsSettings::default(),
            stream: String::new(),
            subjects: Vec::new(),
            durable: None,
            create: false,
            start: NatsStart::default(),
            ack_wait: Duration::from_secs(60),
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl NatsSourceSettings {
    /// Host and port of every server.
    pub(super) fn address(&self) -> String {
        address(&self.urls)
    }

    pub(super) fn servers(&self) -> Servers<'_> {
        Servers {
            urls: &self.urls,
            credentials: self.credentials.as_ref(),
            tls: &self.tls,
            connect_timeout: self.connect_timeout,
            capacity: super::pull::CAPACITY,
        }
    }

    /// # Errors
    /// Settings that can never be used.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        let refuse = |what: String| Err(ConnectError::settings(what));
        if self.stream.is_empty() {
            return refuse("`stream` is empty: name the stream that the source reads".to_owned());
        }
        if let Some(why) = name_fault(&self.stream) {
            return refuse(format!("invalid `stream` `{}`: {why}", shown(&self.stream)));
        }
        if let Some(durable) = &self.durable
            && let Some(why) = name_fault(durable)
        {
            return refuse(format!("invalid `durable` `{}`: {why}", shown(durable)));
        }
        for subject in &self.subjects {
            if let Some(why) = filter_fault(subject) {
                let subject = shown(subject);
                return refuse(format!("invalid subject `{subject}` in `subjects`: {why}"));
            }
        }
        if self.create && self.subjects.is_empty() {
            return refuse(
                "`create` makes the stream of the `subjects`, and there are none: name them, or \
                 make the stream yourself"
                    .to_owned(),
            );
        }
        for (name, time) in [
            ("ack_wait", self.ack_wait),
            ("request_timeout", self.request_timeout),
        ] {
            if time.is_zero() {
                return refuse(format!("`{name}` must be greater than 0"));
            }
        }
        self.servers().check()
    }
}

/// The reason why a text cannot be the name of a stream or a consumer.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > 255 {
        Some("it is longer than 255 bytes")
    } else if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Some("it has a space or a control character")
    } else if name.contains(['.', '*', '>', '/', '\\']) {
        Some("a name in NATS has none of `.`, `*`, `>`, `/` and `\\`")
    } else {
        None
    }
}

/// The reason why a text cannot filter subjects.
fn filter_fault(filter: &str) -> Option<&'static str> {
    let mut tokens = filter.split('.').peekable();
    while let Some(token) = tokens.next() {
        let is_wildcard = token == "*" || token == ">" && tokens.peek().is_none();
        if !is_wildcard && let Some(why) = subject::fault(token) {
            return Some(why);
        }
    }
    (filter.len() > 2_000).then_some("it is longer than 2,000 bytes")
}

/// Short enough for an error.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    short.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> NatsSourceSettings {
        NatsSourceSettings {
            stream: "ORDERS".to_owned(),
            ..NatsSourceSettings::default()
        }
    }

    #[test]
    fn what_can_never_work_is_refused_with_its_name() {
        type Break = fn(&mut NatsSourceSettings);
        let faults: [(Break, &str); 9] = [
            (|it| it.stream.clear(), "`stream` is empty"),
            (|it| it.stream = "a.b".into(), "invalid `stream` `a.b`"),
            (
                |it| it.durable = Some("a b".into()),
                "invalid `durable` `a b`",
            ),
            (
                |it| it.subjects = vec!["a..b".into()],
                "invalid subject `a..b`",
            ),
            (
                |it| it.subjects = vec!["a.>.b".into()],
                "invalid subject `a.>.b`",
            ),
            (
                |it| it.create = true,
                "`create` makes the stream of the `subjects`",
            ),
            (|it| it.ack_wait = Duration::ZERO, "`ack_wait` must be"),
            (
                |it| it.request_timeout = Duration::ZERO,
                "`request_timeout`",
            ),
            (|it| it.urls.clear(), "`urls` names no NATS server"),
        ];
        for (fault, expected) in faults {
            let mut broken = settings();
            fault(&mut broken);
            let said = broken.check().unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
        let mut good = settings();
        good.subjects = vec!["orders.*.eu".into(), ">".into(), "*".into()];
        good.check().unwrap();
    }

    #[test]
    fn settings_are_read_from_a_file() {
        let read: NatsSourceSettings = serde_json::from_str(
            r#"{"stream":"ORDERS","start":{"time":"2026-05-04T03:02:01Z"},"ack_wait":"2m"}"#,
        )
        .unwrap();
        let expected = NatsSourceSettings {
            start: NatsStart::Time("2026-05-04T03:02:01Z".parse().unwrap()),
            ack_wait: Duration::from_secs(120),
            ..settings()
        };
        assert_eq!(read, expected);
        let unknown = serde_json::from_str::<NatsSourceSettings>(r#"{"streams":"ORDERS"}"#);
        assert!(unknown.unwrap_err().to_string().contains("streams"));
    }
}
