//! The headers that every broker carries.
//!
//! The rules are those of all brokers together: a header that one of them cannot carry, or uses
//! itself, is refused for all. So an event does not depend on its destinations, and the flush can
//! refuse it.
//!
//! Decision: docs/decisions/0032-a-header-is-the-same-on-every-broker.md

/// The most bytes of a header's name. AMQP allows 255, one of which is for the `*` of an encoded
/// value.
pub const HEADER_NAME: usize = 254;

/// The header that counts the handlers between an event and the first of its chain. Handlers set
/// it, so that two which raise each other's events do not go on for ever.
pub const HOPS: &str = "bento-hops";

/// A header that some broker would not carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header `{}` cannot be sent: {rule}", name.escape_debug())]
#[non_exhaustive]
pub struct UnsendableHeader {
    /// The name of the header.
    pub name: String,
    /// The rule that it breaks, with the way out.
    pub rule: HeaderRule,
}

/// A rule for the headers of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderRule {
    /// A header has a name.
    #[error("its name is empty; give it one")]
    Unnamed,
    /// A name has at most [`HEADER_NAME`] bytes.
    #[error("its name has {bytes} bytes and may have {HEADER_NAME}; shorten it")]
    LongName {
        /// The number of bytes that the name has.
        bytes: usize,
    },
    /// A name is a token of RFC 9110.
    #[error(
        "its name has {character:?} and may have ASCII letters, digits and !#$%&'*+-.^_`|~; \
         rename it"
    )]
    NoToken {
        /// The first character that no token has.
        character: char,
    },
    /// A name does not end with `*`: that marks a value which is encoded.
    #[error(
        "its name ends with `*`, which marks an encoded value; leave the `*` out, a value is \
         encoded where it has to be"
    )]
    Marked,
    /// A name is not one of those which a broker, a protocol or Bento uses itself.
    #[error("{use_of_name}; choose another name, such as one that begins with `x-`")]
    Reserved {
        /// The use of the name.
        use_of_name: &'static str,
    },
    /// A name is not that of a field of [`Metadata`](super::Metadata).
    #[error("`Metadata` has a field of this name; set the field")]
    Field,
    /// A value has no control characters, line breaks and tabs among them.
    #[error(
        "its value has the control character U+{:04X} at byte {at}; remove it, or encode the \
         value, as base64 for instance",
        u32::from(*character)
    )]
    Control {
        /// The first control character.
        character: char,
        /// The place of the character, in bytes.
        at: usize,
    },
}

/// Checks that every broker carries a header.
///
/// A name has 1 to [`HEADER_NAME`] bytes, is a token of RFC 9110, does not end with `*`, and is not
/// reserved. Reserved are, in upper and lower case:
///
/// | name | use |
/// |---|---|
/// | `content-type`, `ce-…`, `ce_…`, `cloudEvents_…`, `bento-…` but [`HOPS`] | the facts of the event itself |
/// | `correlation_id`, `causation_id`, `source`, `actor` | fields of [`Metadata`](super::Metadata) |
/// | `authorization`, `cookie` | credentials, which only the settings of a publisher say |
/// | `connection`, `content-encoding`, `content-length`, `expect`, `host`, `keep-alive`, `proxy-…`, `te`, `trailer`, `transfer-encoding`, `upgrade` | the connection of HTTP |
/// | `webhook-…` | id, time and signature of Standard Webhooks |
/// | `nats-…` | the server of NATS |
/// | `cc`, `bcc` | routing in RabbitMQ |
/// | `data` | the payload in Redis Streams |
///
/// A value is any text without control characters. What not every broker carries as it is becomes
/// an [encoded value](super::encode_header).
///
/// ```
/// use bento_core::metadata::check_header;
///
/// assert!(check_header("x-user-name", "Zoë").is_ok());
/// let refused = check_header("x-user-name", "Zoë\n").unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "the header `x-user-name` cannot be sent: its value has the control character U+000A at \
///      byte 4; remove it, or encode the value, as base64 for instance"
/// );
/// ```
///
/// # Errors
/// The first rule that the header breaks.
pub fn check_header(name: &str, value: &str) -> Result<(), UnsendableHeader> {
    let checked = check_name(name).and_then(|()| check_value(value));
    checked.map_err(|rule| UnsendableHeader {
        name: name.to_owned(),
        rule,
    })
}

fn check_name(name: &str) -> Result<(), HeaderRule> {
    if name.is_empty() {
        return Err(HeaderRule::Unnamed);
    }
    if name.len() > HEADER_NAME {
        return Err(HeaderRule::LongName { bytes: name.len() });
    }
    if let Some(character) = name.chars().find(|character| !is_of_token(*character)) {
        return Err(HeaderRule::NoToken { character });
    }
    if name.ends_with('*') {
        return Err(HeaderRule::Marked);
    }
    if FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field)) {
        return Err(HeaderRule::Field);
    }
    if name == HOPS {
        return Ok(());
    }
    let reserved = RESERVED.iter().find(|reserved| reserved.covers(name));
    reserved.map_or(Ok(()), |reserved| {
        Err(HeaderRule::Reserved {
            use_of_name: reserved.use_of_name,
        })
    })
}

