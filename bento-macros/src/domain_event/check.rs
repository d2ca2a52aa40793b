//! Rules that need more than one key to be looked at.

use std::collections::BTreeSet;

use proc_macro2::Span;
use syn::Type;

use super::input::{Event, EventAttribute, EventField};
use super::serde_names;
use crate::case::is_lower_snake;
use crate::diagnostics::Errors;
use crate::keyed::Version;
use crate::syntax;

/// What fits the columns and broker names that carry a schema.
const SCHEMA_LENGTH_MAX: usize = 128;

pub(super) fn check(event: &Event, errors: &mut Errors) {
    check_schema(event, errors);
    check_topic(event, errors);
    if !check_versions(event, errors) {
        return;
    }
    for field in &event.fields {
        check_history(event, field, errors);
    }
    check_removed(event, errors);
    check_names(event, errors);
    // A step may only seem to be missing where the history was not understood.
    if errors.is_empty() && event.attribute.upcast_from.is_none() {
        check_chain(event, errors);
    }
}

/// The schema is stored, routed by and spelt in other languages, so it has one form: `order.created`,
/// `billing.invoice.line_added`.
fn check_schema(event: &Event, errors: &mut Errors) {
    let Some(schema) = &event.attribute.schema else {
        if !event.attribute.faulty.explains("schema") {
            errors.at(Span::call_site(), "an event needs a stable name: add `schema = \"order.created\"`");
        }
        return;
    };
    let name = schema.value.value();
    let segments: Vec<&str> = name.split('.').collect();
    if segments.len() < 2 || !segments.iter().all(|segment| is_lower_snake(segment)) {
        errors.at(
            schema.value.span(),
            format_args!(
                "`{name}` is no schema: write `lower.dotted_snake`, what it is about and what happened, \
                 as in `order.created`"
            ),
        );
    } else if name.len() > SCHEMA_LENGTH_MAX {
        errors.at(
            schema.value.span(),
            format_args!("a schema has at most {SCHEMA_LENGTH_MAX} characters, this one has {}", name.len()),
        );
    }
}

/// Brokers carry both in protocols in which a control character ends something.
fn check_topic(event: &Event, errors: &mut Errors) {
    let EventAttribute { topic, routing_key, .. } = event.attribute;
    for (key, article, text) in [("topic", "a topic", topic), ("routing_key", "a routing key", routing_key)] {
        let Some(text) = text.as_ref().map(|text| &text.value) else { continue };
        if text.value().is_empty() {
            errors.at(
                text.span(),
                format_args!("{article} has a name: write one, or remove `{key}` to publish under the schema"),
            );
        } else if text.value().chars().any(char::is_control) {
            errors.at(text.span(), format_args!("{article} has no control characters: brokers would misread it"));
        }
    }
}

/// Versions count from 1, and `oldest` is one of them. Without them no history can be judged.
fn check_versions(event: &Event, errors: &mut Errors) -> bool {
    let Some(version) = &event.attribute.version else {
        if !event.attribute.faulty.explains("version") {
            errors.at(Span::call_site(), "an event needs the version of its payload: add `version = 1`");
        }
        return false;
    };
    let version = version.value;
    if version.number == 0 {
        errors.at(version.span, "versions count from 1: write `version = 1` for the first");
        return false;
    }
    if version.number > VERSION_MAX {
        errors.at(
            version.span,
            format_args!("a version is at most {VERSION_MAX}: versions count from 1 in steps of one"),
        );
        return false;
    }
    if let Some(oldest) = &event.attribute.oldest {
        let oldest = oldest.value;
        if oldest.number == 0 || oldest.number > version.number {
            errors.at(
                oldest.span,
                format_args!("`oldest` is a version between 1 and {}, the current one", version.number),
            );
            return false;
        }
    }
    true
}

/// Far beyond what an event lives to see; the history is looked at version by version.
const VERSION_MAX: u32 = 10_000;

