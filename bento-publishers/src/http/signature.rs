//! Signatures of webhook bodies.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::Secret;

/// The header that carries the signatures of a body: `t=1784000000,v1=5257a8…`, with one `v1` for each secret.
pub const SIGNATURE_HEADER: &str = "bento-signature";

/// A signature that its receiver does not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The header is not of the form `t=…,v1=…`.
    #[error("the signature is not of the form `t=<unix seconds>,v1=<hex>`")]
    Malformed,
    /// It was made too long ago, or too far ahead.
    #[error("the signature was made at another time than now: replayed, or one of the clocks is wrong")]
    OutOfTime,
    /// No secret gives any of the signatures.
    #[error("no signature fits the body and a secret")]
    Mismatch,
}

/// Checks what a webhook has received: the header [`SIGNATURE_HEADER`] and the body as it came, before it is parsed.
///
/// Any of `secrets` may fit any of the signatures, so that a secret is replaced without a gap: the receiver accepts the new one, the sender signs
/// with both, the old one is dropped. The comparison takes the same time wherever the first difference is. `tolerance` is how far
/// the signature's time may be from `now`, to both sides; five minutes is usual. Within it a signed body can be sent
/// again by whoever has seen it: remember the event ids.
///
/// # Errors
/// [`SignatureError`]: do not trust the body. Answer 401 or 403.
///
/// ```
/// use std::time::Duration;
/// use bento_publishers::Secret;
/// use bento_publishers::http::{SignatureError, sign, verify_signature};
/// use chrono::Utc;
///
/// let (secrets, now) = ([Secret::from("whsec_1")], Utc::now());
/// let header = sign(b"{}", &secrets, now);
/// let minutes = Duration::from_secs(300);
/// verify_signature(&header, b"{}", &secrets, now, minutes)?;
/// assert_eq!(verify_signature(&header, b"{ }", &secrets, now, minutes), Err(SignatureError::Mismatch));
/// # Ok::<_, SignatureError>(())
/// ```
pub fn verify_signature(
    header: &str,
    body: &[u8],
    secrets: &[Secret],
    now: DateTime<Utc>,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let (time, signatures) = parse(header).ok_or(SignatureError::Malformed)?;
    if now.timestamp().abs_diff(time) > tolerance.as_secs() {
        return Err(SignatureError::OutOfTime);
    }
    let fits =
        |secret: &Secret| signatures.iter().any(|signature| mac(secret, time, body).verify_slice(signature).is_ok());
    if secrets.iter().any(fits) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// The value of [`SIGNATURE_HEADER`] for a body: HMAC-SHA-256 of `<unix seconds>.<body>` in hexadecimal, once for each secret.
///
/// The publisher does this itself; it is here for the tests of a receiver.
pub fn sign(body: &[u8], secrets: &[Secret], now: DateTime<Utc>) -> String {
    let time = now.timestamp();
    let signatures = secrets.iter().map(|secret| Hex(&mac(secret, time, body).finalize().into_bytes()).to_string());
    signatures.fold(format!("t={time}"), |header, signature| header + ",v1=" + &signature)
}

fn mac(secret: &Secret, time: i64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(time.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

/// The time and the signatures of a header. Schemes other than `v1` are passed over: a later sender may add them.
fn parse(header: &str) -> Option<(i64, Vec<Vec<u8>>)> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            ("t", value) => time = Some(value.parse().ok()?),
            ("v1", value) => signatures.push(from_hex(value)?),
            _ => {}
        }
    }
    Some((time?, signatures)).filter(|(_, signatures)| !signatures.is_empty())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Duration = Duration::from_secs(300);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn secrets(secrets: &[&str]) -> Vec<Secret> {
        secrets.iter().map(|&secret| Secret::from(secret)).collect()
    }

    /// The expected value is that of `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac whsec`.
    #[test]
    fn a_signature_is_what_others_compute() {
        let header = sign(br#"{"a":1}"#, &secrets(&["whsec"]), at(1_700_000_000));
        assert_eq!(header, "t=1700000000,v1=8ad37ba156048ae0e0a5533c75cdf26fee88b07f93cb57ee4c80adb053012032");
    }

    #[test]
    fn while_a_secret_is_replaced_either_is_accepted() {
        let header = sign(b"x", &secrets(&["old", "new"]), at(1000));
        for accepted in [&["old"][..], &["new"], &["other", "new"]] {
            verify_signature(&header, b"x", &secrets(accepted), at(1000), TOLERANCE).unwrap();
        }
        let refused = verify_signature(&header, b"x", &secrets(&["other"]), at(1000), TOLERANCE);
        assert_eq!(refused, Err(SignatureError::Mismatch));
        assert_eq!(verify_signature(&header, b"x", &[], at(1000), TOLERANCE), Err(SignatureError::Mismatch));
    }

    #[test]
    fn the_time_is_signed_and_must_be_near() {
        let secrets = secrets(&["s"]);
        let header = sign(b"x", &secrets, at(1000));
        let verify = |header: &str, now| verify_signature(header, b"x", &secrets, at(now), TOLERANCE);
        assert_eq!([verify(&header, 700), verify(&header, 1300)], [Ok(()), Ok(())]);
        assert_eq!(verify(&header, 699), Err(SignatureError::OutOfTime));
        assert_eq!(verify(&header, 1301), Err(SignatureError::OutOfTime));
        assert_eq!(verify(&header.replace("t=1000", "t=1001"), 1000), Err(SignatureError::Mismatch));
        assert_eq!(verify(&header.replace("t=1000", &format!("t={}", i64::MIN)), 1000), Err(SignatureError::OutOfTime));
    }

    #[test]
    fn what_is_no_signature_is_malformed() {
        for header in ["", "t=1000", "v1=00", "t=x,v1=00", "t=1000,v1=0", "t=1000,v1=zz", "t=1000,v1=é0", "nonsense"] {
            let verified = verify_signature(header, b"x", &secrets(&["s"]), at(1000), TOLERANCE);
            assert_eq!(verified, Err(SignatureError::Malformed), "{header}");
        }
    }
}
