//! The address of a request.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bento_relay::publish::PublishError;
use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::{ConnectError, ServerUrl};

const PLACEHOLDER: &str = "{topic}";
/// A shorter part of a URL, in bytes, is a word that an answer may well hold by itself.
const SHORTEST_SECRET: usize = 6;

/// A URL in which the topic may be left open.
#[derive(Clone, Debug)]
pub(super) struct Target {
    template: ServerUrl,
    /// Parsed once if nothing is left open.
    fixed: Option<Url>,
    /// Texts that an answer must not repeat in an error.
    secrets: Vec<String>,
    pub(super) is_encrypted: bool,
    /// The number of requests that were answered.
    pub(super) answered: Arc<AtomicU64>,
}

impl Target {
    pub(super) fn new(template: &ServerUrl, allow_http: bool) -> Result<Self, ConnectError> {
        let refused =
            |why: &str| ConnectError::settings(format!("invalid webhook URL `{template}`: {why}"));
        if template.address().contains(PLACEHOLDER) {
            return Err(refused("a topic cannot be a host"));
        }
        template.check_password()?;
        // What the parser says may show the password.
        let sample = template
            .expose()
            .replace(PLACEHOLDER, "topic")
            .parse::<Url>();
        let sample = sample.map_err(|_| refused("it cannot be parsed"))?;
        let is_encrypted = match sample.scheme() {
            "https" => true,
            "http" if allow_http => false,
            "http" => {
                return Err(refused(
                    "it is without TLS; write `https://`, or allow it by `allow_http`",
                ));
            }
            _ => return Err(refused("it begins with neither `https://` nor `http://`")),
        };
        let fixed = (!template.expose().contains(PLACEHOLDER)).then_some(sample);
        let secrets = secrets(template);
        Ok(Self {
            template: template.clone(),
            fixed,
            secrets,
            is_encrypted,
            answered: Arc::default(),
        })
    }

    /// Host and port, without what may be secret.
    pub(super) fn address(&self) -> String {
        self.template.address()
    }

    /// Hides the parts of the URL that may be secret in what a receiver says.
    pub(super) fn without_secrets(&self, said: String) -> String {
        self.secrets
            .iter()
            .fold(said, |said, secret| match said.contains(secret) {
                true => said.replace(secret, "***"),
                false => said,
            })
    }

    pub(super) fn url(&self, topic: &str) -> Result<Url, PublishError> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        if matches!(topic, "" | "." | "..") {
            return Err(PublishError::permanent(format!(
                "the topic `{topic}` cannot be a part of a path"
            )));
        }
        let url = self
            .template
            .expose()
            .replace(PLACEHOLDER, &encoded(topic))
            .parse();
        url.map_err(|_| {
            PublishError::permanent(format!("the topic `{}` gives no URL", topic.escape_debug()))
        })
    }
}

/// The parts of the path, the query and the rest of a URL that are long enough for a secret, as
/// they are written and decoded. The topic is not one of them. The longest come first.
fn secrets(template: &ServerUrl) -> Vec<String> {
    let Ok(url) = template.expose().parse::<Url>() else {
        return Vec::new();
    };
    let mut parts: Vec<String> = url
        .path_segments()
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    let pairs = url.query().into_iter().flat_map(|query| query.split('&'));
    parts.extend(pairs.map(|pair| {
        pair.split_once('=')
            .map_or(pair, |(_, value)| value)
            .to_owned()
    }));
    parts.extend(
        [
            url.username(),
            url.password().unwrap_or(""),
            url.fragment().unwrap_or(""),
        ]
        .map(str::to_owned),
    );
    let decoded = |part: &String| percent_decode_str(part).decode_utf8_lossy().into_owned();
    parts.extend(parts.iter().map(decoded).collect::<Vec<_>>());
    parts.retain(|part| part.len() >= SHORTEST_SECRET && !part.contains(PLACEHOLDER));
    parts.sort_by_key(|part| (std::cmp::Reverse(part.len()), part.clone()));
    parts.dedup();
    parts
}

/// Percent-encoded but for what RFC 3986 reserves for nothing.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes every text");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_one_part_of_the_path_whatever_it_holds() {
        let target = Target::new(&"https://h/events/{topic}?v=1".into(), false).unwrap();
        let url = |topic| target.url(topic).map(|url| url.to_string()).ok();
        assert_eq!(
            url("order.created").as_deref(),
            Some("https://h/events/order.created?v=1")
        );
        assert_eq!(
            url("../admin?x#y").as_deref(),
            Some("https://h/events/..%2Fadmin%3Fx%23y?v=1")
        );
        assert_eq!([url(".."), url("."), url("")], [None, None, None]);
        let fixed = Target::new(&"https://h/hook".into(), false).unwrap();
        assert_eq!(fixed.url("..").unwrap().as_str(), "https://h/hook");
    }

    #[test]
    fn an_answer_does_not_repeat_the_secrets_of_the_url() {
        let url = "https://user-name:pass%2Fword@h/services/T%2F123456/{topic}\
                   ?token=abc%20def&v=1#fragment";
        let target = Target::new(&url.into(), false).unwrap();
        let said = "Cannot POST /services/T%2F123456/order.created?token=abc%20def&v=1: T/123456, \
                    abc def, user-name, pass/word";
        let hidden = "Cannot POST /***/***/order.created?token=***&v=1: ***, ***, ***, ***";
        assert_eq!(target.without_secrets(said.to_owned()), hidden);
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused_without_its_password() {
        for (url, allow_http, why) in [
            ("http://u:hunter2@h/", false, "without TLS"),
            ("ftp://u:hunter2@h/", true, "neither"),
            (
                "https://u:hunter2@{topic}.example/",
                true,
                "cannot be a host",
            ),
            ("hunter2", true, "cannot be parsed"),
        ] {
            let error = Target::new(&url.into(), allow_http)
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
            assert!(url == "hunter2" || !error.contains("hunter2"), "{error}");
        }
        assert!(!Target::new(&"http://h/".into(), true).unwrap().is_encrypted);
    }
}