fn check_value(value: &str) -> Result<(), HeaderRule> {
    let control = value
        .char_indices()
        .find(|(_, character)| character.is_control());
    control.map_or(Ok(()), |(at, character)| {
        Err(HeaderRule::Control { character, at })
    })
}

/// The facts that stand beside the headers where these are stored.
const FIELDS: [&str; 4] = ["correlation_id", "causation_id", "source", "actor"];

/// Names that a broker, a protocol or Bento uses.
struct Reserved {
    use_of_name: &'static str,
    names: &'static [&'static str],
    beginnings: &'static [&'static str],
}

const RESERVED: [Reserved; 7] = [
    Reserved {
        use_of_name: "the name is one of those of the event's own facts",
        names: &["content-type"],
        beginnings: &["ce-", "ce_", "cloudevents_", "bento-"],
    },
    Reserved {
        use_of_name: "the name is that of a credential, which only the settings of a publisher say",
        names: &["authorization", "cookie"],
        beginnings: &[],
    },
    Reserved {
        use_of_name: "HTTP uses the name for the connection",
        names: &[
            "connection",
            "content-encoding",
            "content-length",
            "expect",
            "host",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ],
        beginnings: &["proxy-"],
    },
    Reserved {
        use_of_name: "Standard Webhooks has id, time and signature under such names",
        names: &[],
        beginnings: &["webhook-"],
    },
    Reserved {
        use_of_name: "the name is one of those of the NATS server",
        names: &[],
        beginnings: &["nats-"],
    },
    Reserved {
        use_of_name: "RabbitMQ uses the name for routing",
        names: &["cc", "bcc"],
        beginnings: &[],
    },
    Reserved {
        use_of_name: "Redis Streams has the payload under this name",
        names: &["data"],
        beginnings: &[],
    },
];

impl Reserved {
    fn covers(&self, name: &str) -> bool {
        let begins = |with: &str| {
            name.get(..with.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(with))
        };
        self.names.iter().any(|own| name.eq_ignore_ascii_case(own))
            || self.beginnings.iter().any(|with| begins(with))
    }
}

/// True for what RFC 9110 allows in a token.
fn is_of_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> Option<HeaderRule> {
        check_header(name, value).err().map(|refused| refused.rule)
    }

    #[test]
    fn a_name_is_a_token_of_some_length() {
        for good in [
            "x",
            "x-user-name",
            "X_1.a~b",
            "traceparent",
            "cee",
            "bentos",
            "ce",
            "datas",
            "*a",
            &"n".repeat(254),
        ] {
            assert_eq!(refused(good, ""), None, "{good}");
        }
        for (bad, rule) in [
            ("", HeaderRule::Unnamed),
            ("x a", HeaderRule::NoToken { character: ' ' }),
            ("x-ö", HeaderRule::NoToken { character: 'ö' }),
            ("x:a", HeaderRule::NoToken { character: ':' }),
            ("x\n", HeaderRule::NoToken { character: '\n' }),
            ("x*", HeaderRule::Marked),
            (&"n".repeat(255), HeaderRule::LongName { bytes: 255 }),
        ] {
            assert_eq!(refused(bad, "1"), Some(rule), "{bad}");
        }
    }

    #[test]
    fn a_reserved_name_is_refused_in_upper_and_lower_case() {
        for (name, who) in [
            ("Content-Type", "event's own facts"),
            ("CE-id", "event's own facts"),
            ("ce_id", "event's own facts"),
            ("cloudEvents_id", "event's own facts"),
            ("Bento-Event-Id", "event's own facts"),
            ("Authorization", "credential"),
            ("COOKIE", "credential"),
            ("Transfer-Encoding", "HTTP"),
            ("proxy-authorization", "HTTP"),
            ("Nats-Msg-Id", "NATS"),
            ("CC", "RabbitMQ"),
            ("bcc", "RabbitMQ"),
            ("data", "Redis"),
            ("Actor", "`Metadata` has a field"),
            ("correlation_id", "`Metadata` has a field"),
        ] {
            let refused = check_header(name, "1").unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("the header `{name}` cannot be sent: ")),
                "{refused}"
            );
            assert!(refused.contains(who), "{refused}");
        }
    }

    #[test]
    fn a_value_has_no_control_characters() {
        for good in ["", " ", "Zoë", "a \u{a0}\u{2028}b", "🍱", "\"%'*"] {
            assert_eq!(refused("x", good), None, "{good}");
        }
        for character in ['\0', '\t', '\n', '\r', '\u{7f}', '\u{85}', '\u{9f}'] {
            assert_eq!(
                refused("x", &format!("ë{character}")),
                Some(HeaderRule::Control { character, at: 2 })
            );
        }
        let named = check_header("a\tb", "").unwrap_err().to_string();
        assert!(
            named.starts_with(r"the header `a\tb` cannot be sent: its name has '\t' and may have"),
            "{named}"
        );
    }
}
