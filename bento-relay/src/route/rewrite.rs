//! Transforms in the form in which they are applied: values that they do not name keep their bytes.

use std::borrow::Cow;

use bento_core::envelope::Envelope;
use bento_core::limits;
use bento_core::payload::RawFields;
use serde_json::value::RawValue;

use super::error::{Faults, RouterFault};
use super::path::segments;
use super::rule::Transform;

type Path = Vec<String>;

/// A transform with checked paths that do not conflict.
#[derive(Debug)]
pub(super) struct Rewrite {
    include: Vec<Path>,
    exclude: Vec<Path>,
    rename: Vec<(Path, Path)>,
    add: Vec<(Path, Box<RawValue>)>,
    /// The event type and schema version of the copy, if it has its own type.
    event_type: Option<(String, u32)>,
}

impl Rewrite {
    pub(super) fn compile(transform: &Transform, faults: &mut Faults) -> Self {
        let Transform {
            include,
            exclude,
            rename,
            add,
            event_type,
            version,
        } = transform;
        if *transform == Transform::default() {
            faults.invalid(
                "the transform is empty: write `include`, `exclude`, `rename`, \
                            `add` or `event_type`",
            );
        }
        let list = |paths: &[String], faults: &mut Faults| {
            let indexed = paths.iter().enumerate();
            indexed
                .filter_map(|(index, path)| faults.at_index(index, |faults| read(path, faults)))
                .collect()
        };
        let rewrite = Self {
            include: faults.at("include", |faults| list(include, faults)),
            exclude: faults.at("exclude", |faults| list(exclude, faults)),
            rename: faults.at("rename", |faults| {
                let pair = |(from, to): (&String, &String)| {
                    faults.at(from, |faults| {
                        Some((read(from, faults)?, read(to, faults)?))
                    })
                };
                rename.iter().filter_map(pair).collect()
            }),
            add: faults.at("add", |faults| {
                let pair = |(path, value): (&String, &serde_json::Value)| {
                    let raw = serde_json::value::to_raw_value(value).ok()?;
                    faults.at(path, |faults| Some((read(path, faults)?, raw)))
                };
                add.iter().filter_map(pair).collect()
            }),
            event_type: own_type(event_type.as_deref(), *version, faults),
        };
        rewrite.check(faults);
        rewrite
    }

    /// Checks for faults that occur with every payload.
    fn check(&self, faults: &mut Faults) {
        let targets = || {
            self.rename
                .iter()
                .map(|(_, to)| to)
                .chain(self.add.iter().map(|(path, _)| path))
        };
        for (index, target) in targets().enumerate() {
            let is_renamed = self.rename.iter().any(|(from, _)| from == target);
            let is_kept = self.include.contains(target) && !is_renamed;
            let is_given = targets()
                .take(index)
                .any(|other| is_within(other, target) || is_within(target, other));
            if is_kept
                || is_given
                || self
                    .rename
                    .iter()
                    .any(|(from, to)| from == to && to == target)
            {
                faults.add(RouterFault::Collision {
                    name: target.join("."),
                });
            }
        }
        for (index, (from, _)) in self.rename.iter().enumerate() {
            let name = from.join(".");
            let is_kept = self
                .include
                .iter()
                .any(|kept| is_within(from, kept) || is_within(kept, from));
            if !self.include.is_empty() && !is_kept {
                faults.at("rename", |faults| {
                    faults.invalid(format!("`{name}` is not kept by `include`"))
                });
            }
            if self.exclude.iter().any(|gone| is_within(from, gone)) {
                faults.at("rename", |faults| {
                    faults.invalid(format!("`{name}` is removed by `exclude`"))
                });
            }
            if self.rename[..index]
                .iter()
                .any(|(other, _)| is_within(other, from) || is_within(from, other))
            {
                let reason = format!("`{name}` overlaps with the path of another `rename`");
                faults.at("rename", |faults| faults.invalid(reason));
            }
        }
    }

    /// Returns the copy of an event, with its own payload and type; its id is still that of the
    /// event.
    ///
    /// # Errors
    /// The fault in the payload: it is not a JSON object, or another value stands in the place of a
    /// new one.
    pub(super) fn copy(&self, envelope: &Envelope) -> Result<Envelope, String> {
        let payload = self.apply(&envelope.payload)?;
        let mut copy = envelope.clone();
        copy.payload = payload.into();
        match &self.event_type {
            Some((event_type, version)) => {
                (copy.event_type, copy.schema_version) = (event_type.clone().into(), *version);
            }
            None => copy.schema_version = 0,
        }
        Ok(copy)
    }

    /// Returns the transformed payload.
    fn apply(&self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let split =
            RawFields::split(payload).map_err(|_| "the payload is not a JSON object".to_owned())?;
        let mut fields: Fields<'_> = split
            .into_fields()
            .map(|(name, value)| (name, Part::Raw(value)))
            .collect();
        if !self.include.is_empty() {
            let paths: Vec<&[String]> = self.include.iter().map(Vec::as_slice).collect();
            fields = keep(fields, &paths);
        }
        for path in &self.exclude {
            take(&mut fields, path);
        }
        let moved: Vec<_> = self
            .rename
            .iter()
            .filter_map(|(from, to)| Some((to, take(&mut fields, from)?)))
            .collect();
        for (to, part) in moved {
            put(&mut fields, to, part, false).map_err(|()| in_the_way(to))?;
        }
        for (path, value) in &self.add {
            put(&mut fields, path, Part::Raw(value), true).map_err(|()| in_the_way(path))?;
        }
        let mut text = Vec::with_capacity(payload.len());
        write(&fields, &mut text);
        Ok(text)
    }
}

