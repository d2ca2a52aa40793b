//! Lines with placeholders for what differs from run to run.
//!
//! * `[uuid]` is a UUID in its usual form
//! * `[time]` is a time as RFC 3339 writes it, or with a space for the `T`
//! * `[..]` is anything within the line, or nothing

const UUID: &str = "[uuid]";
const TIME: &str = "[time]";
const ANYTHING: &str = "[..]";

/// The lines in which the output differs, as `-` expected and `+` printed.
pub(super) fn differences(expected: &str, printed: &str) -> Vec<String> {
    let mut differences = Vec::new();
    let (mut expected, mut printed) = (expected.lines(), printed.lines());
    loop {
        match (expected.next(), printed.next()) {
            (None, None) => return differences,
            (Some(pattern), Some(line)) if line_matches(pattern, line) => {}
            (pattern, line) => {
                differences.extend(pattern.map(|pattern| format!("-{pattern}")));
                differences.extend(line.map(|line| format!("+{line}")));
            }
        }
    }
}

/// The output as the next expectation: old lines where they still match, else with ids and times
/// replaced.
pub(super) fn blessed(old: &str, printed: &str) -> String {
    let old: Vec<&str> = old.lines().collect();
    let mut text = String::new();
    for (number, line) in printed.lines().enumerate() {
        match old
            .get(number)
            .filter(|pattern| line_matches(pattern, line))
        {
            Some(pattern) => text.push_str(pattern),
            None => text.push_str(&with_placeholders(line)),
        }
        text.push('\n');
    }
    text
}

fn line_matches(pattern: &str, line: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix(UUID) {
        return uuid_length(line).is_some_and(|length| line_matches(rest, &line[length..]));
    }
    if let Some(rest) = pattern.strip_prefix(TIME) {
        return time_length(line).is_some_and(|length| line_matches(rest, &line[length..]));
    }
    if let Some(rest) = pattern.strip_prefix(ANYTHING) {
        let mut starts = line.char_indices().map(|(at, _)| at).chain([line.len()]);
        return starts.any(|at| line_matches(rest, &line[at..]));
    }
    match (pattern.chars().next(), line.chars().next()) {
        (None, None) => true,
        (Some(expected), Some(found)) if expected == found => {
            line_matches(&pattern[expected.len_utf8()..], &line[found.len_utf8()..])
        }
        _ => false,
    }
}

fn with_placeholders(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        let (placeholder, length) = match (uuid_length(rest), time_length(rest)) {
            (Some(length), _) => (UUID, length),
            (None, Some(length)) => (TIME, length),
            (None, None) => {
                text.push(next);
                rest = &rest[next.len_utf8()..];
                continue;
            }
        };
        text.push_str(placeholder);
        rest = &rest[length..];
    }
    text
}

/// The length of the UUID that the text starts with.
fn uuid_length(text: &str) -> Option<usize> {
    shape_length(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
}

/// The length of the time that the text starts with.
fn time_length(text: &str) -> Option<usize> {
    let date = shape_length(text, "dddd-dd-dd")?;
    let separator = text[date..]
        .chars()
        .next()
        .filter(|next| matches!(next, 'T' | ' '))?;
    let mut length = date + separator.len_utf8();
    length += shape_length(&text[length..], "dd:dd:dd")?;
    if let Some(fraction) = text[length..].strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        length += if digits > 0 { 1 + digits } else { 0 };
    }
    let rest = &text[length..];
    let zone = ["Z", " UTC"]
        .iter()
        .find(|zone| rest.starts_with(**zone))
        .map(|zone| zone.len())
        .or_else(|| shape_length(rest, "+dd:dd"))
        .or_else(|| shape_length(rest, "-dd:dd"));
    Some(length + zone.unwrap_or_default())
}

/// The length of the shape if the text starts with it: `x` is a hexadecimal digit, `d` a decimal
/// one.
fn shape_length(text: &str, shape: &str) -> Option<usize> {
    let mut bytes = text.bytes();
    let fits = shape.bytes().all(|wanted| {
        bytes.next().is_some_and(|byte| match wanted {
            b'x' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
    });
    fits.then_some(shape.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198c0de-7000-7abc-8def-0123456789ab";

    #[test]
    fn placeholders_stand_for_ids_times_and_anything() {
        let line = format!("order {ID} at 2026-01-02T03:04:05.678Z took 12 ms");
        assert!(line_matches("order [uuid] at [time] took [..] ms", &line));
        assert!(!line_matches("order [uuid] at [time] took [..] s", &line));
        assert!(!line_matches("order [time] at [time] took [..] ms", &line));
    }

    #[test]
    fn a_missing_and_a_surplus_line_differ() {
        assert_eq!(differences("a\nb\n", "a\n"), ["-b"]);
        assert_eq!(differences("a\n", "a\nc\n"), ["+c"]);
        assert_eq!(differences("a\nb\n", "a\nc\n"), ["-b", "+c"]);
    }

    #[test]
    fn blessing_keeps_what_matches_and_puts_placeholders_elsewhere() {
        let printed = format!("took 3 ms\nnew {ID} 2026-01-02 03:04:05 UTC\n");
        assert_eq!(
            blessed("took [..] ms\nold\n", &printed),
            "took [..] ms\nnew [uuid] [time]\n"
        );
    }

    #[test]
    fn a_blessed_output_matches_itself() {
        let printed = format!("{ID}2026-01-02T03:04:05+02:00 [..] é\n");
        assert_eq!(
            differences(&blessed("", &printed), &printed),
            Vec::<String>::new()
        );
    }
}
