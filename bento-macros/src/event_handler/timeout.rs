//! Durations as they are written in Bento, read at compile time.

use std::time::Duration;

const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("ns", 1),
];

/// Reads a whole number and a unit, several times if need be, as `bento_core::duration` does.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut nanos = 0u128;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit())?);
        let digit = behind.find(|letter: char| letter.is_ascii_digit());
        let (unit, next) = behind.split_at(digit.unwrap_or(behind.len()));
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(number.parse::<u128>().ok()?.checked_mul(*size)?)?;
        rest = next;
    }
    if text.is_empty() {
        return None;
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let below = u32::try_from(nanos % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, below))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_timeout_is_read_like_every_duration() {
        for text in [
            "20s",
            "500ms",
            "1h30m",
            "2d",
            "0s",
            "7us3ns",
            "18446744073709551615s",
            "18446744073709551616s",
            "99999999999999999999999999999999999999999d",
            "",
            "20",
            "s",
            "20 s",
            "1.5s",
            "20S",
            "-1s",
            "20sec",
            "2000ms ",
        ] {
            assert_eq!(
                parse(text),
                bento_core::duration::parse(text).ok(),
                "{text:?}"
            );
        }
    }
}