/// A change belongs to a version from 2 to the current one; a field is added before it is renamed, and renamed once a
/// version; a field that came later has a value for the payloads of before.
fn check_history(event: &Event, field: &EventField, errors: &mut Errors) {
    for since in field.versions() {
        check_since(event, since, errors);
    }
    if field.versions().next().is_some() && serde_names::is_flattened(&field.original.attrs) {
        errors.on(
            field.ident,
            "a flattened field has no name of its own, so it has no history: use a typed `upcast_from`",
        );
    }
    let mut previous = field.added.as_ref().map_or(1, |added| added.since.number);
    for renamed in &field.renamed {
        if renamed.since.number <= previous && renamed.since.number > 1 {
            errors.at(
                renamed.since.span,
                format_args!("`{}` has one name in a version: rename it after version {previous}", field.ident),
            );
        }
        previous = renamed.since.number;
    }
    if let Some(added) = &field.added
        && added.default.is_none()
        && (event.attribute.oldest() + 1..=event.attribute.version()).contains(&added.since.number)
        && !reads_as_absent(event, field)
    {
        errors.at(
            added.since.span,
            format_args!(
                "payloads before version {} have no `{}`: add `default = …`, or make it an `Option`",
                added.since.number, field.ident,
            ),
        );
    }
}

fn check_since(event: &Event, since: Version, errors: &mut Errors) {
    let version = event.attribute.version();
    if since.number < 2 {
        errors.at(since.span, "everything is there since version 1: a change comes with version 2 or later");
    } else if since.number > version {
        errors.at(
            since.span,
            format_args!("`since = {}` is later than the event: raise `version = {version}` to it", since.number),
        );
    }
}

/// Whether serde reads a payload without this field.
fn reads_as_absent(event: &Event, field: &EventField) -> bool {
    let optional = matches!(field.ty, Type::Path(path) if syntax::last_ident(&path.path, "Option"));
    (optional && !serde_names::has_own_form(&field.original.attrs))
        || serde_names::fills_in(&field.original.attrs)
        || serde_names::fills_in(&event.item.attrs)
}

/// A removed field is no longer there.
fn check_removed(event: &Event, errors: &mut Errors) {
    for removed in &event.attribute.removed {
        check_since(event, removed.since, errors);
        let name = removed.name.value();
        let before = removed.since.number.saturating_sub(1);
        if let Some(field) = event.fields.iter().find(|field| field.name_at(before).as_ref() == Some(&name)) {
            errors.at(
                removed.name.span(),
                format_args!(
                    "`{name}` is still here, as the field `{}`: remove the field, or this `removed`",
                    field.ident
                ),
            );
        }
    }
}

/// In no version do two fields share a name.
fn check_names(event: &Event, errors: &mut Errors) {
    let changed = event.fields.iter().filter(|field| !field.renamed.is_empty());
    for field in changed {
        for renamed in &field.renamed {
            let before = renamed.since.number.saturating_sub(1);
            let name = renamed.from.value();
            let other = event
                .fields
                .iter()
                .find(|other| other.ident != field.ident && other.name_at(before).as_ref() == Some(&name));
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

/// Every step from the oldest readable version on says what it changed.
fn check_chain(event: &Event, errors: &mut Errors) {
    let Some(version) = &event.attribute.version else { return };
    let covered = covered_steps(event);
    for to in event.attribute.oldest() + 1..=version.value.number {
        if !covered.contains(&to) {
            errors.at(version.value.span, missing_step(to));
        }
    }
}

/// The versions whose change the field history tells.
pub(super) fn covered_steps(event: &Event) -> BTreeSet<u32> {
    let fields = event.fields.iter().flat_map(EventField::versions);
    let removed = event.attribute.removed.iter().map(|removed| removed.since);
    fields.chain(removed).map(|since| since.number).collect()
}

/// The message for a step that nothing covers.
pub(super) fn missing_step(to: u32) -> String {
    let from = to - 1;
    format!(
        "there is no way from version {from} to version {to}: \
         say what changed with `#[event(since = {to}, …)]` or `removed(\"…\", since = {to})`, \
         upcast by hand with `upcast_from = …`, or retire what is older with `oldest = {to}`"
    )
}
