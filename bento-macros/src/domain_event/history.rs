//! Checks of the history of the fields: each change has its version, changes something, and uses
//! the names of payloads.
//!
//! Decision: docs/decisions/0003-field-history-on-raw-fields.md

use syn::ext::IdentExt;
use syn::{Expr, ExprLit, Lit, LitStr};

use super::field::{EventField, Renamed};
use super::input::Event;
use super::payload::{is_optional, reads_as_absent};
use crate::case::rename_field;
use crate::diagnostics::Errors;
use crate::keyed::Version;
use crate::syntax;

pub(super) fn check(event: &Event, errors: &mut Errors) {
    for field in &event.fields {
        check_field(event, field, errors);
    }
    check_removed(event, errors);
    check_names(event, errors);
    check_spelling(event, errors);
}

/// Checks the history of a field: a change belongs to a version from 2 to the current one; a field
/// is added before it is renamed, and renamed once a version; a field that was added has a value
/// for earlier payloads.
fn check_field(event: &Event, field: &EventField, errors: &mut Errors) {
    for since in field.versions() {
        check_since(event, since, errors);
    }
    if !may_have_history(field, errors) {
        return;
    }
    let mut previous = field.added.as_ref().map_or(1, |added| added.since.number);
    for renamed in &field.renamed {
        check_renamed(field, renamed, previous, errors);
        previous = renamed.since.number;
    }
    check_default(event, field, errors);
}

/// Returns `false`, with an error, if the field has a history that is never read.
fn may_have_history(field: &EventField, errors: &mut Errors) -> bool {
    if field.versions().next().is_none() {
        return true;
    }
    if field.serde.flatten.is_some() {
        errors.on(
            field.ident,
            "a flattened field has no name of its own, so it has no history: use a typed \
             `upcast_from`",
        );
        return false;
    }
    if field.serde.skip.is_some() {
        errors.on(
            field.ident,
            "a skipped field is in no payload, so it has no history: remove \
                              `#[event(…)]` or `skip`",
        );
        return false;
    }
    let is_read = field.serde.skip_deserializing.is_none();
    let changes_what_is_read = !field.renamed.is_empty()
        || field
            .added
            .as_ref()
            .is_some_and(|added| added.default.is_some());
    if !is_read && changes_what_is_read {
        errors.on(
            field.ident,
            "a field that is never read has no old values: write `#[event(since = …)]` alone",
        );
    }
    is_read || !changes_what_is_read
}

fn check_renamed(field: &EventField, renamed: &Renamed, previous: u32, errors: &mut Errors) {
    let since = renamed.since.number;
    if since <= previous && since > 1 {
        errors.at(
            renamed.since.span,
            format_args!(
                "`{}` has one name in a version: rename it after version {previous}",
                field.ident
            ),
        );
    } else if renamed.from.value().is_empty() {
        errors.at(
            renamed.from.span(),
            "a renamed field had a name in the payload: write `renamed_from = \"old_name\"`",
        );
    } else if field.name_at(since).as_ref() == Some(&renamed.from.value()) {
        errors.at(
            renamed.from.span(),
            format_args!(
                "`{}` is the name in version {since} as well, so this changes nothing: remove it",
                renamed.from.value()
            ),
        );
    }
}

fn check_default(event: &Event, field: &EventField, errors: &mut Errors) {
    let Some(added) = &field.added else { return };
    if let Some(default) = &added.default {
        refuse_function_in_a_text(field, default, errors);
        return;
    }
    let since = added.since.number;
    let is_reached = (event.attribute.oldest() + 1..=event.attribute.version()).contains(&since);
    if !is_reached || reads_as_absent(event, field) {
        return;
    }
    let before = format_args!("payloads before version {since} have no `{}`", field.ident);
    match &field.serde.read_with {
        Some(key) if is_optional(field) => errors.at(
            added.since.span,
            format_args!("{before}, and `{key}` needs a value to read: add `default = None`"),
        ),
        _ => errors.at(
            added.since.span,
            format_args!("{before}: add `default = …`, or make it an `Option`"),
        ),
    }
}

/// Refuses a text that looks like the name of a function, as serde's attribute takes it.
fn refuse_function_in_a_text(field: &EventField, default: &Expr, errors: &mut Errors) {
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = syntax::ungrouped(default)
    else {
        return;
    };
    let value = text.value();
    let name = value.trim_end_matches("()");
    let is_path = syn::parse_str::<syn::Path>(name).is_ok();
    let looks_like_one = value.ends_with("()")
        || name.contains("::")
        || name.starts_with("default_")
        || field.ident.unraw() == name;
    if is_path && looks_like_one {
        errors.at(
            text.span(),
            format_args!(
                "a text is the value itself, not the name of a function as in serde: write \
                 `default = {name}()`, or `default = From::from({value:?})` if the text is meant"
            ),
        );
    }
}

fn check_since(event: &Event, since: Version, errors: &mut Errors) {
    let version = event.attribute.version();
    if since.number < 2 {
        errors.at(
            since.span,
            "everything is there since version 1: a change comes with version 2 or later",
        );
    } else if since.number == u32::MAX {
        errors.at(
            since.span,
            format_args!("no version is that late: the event is at `version = {version}`"),
        );
    } else if since.number > version {
        errors.at(
            since.span,
            format_args!(
                "`since = {}` is later than the event: raise `version = {version}` to it",
                since.number
            ),
        );
    }
}

