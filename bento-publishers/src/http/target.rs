//! The address of a request.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bento_core::publish::PublishError;
use reqwest::Url;

use crate::{ConnectError, ServerUrl};

const PLACEHOLDER: &str = "{topic}";

/// A URL in which the topic may be left open.
#[derive(Clone, Debug)]
pub(super) struct Target {
    template: ServerUrl,
    /// Parsed once if nothing is left open.
    fixed: Option<Url>,
    pub(super) is_encrypted: bool,
    /// The number of requests that were answered.
    pub(super) answered: Arc<AtomicU64>,
}

impl Target {
    pub(super) fn new(template: &ServerUrl, allow_http: bool) -> Result<Self, ConnectError> {
        let refused = |why: &str| ConnectError::settings(format!("`{template}` is no address of a webhook: {why}"));
        if template.address().contains(PLACEHOLDER) {
            return Err(refused("a topic cannot be a host"));
        }
        // What the parser says may show the password.
        let sample = template.expose().replace(PLACEHOLDER, "topic").parse::<Url>();
        let sample = sample.map_err(|_| refused("it is no URL"))?;
        let is_encrypted = match sample.scheme() {
            "https" => true,
            "http" if allow_http => false,
            "http" => return Err(refused("it is without TLS; write `https://`, or allow it by `allow_http`")),
            _ => return Err(refused("it begins with neither `https://` nor `http://`")),
        };
        let fixed = (!template.expose().contains(PLACEHOLDER)).then_some(sample);
        Ok(Self { template: template.clone(), fixed, is_encrypted, answered: Arc::default() })
    }

    /// Host and port, without what may be secret.
    pub(super) fn address(&self) -> &str {
        self.template.address()
    }

    pub(super) fn url(&self, topic: &str) -> Result<Url, PublishError> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        if matches!(topic, "" | "." | "..") {
            return Err(PublishError::permanent(format!("the topic `{topic}` cannot be a part of a path")));
        }
        let url = self.template.expose().replace(PLACEHOLDER, &encoded(topic)).parse();
        url.map_err(|_| PublishError::permanent(format!("the topic `{}` gives no URL", topic.escape_debug())))
    }
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
        assert_eq!(url("order.created").as_deref(), Some("https://h/events/order.created?v=1"));
        assert_eq!(url("../admin?x#y").as_deref(), Some("https://h/events/..%2Fadmin%3Fx%23y?v=1"));
        assert_eq!([url(".."), url("."), url("")], [None, None, None]);
        let fixed = Target::new(&"https://h/hook".into(), false).unwrap();
        assert_eq!(fixed.url("..").unwrap().as_str(), "https://h/hook");
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused_without_its_password() {
        for (url, allow_http, why) in [
            ("http://u:hunter2@h/", false, "without TLS"),
            ("ftp://u:hunter2@h/", true, "neither"),
            ("https://u:hunter2@{topic}.example/", true, "cannot be a host"),
            ("hunter2", true, "no URL"),
        ] {
            let error = Target::new(&url.into(), allow_http).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(url == "hunter2" || !error.contains("hunter2"), "{error}");
        }
        assert!(!Target::new(&"http://h/".into(), true).unwrap().is_encrypted);
    }
}
