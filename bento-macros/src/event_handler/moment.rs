//! Times as RFC 3339 writes them, read at compile time.

/// Reads a time with its offset, `2026-11-01T00:00:00Z`. Returns the seconds since 1970 and the
/// nanoseconds beside them.
pub(super) fn parse(text: &str) -> Option<(i64, u32)> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.split_at_checked(9)?;
    let [year, month, day] = numbers(date, "dddd-dd-dd")?;
    let [hour, minute, second] = numbers(time, "Tdd:dd:dd")?;
    let (nanos, offset) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(fraction) => {
            let end = fraction.find(|letter: char| !letter.is_ascii_digit())?;
            let (digits, offset) = fraction.split_at(end);
            (nanos(digits)?, offset)
        }
    };
    let offset = match offset {
        "Z" => 0,
        _ => {
            let sign = match offset.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let [hours, minutes] = numbers(&offset[1..], "dd:dd")?;
            (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))?
        }
    };
    let is_day = (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
    let is_time = hour < 24 && minute < 60 && second < 60;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    (is_day && is_time).then_some((seconds - offset, nanos))
}

/// Reads the numbers of a text of this form, in which `d` stands for a digit.
fn numbers<const N: usize>(text: &str, form: &str) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut index = None;
    let mut was_digit = false;
    if text.len() != form.len() {
        return None;
    }
    for (letter, expected) in text.bytes().zip(form.bytes()) {
        let is_digit = expected == b'd';
        if is_digit != letter.is_ascii_digit() || !is_digit && letter != expected {
            return None;
        }
        if is_digit {
            let at = index.map_or(0, |last: usize| last + usize::from(!was_digit));
            numbers[at] = numbers[at] * 10 + i64::from(letter - b'0');
            index = Some(at);
        }
        was_digit = is_digit;
    }
    Some(numbers)
}

/// The nanoseconds of up to nine digits behind the point.
fn nanos(digits: &str) -> Option<u32> {
    let length = u32::try_from(digits.len()).ok()?;
    let number: u32 = digits.parse().ok()?;
    Some(number * 10_u32.pow(9_u32.checked_sub(length)?))
}

fn days(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days of the proleptic Gregorian calendar; years begin with March, so that a leap day is the
/// last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_time_is_read_as_chrono_reads_it() {
        for text in [
            "2026-11-01T00:00:00Z",
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.5Z",
            "2024-02-29T12:30:45.123456789+05:30",
            "2000-02-29T00:00:00-23:59",
            "1900-03-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "0001-01-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-11-01T24:00:00Z",
            "2026-11-01T23:60:00Z",
            "2026-11-01T00:00:00",
            "2026-11-01T00:00:00.Z",
            "2026-11-01T00:00:00+0530",
            "2026-11-01T00:00:00+24:00",
            "2026-11-01",
            "26-11-01T00:00:00Z",
            "2026-11-01T00:00:00Zulu",
            "2026-11-01T00:00:0é",
            "",
        ] {
            let expected = chrono::DateTime::parse_from_rfc3339(text).ok();
            let expected = expected.map(|at| (at.timestamp(), at.timestamp_subsec_nanos()));
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_only_chrono_reads_is_refused() {
        for text in [
            "2026-11-01 00:00:00Z",
            "2026-11-01t00:00:00z",
            "2026-11-01T00:00:60Z",
            "2026-11-01T00:00:00.1234567890Z",
        ] {
            assert!(
                chrono::DateTime::parse_from_rfc3339(text).is_ok(),
                "{text:?}"
            );
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