/// Checks that a removed field existed and is gone.
fn check_removed(event: &Event, errors: &mut Errors) {
    let removed = &event.attribute.removed;
    for (at, one) in removed.iter().enumerate() {
        check_since(event, one.since, errors);
        let (name, since) = (one.name.value(), one.since.number);
        let still_here = event
            .named_fields()
            .find(|field| field.name_at(since.saturating_sub(1)).as_ref() == Some(&name));
        let renamed = event.named_fields().find_map(|field| {
            let earlier =
                |renamed: &&Renamed| renamed.from.value() == name && renamed.since.number < since;
            field
                .renamed
                .iter()
                .find(earlier)
                .map(|renamed| (field, renamed.since.number))
        });
        if name.is_empty() {
            errors.at(
                one.name.span(),
                "a removed field had a name in the payload: write `removed(\"old_name\", …)`",
            );
        } else if removed[..at].iter().any(|other| other.name.value() == name) {
            errors.at(
                one.name.span(),
                format_args!("`{name}` is removed twice: keep one"),
            );
        } else if let Some(field) = still_here {
            errors.at(
                one.name.span(),
                format_args!(
                    "`{name}` is still here, as the field `{}`: remove the field, or this \
                     `removed`",
                    field.ident
                ),
            );
        } else if let Some((field, version)) = renamed {
            errors.at(
                one.name.span(),
                format_args!(
                    "`{name}` became `{}` in version {version}, so there is none to remove: \
                     remove this `removed`",
                    field.ident
                ),
            );
        }
    }
}

/// Checks that no two fields share a name in an earlier version.
fn check_names(event: &Event, errors: &mut Errors) {
    for field in event.named_fields() {
        for renamed in &field.renamed {
            let before = renamed.since.number.saturating_sub(1);
            let name = renamed.from.value();
            let other = event.named_fields().find(|other| {
                other.ident != field.ident && other.name_at(before).as_ref() == Some(&name)
            });
            if let Some(other) = other {
                errors.at(
                    renamed.from.span(),
                    format_args!(
                        "in version {before} `{name}` is already the name of the field `{}`: \
                         two fields cannot share it",
                        other.ident
                    ),
                );
            }
        }
    }
}

/// A name of an earlier payload, as the history tells it.
struct Told<'a> {
    name: &'a LitStr,
    since: u32,
    /// The field that has another name since then.
    field: Option<&'a EventField<'a>>,
}

/// Checks that the history uses the names of payloads, not those of Rust.
fn check_spelling(event: &Event, errors: &mut Errors) {
    if !errors.is_empty() {
        return;
    }
    let renamed = event.named_fields().flat_map(|field| {
        field.renamed.iter().map(move |renamed| Told {
            name: &renamed.from,
            since: renamed.since.number,
            field: Some(field),
        })
    });
    let removed = event.attribute.removed.iter().map(|removed| Told {
        name: &removed.name,
        since: removed.since.number,
        field: None,
    });
    let told: Vec<Told> = renamed.chain(removed).collect();
    let [_, rule] = event.serde.rename_all.values();
    let ruled_since = told
        .iter()
        .filter(|told| follows_rule_since(told, rule.as_deref()))
        .map(|told| told.since)
        .max();
    for told in &told {
        let name = told.name.value();
        if let Some(raw) = name.strip_prefix("r#") {
            errors.at(
                told.name.span(),
                format_args!("a payload has no raw names: write `{raw}`"),
            );
        } else if let Some(rule) = rule.as_deref()
            && ruled_since.is_none_or(|version| told.since > version)
            && is_rust_name(&name)
            && rename_field(rule, &name) != name
        {
            let spelt = rename_field(rule, &name);
            errors.at(
                told.name.span(),
                format_args!(
                    "payloads spell it `{spelt}`, by `rename_all = \"{rule}\"`: write `\"{spelt}\"`"
                ),
            );
        } else if let Some(field) = event.named_fields().find(|field| is_meant(field, told)) {
            let spelt = field
                .name_at(told.since.saturating_sub(1))
                .unwrap_or_default();
            errors.at(
                told.name.span(),
                format_args!(
                    "`{name}` is the name of a field in Rust; payloads call it `{spelt}`: write \
                     `\"{spelt}\"`"
                ),
            );
        }
    }
}

/// True for the version in which the rule came that spells the names of this event.
fn follows_rule_since(told: &Told, rule: Option<&str>) -> bool {
    let (Some(rule), Some(field)) = (rule, told.field) else {
        return false;
    };
    let name = told.name.value();
    field.name_at(told.since) == Some(rename_field(rule, &name))
}

fn is_rust_name(name: &str) -> bool {
    name.chars()
        .all(|letter| letter == '_' || letter.is_ascii_digit() || letter.is_lowercase())
}

/// True if another field, which was there already, has this name in Rust and not in payloads.
fn is_meant(field: &EventField, told: &Told) -> bool {
    let name = told.name.value();
    let is_own = told.field.is_some_and(|own| own.ident == field.ident);
    let before = field.name_at(told.since.saturating_sub(1));
    let is_rust_name_alone = field.ident.unraw() == name.as_str() && field.name != name;
    !is_own && is_rust_name_alone && before.is_some_and(|before| before != name)
}