/// Reads the event type and schema version that a transform gives a copy.
fn own_type(
    event_type: Option<&str>,
    version: Option<u32>,
    faults: &mut Faults,
) -> Option<(String, u32)> {
    let Some(event_type) = event_type else {
        if version.is_some() {
            faults.at("version", |faults| {
                faults.invalid("`version` requires an `event_type` beside it")
            });
        }
        return None;
    };
    let checked = limits::check_text("event_type", event_type, limits::EVENT_TYPE);
    if event_type.is_empty() {
        faults.at("event_type", |faults| {
            faults.invalid("the event type is empty")
        });
    } else if let Err(error) = checked {
        faults.at("event_type", |faults| faults.invalid(error.to_string()));
    } else if version == Some(0) {
        faults.at("version", |faults| {
            faults.invalid("`version` must be at least 1")
        });
    }
    Some((event_type.to_owned(), version.unwrap_or(1)))
}

fn in_the_way(path: &[String]) -> String {
    format!(
        "the payload has a conflicting value at `{}`, where the transform puts one",
        path.join(".")
    )
}

fn read(path: &str, faults: &mut Faults) -> Option<Path> {
    let start = ["payload.", "envelope."]
        .into_iter()
        .find(|start| path.starts_with(start));
    if let Some(start) = start {
        faults.invalid(format!(
            "a path in a transform starts in the payload: leave out `{start}`"
        ));
        return None;
    }
    if path.contains('[') && !path.contains("\\[") {
        faults.invalid("a transform does not reach into lists: name the list as a whole");
        return None;
    }
    segments(path).map_err(|reason| faults.invalid(reason)).ok()
}

/// True if `path` equals `outer` or leads into it.
fn is_within(path: &[String], outer: &[String]) -> bool {
    path.starts_with(outer)
}

/// The fields of an object in their order.
type Fields<'a> = Vec<(Cow<'a, str>, Part<'a>)>;

/// A value, taken apart as far as a path leads into it.
enum Part<'a> {
    Raw(&'a RawValue),
    Object(Fields<'a>),
}

impl<'a> Part<'a> {
    /// The fields of an object; `None` for other values.
    fn open(&mut self) -> Option<&mut Fields<'a>> {
        if let Self::Raw(raw) = self {
            let split = raw
                .get()
                .starts_with('{')
                .then(|| RawFields::split(raw.get().as_bytes()).ok())??;
            *self = Self::Object(
                split
                    .into_fields()
                    .map(|(name, value)| (name, Part::Raw(value)))
                    .collect(),
            );
        }
        match self {
            Self::Object(fields) => Some(fields),
            Self::Raw(_) => None,
        }
    }
}

/// Keeps the values at these paths, and the objects around them. An object that becomes empty goes
/// too.
fn keep<'a>(fields: Fields<'a>, paths: &[&[String]]) -> Fields<'a> {
    let one = |(name, mut part): (Cow<'a, str>, Part<'a>)| {
        let below: Vec<&[String]> = paths
            .iter()
            .filter(|path| path.first().is_some_and(|first| *first == *name))
            .map(|path| &path[1..])
            .collect();
        if below.iter().any(|rest| rest.is_empty()) {
            return Some((name, part));
        }
        if below.is_empty() {
            return None;
        }
        let kept = keep(std::mem::take(part.open()?), &below);
        (!kept.is_empty()).then_some((name, Part::Object(kept)))
    };
    fields.into_iter().filter_map(one).collect()
}

/// Removes the value at the path and returns it.
fn take<'a>(fields: &mut Fields<'a>, path: &[String]) -> Option<Part<'a>> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        let mut taken = None;
        fields.retain_mut(|(name, part)| {
            let stays = *name != *first;
            if !stays {
                taken = Some(std::mem::replace(part, Part::Object(Vec::new())));
            }
            stays
        });
        return taken;
    }
    let (_, part) = fields.iter_mut().rev().find(|(name, _)| *name == *first)?;
    take(part.open()?, rest)
}

/// Puts a value at the path, and creates the objects around it.
///
/// # Errors
/// Another value stands there and must not be replaced, or stands on the way.
fn put<'a>(
    fields: &mut Fields<'a>,
    path: &'a [String],
    value: Part<'a>,
    replace: bool,
) -> Result<(), ()> {
    let Some((first, rest)) = path.split_first() else {
        return Err(());
    };
    let known = fields.iter().rposition(|(name, _)| *name == *first);
    let at = known.unwrap_or_else(|| {
        fields.push((Cow::Borrowed(first), Part::Object(Vec::new())));
        fields.len() - 1
    });
    let part = &mut fields[at].1;
    if !rest.is_empty() {
        return put(part.open().ok_or(())?, rest, value, replace);
    }
    if known.is_some() && !replace {
        return Err(());
    }
    *part = value;
    Ok(())
}

fn write(fields: &Fields<'_>, text: &mut Vec<u8>) {
    text.push(b'{');
    for (index, (name, part)) in fields.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        serde_json::to_writer(&mut *text, name).expect("a text is JSON, and memory takes it");
        text.push(b':');
        match part {
            Part::Raw(raw) => text.extend_from_slice(raw.get().as_bytes()),
            Part::Object(fields) => write(fields, text),
        }
    }
    text.push(b'}');
}
