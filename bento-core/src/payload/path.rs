//! The place in a payload at which serde stopped.

use serde_json::error::Category;
use serde_json::value::RawValue;

use super::fields::RawFields;

/// The path of the value that `error`, which serde_json gave for `payload`, is about:
/// `lines[2].price`.
///
/// `None` when the fault is not in a single value: text that is not JSON, or a field that is
/// missing at the top.
pub(super) fn fault_path(payload: &[u8], error: &serde_json::Error) -> Option<String> {
    if error.classify() != Category::Data {
        return None;
    }
    let at = offset(payload, error.line(), error.column())?;
    let mut path = String::new();
    let mut value = payload;
    let mut start = 0;
    while let Some((segment, part, part_start)) = part_holding(value, at.checked_sub(start)?) {
        if !path.is_empty() && !segment.starts_with('[') {
            path.push('.');
        }
        path.push_str(&segment);
        value = part;
        start += part_start;
    }
    (!path.is_empty()).then_some(path)
}

/// The offset of the last byte serde_json had read.
fn offset(payload: &[u8], line: usize, column: usize) -> Option<usize> {
    let lines_before = payload
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.checked_sub(1)?);
    let line_start: usize = lines_before.map(<[u8]>::len).sum();
    (line_start + column).checked_sub(1)
}

/// The direct part of an object or array that spans the offset, its name, and where it starts.
fn part_holding(value: &[u8], at: usize) -> Option<(String, &[u8], usize)> {
    let holding = |part: &RawValue| {
        let start = part.get().as_ptr() as usize - value.as_ptr() as usize;
        (start..start + part.get().len())
            .contains(&at)
            .then_some(start)
    };
    match value.trim_ascii_start().first()? {
        b'{' => RawFields::split(value)
            .ok()?
            .into_fields()
            .find_map(|(name, part)| {
                holding(part).map(|start| (name.into_owned(), part.get().as_bytes(), start))
            }),
        b'[' => serde_json::from_slice::<Vec<&RawValue>>(value)
            .ok()?
            .into_iter()
            .enumerate()
            .find_map(|(index, part)| {
                holding(part).map(|start| (format!("[{index}]"), part.get().as_bytes(), start))
            }),
        _ => None,
    }
}
