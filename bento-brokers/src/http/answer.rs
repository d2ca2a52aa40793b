//! The meaning of a receiver's answer.

use std::time::Duration;

use bento_relay::publish::PublishError;
use chrono::{DateTime, Utc};
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};

use super::target::Target;

/// The bytes of an answer that are kept in the error.
const EXCERPT: usize = 512;
/// The bytes of an answer that are read, so that its connection can be used again.
const DRAINED: usize = 64 * 1024;
/// The pause before the next attempt if a receiver is overloaded and names no time.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the answer to a request.
pub(super) async fn judge(
    mut response: Response,
    target: &Target,
    now: DateTime<Utc>,
) -> Result<(), PublishError> {
    let status = response.status();
    let header = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(|value| parse_retry_after(value, now));
    // That the end of an answer does not come changes nothing about its status.
    let body = read(
        &mut response,
        if status.is_success() {
            DRAINED
        } else {
            EXCERPT
        },
    )
    .await;
    if status.is_success() {
        Ok(())
    } else {
        Err(failure(
            status,
            retry_after,
            &target.without_secrets(excerpt(&body)),
        ))
    }
}

async fn read(response: &mut Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < limit {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    body
}

fn failure(status: StatusCode, retry_after: Option<Duration>, excerpt: &str) -> PublishError {
    let mut message = format!("the webhook answered {status}");
    if status.is_redirection() {
        message.push_str(
            "; redirects are not followed: write the address that it names into the settings",
        );
    }
    if !excerpt.is_empty() {
        message.push_str(": ");
        message.push_str(excerpt);
    }
    match (status, retry_after) {
        (
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE,
            Some(retry_after),
        ) => PublishError::throttled(message, retry_after),
        (StatusCode::TOO_MANY_REQUESTS, None) => PublishError::throttled(message, PAUSE),
        _ if is_of_the_way(status) => PublishError::unavailable(message),
        (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY, _) => {
            PublishError::transient(message)
        }
        _ if status.is_server_error() || status.is_informational() => {
            PublishError::transient(message)
        }
        _ => PublishError::permanent(message),
    }
}

/// True if an answer is about the way to the receiver, and not about the event: the address, the
/// credentials, or a gateway that does not reach who is behind it.
fn is_of_the_way(status: StatusCode) -> bool {
    status.is_redirection()
        || matches!(status.as_u16(), 401 | 403 | 404 | 405 | 407 | 421)
        || matches!(status.as_u16(), 502..=504 | 507 | 511 | 521..=523 | 525 | 526 | 530)
}

/// Seconds, or a date as HTTP writes it. What is past or neither is nothing.
fn parse_retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    (date.to_utc() - now).to_std().ok()
}

/// The beginning of a body as one line of text.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]);
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use bento_relay::publish::FailureClass;

    use super::*;

    #[test]
    fn a_status_has_the_class_of_what_can_be_done() {
        let wait = Some(Duration::from_secs(7));
        for (status, retry_after, class) in [
            (408, None, FailureClass::Transient),
            (408, wait, FailureClass::Throttled),
            (425, None, FailureClass::Transient),
            (425, wait, FailureClass::Throttled),
            (429, None, FailureClass::Throttled),
            (429, wait, FailureClass::Throttled),
            (503, None, FailureClass::Unavailable),
            (503, wait, FailureClass::Throttled),
            (500, wait, FailureClass::Transient),
            (502, None, FailureClass::Unavailable),
            (301, None, FailureClass::Unavailable),
            (307, None, FailureClass::Unavailable),
            (400, wait, FailureClass::Permanent),
            (401, None, FailureClass::Unavailable),
            (401, wait, FailureClass::Unavailable),
            (403, None, FailureClass::Unavailable),
            (407, None, FailureClass::Unavailable),
            (404, None, FailureClass::Unavailable),
            (410, None, FailureClass::Permanent),
            (413, None, FailureClass::Permanent),
            (422, None, FailureClass::Permanent),
        ] {
            let error = failure(StatusCode::from_u16(status).unwrap(), retry_after, "");
            assert_eq!(error.class(), class, "{status} {retry_after:?}");
            if class == FailureClass::Throttled {
                assert_eq!(error.retry_after(), Some(retry_after.unwrap_or(PAUSE)));
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-05-04T03:02:01Z".parse().unwrap();
        let parsed = |value| parse_retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(parsed("120"), Some(120));
        assert_eq!(parsed(" 0 "), Some(0));
        assert_eq!(parsed("Mon, 04 May 2026 03:02:31 GMT"), Some(30));
        assert_eq!(parsed("Mon, 04 May 2026 03:01:31 GMT"), None, "the past");
        for odd in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(parsed(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_excerpt_is_one_short_line_of_text() {
        assert_eq!(
            excerpt(b"  no\r\n\x1b[31m such\0hook \xff"),
            "no [31m such hook \u{fffd}"
        );
        assert_eq!(excerpt(&[b'x'; 5000]).len(), 512);
    }
}
