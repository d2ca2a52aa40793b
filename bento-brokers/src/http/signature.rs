//! Signatures of webhooks, as [Standard Webhooks](https://www.standardwebhooks.com) 1.0 defines
//! them.

use std::fmt;
use std::time::Duration;

use ::http::HeaderMap;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::Secret;

/// The header with the id of the message, the same for each attempt to deliver it.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the time of the attempt, in Unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures, `v1,` and base64 each, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// The most signatures that a receiver looks at. A sender has one for each secret that is in use.
const MOST_SIGNATURES: usize = 8;

/// The lengths of a secret in bytes that the specification allows.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Base64 with or without the `=` at its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Secrets that cannot sign webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningSecretError {
    /// No secret is given.
    #[error("no signing secret: give at least one")]
    Missing,
    /// A secret has another form.
    #[error(
        "signing secret {number} is not `whsec_` and base64: make one with \
         `echo whsec_$(openssl rand -base64 32)`"
    )]
    Malformed {
        /// Its place in the list, from 1.
        number: usize,
    },
    /// A secret is too short to be safe, or longer than receivers take.
    #[error(
        "signing secret {number} has {bytes} bytes and must have {} to {}: make one with \
         `echo whsec_$(openssl rand -base64 32)`",
        SECRET_BYTES.start(),
        SECRET_BYTES.end()
    )]
    Length {
        /// Its place in the list, from 1.
        number: usize,
        /// Its length in bytes, decoded.
        bytes: usize,
    },
}

/// A webhook whose signature its receiver does not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// A header is missing.
    #[error("the header `{header}` is missing")]
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header has another form.
    #[error("the header `{header}` is malformed")]
    Malformed {
        /// Its name.
        header: &'static str,
    },
    /// More signatures than any sender has secrets.
    #[error("the header `webhook-signature` holds more than {MOST_SIGNATURES} signatures")]
    TooMany,
    /// The message was signed too long ago, or too far ahead.
    #[error(
        "the webhook was signed at another time than now: it is replayed, or one of the clocks is \
         wrong"
    )]
    OutOfTime,
    /// No secret gives any of the signatures.
    #[error("no signature matches the id, the time, the body and a secret")]
    Mismatch,
}

/// The secrets that sign webhooks, and that their receiver verifies them with.
///
/// With several secrets one is replaced without a gap: the receiver accepts the new one as well,
/// the sender signs with both, and the old one is removed.
///
/// ```
/// use std::time::Duration;
/// use bento_brokers::Secret;
/// use bento_brokers::http::{SignatureError, SigningSecrets};
/// use chrono::Utc;
/// use http::HeaderMap;
///
/// let secrets = SigningSecrets::new(&[Secret::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")])?;
/// let (id, now, body) = ("msg_1", Utc::now(), b"{}");
/// let mut headers = HeaderMap::new();
/// headers.insert("webhook-id", id.parse()?);
/// headers.insert("webhook-timestamp", now.timestamp().into());
/// headers.insert("webhook-signature", secrets.sign(id, now, body).parse()?);
///
/// let five_minutes = Duration::from_secs(300);
/// assert_eq!(secrets.verify(&headers, body, now, five_minutes), Ok("msg_1"));
/// let forged = secrets.verify(&headers, b"{ }", now, five_minutes);
/// assert_eq!(forged, Err(SignatureError::Mismatch));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SigningSecrets(Vec<Hmac<Sha256>>);

