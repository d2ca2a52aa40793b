//! Paths in rules.

/// The fields of an envelope that conditions can name.
pub(super) const ENVELOPE_FIELDS: [(&str, EnvelopeField); 15] = [
    ("event_type", EnvelopeField::EventType),
    ("version", EnvelopeField::Version),
    ("kind", EnvelopeField::Kind),
    ("event_id", EnvelopeField::EventId),
    ("aggregate_type", EnvelopeField::AggregateType),
    ("aggregate_id", EnvelopeField::AggregateId),
    ("sequence", EnvelopeField::Sequence),
    ("tenant", EnvelopeField::Tenant),
    ("topic", EnvelopeField::Topic),
    ("routing_key", EnvelopeField::RoutingKey),
    ("content_encoding", EnvelopeField::ContentEncoding),
    ("correlation_id", EnvelopeField::Header),
    ("causation_id", EnvelopeField::Header),
    ("source", EnvelopeField::Header),
    ("actor", EnvelopeField::Header),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum EnvelopeField {
    EventType,
    Version,
    Kind,
    EventId,
    AggregateType,
    AggregateId,
    Sequence,
    Tenant,
    Topic,
    RoutingKey,
    ContentEncoding,
    /// A value among the headers.
    Header,
}

/// The subject of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Envelope(EnvelopeField),
    Header(String),
    Payload(Vec<String>),
}

/// A limit beyond the nesting of payloads; serde_json reads 128 levels.
const SEGMENTS_MAX: usize = 100;

impl Subject {
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        if let Some(rest) = path.strip_prefix("payload.") {
            return segments(rest).map(Self::Payload);
        }
        let Some(field) = path.strip_prefix("envelope.") else {
            return Err(format!(
                "invalid path `{path}`: begin it with `payload.` or `envelope.`"
            ));
        };
        if let Some(header) = field
            .strip_prefix("headers.")
            .filter(|header| !header.is_empty())
        {
            return Ok(Self::Header(header.to_owned()));
        }
        match ENVELOPE_FIELDS.iter().find(|(name, _)| *name == field) {
            Some((name, EnvelopeField::Header)) => Ok(Self::Header((*name).to_owned())),
            Some((_, known)) => Ok(Self::Envelope(*known)),
            None => {
                let known: Vec<_> = ENVELOPE_FIELDS
                    .iter()
                    .map(|(name, _)| format!("`{name}`"))
                    .collect();
                Err(format!(
                    "unknown envelope field `{field}`: the fields are {}, `headers.…`",
                    known.join(", ")
                ))
            }
        }
    }
}

/// Splits `customer.country`, `lines[0].price` or `lines.0.price` into names. A backslash makes a
/// dot, a bracket or a backslash part of a name.
pub(super) fn segments(path: &str) -> Result<Vec<String>, String> {
    let mut segments = vec![String::new()];
    let mut letters = path.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '.' => segments.push(String::new()),
            '[' => {
                let index: String =
                    std::iter::from_fn(|| letters.next_if(char::is_ascii_digit)).collect();
                let is_closed = letters.next() == Some(']')
                    && letters.peek().is_none_or(|next| ".[".contains(*next));
                if index.is_empty() || !is_closed {
                    return Err(format!(
                        "invalid path `{path}`: write an element of a list as `lines[0]`"
                    ));
                }
                segments.push(index);
            }
            letter => {
                let letter = if letter == '\\' {
                    letters.next()
                } else {
                    Some(letter)
                };
                if let (Some(letter), Some(last)) = (letter, segments.last_mut()) {
                    last.push(letter);
                }
            }
        }
    }
    if segments.iter().any(String::is_empty) {
        return Err(format!("invalid path `{path}`: a name in it is empty"));
    }
    if segments.len() > SEGMENTS_MAX {
        return Err(format!(
            "a path must have at most {SEGMENTS_MAX} names, not {}",
            segments.len()
        ));
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_with_dots_between() {
        for (path, names) in [
            ("total", &["total"][..]),
            ("customer.country", &["customer", "country"]),
            ("lines[0].price", &["lines", "0", "price"]),
            ("lines.0.price", &["lines", "0", "price"]),
            ("grid[1][2]", &["grid", "1", "2"]),
            (r"a\.b.c\[0]\\", &["a.b", r"c[0]\"]),
            ("größe", &["größe"]),
        ] {
            assert_eq!(
                segments(path).as_deref(),
                Ok(&names
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect::<Vec<_>>()[..])
            );
        }
        for wrong in [
            "", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[0", "a[0]b", "a[-1]",
        ] {
            assert!(segments(wrong).is_err(), "{wrong}");
        }
        assert!(segments(&"a.".repeat(200)).is_err());
    }

    #[test]
    fn the_envelope_has_these_fields_and_no_other() {
        assert_eq!(
            Subject::parse("envelope.tenant"),
            Ok(Subject::Envelope(EnvelopeField::Tenant))
        );
        assert_eq!(
            Subject::parse("envelope.actor"),
            Ok(Subject::Header("actor".to_owned()))
        );
        assert_eq!(
            Subject::parse("envelope.headers.x.y"),
            Ok(Subject::Header("x.y".to_owned()))
        );
        for wrong in [
            "",
            "total",
            "payload",
            "payload.",
            "envelope",
            "envelope.",
            "envelope.tenants",
            "envelope.headers.",
        ] {
            assert!(Subject::parse(wrong).is_err(), "{wrong}");
        }
    }
}
