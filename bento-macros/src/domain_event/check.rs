//! Checks of an event that need more than one key.

use std::collections::BTreeSet;

use proc_macro2::{Ident, Span};
use syn::{Item, Path};

use super::input::{Declares, Event, EventAttribute};
use super::{history, payload};
use crate::case::is_lower_dotted_snake;
use crate::diagnostics::Errors;
use crate::syntax;

/// The most characters of the columns and broker names that carry a schema.
const SCHEMA_LENGTH_MAX: usize = 128;

pub(super) fn check(event: &Event, errors: &mut Errors) {
    if event.attribute.declares == Declares::Integration {
        check_integration(event, errors);
    }
    check_schema(event, errors);
    check_topic(event, errors);
    if !check_versions(event, errors) {
        return;
    }
    // Nothing is certain about the payload, and serde says what is wrong.
    if event.is_refused_by_serde() {
        return;
    }
    payload::check(event, errors);
    history::check(event, errors);
    // A step may only seem to be missing where the history was not understood.
    if errors.is_empty() {
        check_chain(event, errors);
    }
}

/// Removes the attribute of the other kind of event, and says that it is one too many.
pub(super) fn refuse_both(declares: Declares, item: &mut Item, errors: &mut Errors) {
    let other = match declares {
        Declares::Domain => Declares::Integration,
        Declares::Integration => Declares::Domain,
    };
    for attr in syntax::take_attrs(item, |path| syntax::last_ident(path, other.name())) {
        errors.on(
            attr.path(),
            "a struct is either a domain event or an integration event: give the integration event \
             a struct of its own, made `from` the domain event",
        );
    }
}

/// Checks that an integration event says what it is made from, and a deprecated one what to do.
fn check_integration(event: &Event, errors: &mut Errors) {
    let EventAttribute {
        from,
        deprecated,
        faulty,
        ..
    } = event.attribute;
    if from.is_none() && !faulty.explains("from") {
        errors.at(
            Span::call_site(),
            "an integration event is made from a domain event: add `from = OrderConfirmed`",
        );
    }
    if let Some(text) = deprecated.as_ref().map(|text| &text.value)
        && text.value().trim().is_empty()
    {
        errors.at(
            text.span(),
            "`deprecated` says what consumers do instead, as in `deprecated = \"use version 2\"`",
        );
    }
}

/// Checks the form of the schema, `order.created` or `billing.invoice.line_added`: it is stored,
/// routed by, and spelt in other languages.
fn check_schema(event: &Event, errors: &mut Errors) {
    let Some(schema) = &event.attribute.schema else {
        if !event.attribute.faulty.explains("schema") {
            errors.at(
                Span::call_site(),
                "an event needs a stable name: add `schema = \"order.created\"`",
            );
        }
        return;
    };
    let name = schema.value.value();
    if !is_lower_dotted_snake(&name) {
        errors.at(
            schema.value.span(),
            format_args!(
                "invalid schema name `{name}`: write `lower.dotted_snake`, what it is about and \
                 what happened, as in `order.created`"
            ),
        );
    } else if name.len() > SCHEMA_LENGTH_MAX {
        errors.at(
            schema.value.span(),
            format_args!(
                "a schema has at most {SCHEMA_LENGTH_MAX} characters, this one has {}",
                name.len()
            ),
        );
    }
}

/// Checks topic and routing key for control characters, which end a value in protocols of brokers.
fn check_topic(event: &Event, errors: &mut Errors) {
    let EventAttribute {
        topic, routing_key, ..
    } = event.attribute;
    for (key, article, text) in [
        ("topic", "a topic", topic),
        ("routing_key", "a routing key", routing_key),
    ] {
        let Some(text) = text.as_ref().map(|text| &text.value) else {
            continue;
        };
        if text.value().is_empty() {
            errors.at(
                text.span(),
                format_args!(
                    "{article} has a name: write one, or remove `{key}` to publish under the schema"
                ),
            );
        } else if text.value().chars().any(char::is_control) {
            errors.at(
                text.span(),
                format_args!("{article} has no control characters: brokers would misread it"),
            );
        }
    }
}

/// Checks that versions count from 1, and that `oldest` is one of them. Returns `false` if the
/// history cannot be checked.
fn check_versions(event: &Event, errors: &mut Errors) -> bool {
    let Some(version) = &event.attribute.version else {
        if !event.attribute.faulty.explains("version") {
            errors.at(
                Span::call_site(),
                "an event needs the version of its payload: add `version = 1`",
            );
        }
        return false;
    };
    let version = version.value;
    if version.number == 0 {
        errors.at(
            version.span,
            "versions count from 1: write `version = 1` for the first",
        );
        return false;
    }
    if version.number > VERSION_MAX {
        errors.at(
            version.span,
            format_args!(
                "a version is at most {VERSION_MAX}: versions count from 1 in steps of one"
            ),
        );
        return false;
    }
    if let Some(oldest) = &event.attribute.oldest {
        let oldest = oldest.value;
        if oldest.number == 0 || oldest.number > version.number {
            errors.at(
                oldest.span,
                format_args!(
                    "`oldest` is a version between 1 and {}, the current one",
                    version.number
                ),
            );
            return false;
        }
    }
    true
}

/// More versions than any event has; the history is checked version by version.
const VERSION_MAX: u32 = 10_000;

/// Checks that every step from the oldest readable version on tells its changes.
fn check_chain(event: &Event, errors: &mut Errors) {
    let Some(version) = &event.attribute.version else {
        return;
    };
    if let Some(older) = &event.attribute.upcast_from {
        if is_itself(&older.value, &event.item.ident) {
            errors.on(
                &older.value,
                "`upcast_from` leads back to itself: name the struct of an earlier version, \
                 marked `superseded`",
            );
        }
        return;
    }
    let covered = covered_steps(event);
    for to in event.attribute.oldest() + 1..=version.value.number {
        if !covered.contains(&to) {
            errors.at(version.value.span, missing_step(to));
        }
    }
}

/// True if the path can only be the event: `OrderCreated`, `self::OrderCreated` or `Self`.
fn is_itself(path: &Path, event: &Ident) -> bool {
    path.is_ident("Self")
        || path.is_ident(event)
        || path.segments.len() == 2
            && path.segments[0].ident == "self"
            && path.segments[1].ident == *event
}

/// The versions whose changes the history of the fields tells.
pub(super) fn covered_steps(event: &Event) -> BTreeSet<u32> {
    event.changes().map(|since| since.number).collect()
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