impl SigningSecrets {
    /// Reads secrets of the form `whsec_` and base64, of 24 to 64 bytes.
    ///
    /// # Errors
    /// [`SigningSecretError`], which says the number of the secret and never shows it.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a Secret>,
    ) -> Result<Self, SigningSecretError> {
        let keys = (1..)
            .zip(secrets)
            .map(|(number, secret)| key(number, secret.expose()));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            Err(SigningSecretError::Missing)
        } else {
            Ok(Self(keys))
        }
    }

    /// Returns the value of [`SIGNATURE_HEADER`] for a message: one signature for each secret.
    ///
    /// The publisher does this itself; a test of a receiver needs it.
    pub fn sign(&self, id: &str, now: DateTime<Utc>, body: &[u8]) -> String {
        let mut header = String::with_capacity(self.0.len() * 48);
        for mac in self.macs(id, now.timestamp(), body) {
            header.push_str(if header.is_empty() { "v1," } else { " v1," });
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut header);
        }
        header
    }

    /// Verifies a webhook by its headers and its body as it came, before it is parsed, and returns
    /// its id.
    ///
    /// Any secret may match any signature. The comparison takes the same time wherever the first
    /// difference is, and the body is hashed once for each secret, whatever the header holds.
    /// `tolerance` is the longest time between the signature and `now`, in both directions; five
    /// minutes are usual. A webhook that was seen on its way can be sent again within it: remember
    /// the ids.
    ///
    /// # Errors
    /// [`SignatureError`]: do not trust the body, and answer 401.
    pub fn verify<'h>(
        &self,
        headers: &'h HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
        tolerance: Duration,
    ) -> Result<&'h str, SignatureError> {
        let id = text(headers, ID_HEADER)?;
        let malformed = |header| SignatureError::Malformed { header };
        let time: i64 = text(headers, TIMESTAMP_HEADER)?
            .parse()
            .map_err(|_| malformed(TIMESTAMP_HEADER))?;
        let signatures = signatures(text(headers, SIGNATURE_HEADER)?)?;
        if now.timestamp().abs_diff(time) > tolerance.as_secs() {
            return Err(SignatureError::OutOfTime);
        }
        let is_signed = self.macs(id, time, body).any(|mac| {
            signatures
                .iter()
                .any(|signature| mac.clone().verify_slice(signature).is_ok())
        });
        if is_signed {
            Ok(id)
        } else {
            Err(SignatureError::Mismatch)
        }
    }

    fn macs(&self, id: &str, time: i64, body: &[u8]) -> impl Iterator<Item = Hmac<Sha256>> {
        let signed = format!("{id}.{time}.");
        self.0
            .iter()
            .map(move |key| key.clone().chain_update(&signed).chain_update(body))
    }
}

impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|_| format_args!("***")))
            .finish()
    }
}

fn key(number: usize, secret: &str) -> Result<Hmac<Sha256>, SigningSecretError> {
    let encoded = secret.strip_prefix("whsec_");
    let key = encoded.and_then(|encoded| BASE64.decode(encoded).ok());
    let key = key.ok_or(SigningSecretError::Malformed { number })?;
    if !SECRET_BYTES.contains(&key.len()) {
        return Err(SigningSecretError::Length {
            number,
            bytes: key.len(),
        });
    }
    Ok(Hmac::new_from_slice(&key).expect("HMAC takes a key of any length"))
}

fn text<'h>(headers: &'h HeaderMap, header: &'static str) -> Result<&'h str, SignatureError> {
    let value = headers
        .get(header)
        .ok_or(SignatureError::Missing { header })?;
    value
        .to_str()
        .map_err(|_| SignatureError::Malformed { header })
}

/// Reads the signatures of version 1. Other versions are passed over: a later sender may add them.
fn signatures(header: &str) -> Result<Vec<Vec<u8>>, SignatureError> {
    let parts: Vec<_> = header.split(' ').take(MOST_SIGNATURES + 1).collect();
    if parts.len() > MOST_SIGNATURES {
        return Err(SignatureError::TooMany);
    }
    let decoded = parts
        .iter()
        .filter_map(|part| BASE64.decode(part.strip_prefix("v1,")?).ok());
    let decoded: Vec<_> = decoded.collect();
    if decoded.is_empty() {
        Err(SignatureError::Malformed {
            header: SIGNATURE_HEADER,
        })
    } else {
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use standardwebhooks::Webhook;

    use super::*;

    const TOLERANCE: Duration = Duration::from_secs(300);
    const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const OTHER: &str = "whsec_//////////////////////////////////////////8=";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn secrets(secrets: &[&str]) -> SigningSecrets {
        let secrets: Vec<Secret> = secrets.iter().map(|&secret| secret.into()).collect();
        SigningSecrets::new(&secrets).unwrap()
    }

    fn headers(id: &str, time: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (ID_HEADER, id),
            (TIMESTAMP_HEADER, time),
            (SIGNATURE_HEADER, signature),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn verify(
        secrets: &SigningSecrets,
        headers: &HeaderMap,
        now: i64,
    ) -> Result<String, SignatureError> {
        secrets
            .verify(headers, b"x", at(now), TOLERANCE)
            .map(str::to_owned)
    }

    #[test]
    fn the_reference_implementation_accepts_what_is_signed() {
        let now = Utc::now();
        let signature = secrets(&[OLD, NEW]).sign("msg_1", now, br#"{"a":1}"#);
        let headers = headers("msg_1", &now.timestamp().to_string(), &signature);
        for secret in [OLD, NEW] {
            Webhook::new(secret)
                .unwrap()
                .verify(br#"{"a":1}"#, &headers)
                .unwrap();
        }
        Webhook::new(OTHER)
            .unwrap()
            .verify(br#"{"a":1}"#, &headers)
            .unwrap_err();
    }

    #[test]
    fn what_the_reference_implementation_signs_is_accepted() {
        let signature = Webhook::new(NEW)
            .unwrap()
            .sign("msg_1", 1000, b"x")
            .unwrap();
        let headers = headers("msg_1", "1000", &signature);
        assert_eq!(
            verify(&secrets(&[NEW]), &headers, 1000).as_deref(),
            Ok("msg_1")
        );
    }

    #[test]
    fn either_secret_is_accepted_while_one_is_replaced() {
        let signature = secrets(&[OLD, NEW]).sign("id", at(1000), b"x");
        let headers = headers("id", "1000", &signature);
        for accepted in [&[OLD][..], &[NEW], &[OTHER, NEW]] {
            verify(&secrets(accepted), &headers, 1000).unwrap();
        }
        assert_eq!(
            verify(&secrets(&[OTHER]), &headers, 1000),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn id_and_time_are_signed_and_the_time_must_be_near() {
        let secrets = secrets(&[OLD]);
        let signature = secrets.sign("id", at(1000), b"x");
        let verify = |id: &str, time: &str, now| {
            verify(&secrets, &headers(id, time, &signature), now).map(drop)
        };
        assert_eq!(
            [verify("id", "1000", 700), verify("id", "1000", 1300)],
            [Ok(()), Ok(())]
        );
        assert_eq!(verify("id", "1000", 699), Err(SignatureError::OutOfTime));
        assert_eq!(verify("id", "1000", 1301), Err(SignatureError::OutOfTime));
        assert_eq!(
            verify("id", &i64::MIN.to_string(), 1000),
            Err(SignatureError::OutOfTime)
        );
        assert_eq!(verify("id", "1001", 1000), Err(SignatureError::Mismatch));
        assert_eq!(verify("di", "1000", 1000), Err(SignatureError::Mismatch));
    }

    #[test]
    fn a_header_that_is_missing_or_malformed_is_named() {
        let secrets = secrets(&[OLD]);
        let malformed = |header| Err(SignatureError::Malformed { header });
        for signature in ["", "nonsense", "v1,", "v1,???", "v2,AAAA", "v1=AAAA"] {
            let verified = verify(&secrets, &headers("id", "1000", signature), 1000);
            let expected = if signature == "v1," {
                Err(SignatureError::Mismatch)
            } else {
                malformed(SIGNATURE_HEADER)
            };
            assert_eq!(verified, expected, "{signature}");
        }
        assert_eq!(
            verify(&secrets, &headers("id", "soon", "v1,AAAA"), 1000),
            malformed(TIMESTAMP_HEADER)
        );
        for header in [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER] {
            let mut headers = headers("id", "1000", "v1,AAAA");
            headers.remove(header);
            assert_eq!(
                verify(&secrets, &headers, 1000),
                Err(SignatureError::Missing { header })
            );
        }
    }

    #[test]
    fn a_flood_of_signatures_is_refused_before_the_body_is_hashed() {
        let secrets = secrets(&[OLD]);
        let signature = secrets.sign("id", at(1000), b"x");
        let few = format!("{} {signature}", ["v1,AAAA"; MOST_SIGNATURES - 1].join(" "));
        verify(&secrets, &headers("id", "1000", &few), 1000).unwrap();
        let many = format!("v1,AAAA {few}");
        assert_eq!(
            verify(&secrets, &headers("id", "1000", &many), 1000),
            Err(SignatureError::TooMany)
        );
    }

    #[test]
    fn a_secret_of_another_form_or_length_is_refused_and_never_shown() {
        let refused = |secret: &str| {
            SigningSecrets::new(&[Secret::from(OLD), Secret::from(secret)]).unwrap_err()
        };
        for secret in [
            "",
            "whsec_",
            "hunter2",
            "whsec_???",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            let error = refused(secret);
            let text = error.to_string();
            assert!(
                text.starts_with("signing secret 2 ") && text.contains("openssl rand"),
                "{text}"
            );
            assert!(secret.len() < 7 || !text.contains(secret), "{text}");
        }
        assert_eq!(
            refused("whsec_AAAA"),
            SigningSecretError::Length {
                number: 2,
                bytes: 3
            }
        );
        assert_eq!(
            SigningSecrets::new(&[]).unwrap_err(),
            SigningSecretError::Missing
        );
        assert_eq!(format!("{:?}", secrets(&[OLD, NEW])), "[***, ***]");
    }
}
