//! Checks of the keys.

use std::collections::BTreeSet;

use proc_macro2::Span;

use super::input::{ProjectionAttribute, Views};
use crate::case::{is_lower_dotted_snake, is_lower_snake};
use crate::diagnostics::Errors;

/// The most characters of a name: with `@` and the version it is a route.
const NAME_LENGTH_MAX: usize = 100;

/// The highest version that every back end can store.
const VERSION_MAX: u32 = i32::MAX.unsigned_abs();

/// The most characters of a view, behind which the version of a table has room.
const VIEW_LENGTH_MAX: usize = 48;

/// Checks the keys.
pub(super) fn check(attribute: &ProjectionAttribute, errors: &mut Errors) {
    check_name(attribute, errors);
    check_version(attribute, errors);
    if let Some(events) = &attribute.events {
        events.value.check(errors);
    }
    if let Some(views) = &attribute.views {
        check_views(&views.value, errors);
    }
}

/// Checks the form of the name: it is stored, and part of the names of routes.
fn check_name(attribute: &ProjectionAttribute, errors: &mut Errors) {
    let Some(name) = &attribute.name else {
        if !attribute.faulty.explains("name") {
            errors.at(
                Span::call_site(),
                "a projection needs a stable name, under which it is stored how far it has come: \
                 add `name = \"balances\"`",
            );
        }
        return;
    };
    let text = name.value.value();
    if !is_lower_snake(&text) && !is_lower_dotted_snake(&text) {
        errors.at(
            name.value.span(),
            format_args!(
                "invalid projection name `{}`: write `lower_snake`, with a dot between parts if \
                 there are several, as in `balances` or `billing.balances`",
                text.escape_debug()
            ),
        );
    } else if text.len() > NAME_LENGTH_MAX {
        errors.at(
            name.value.span(),
            format_args!(
                "the name of a projection has at most {NAME_LENGTH_MAX} characters, this one has \
                 {}: shorten it",
                text.len()
            ),
        );
    }
}

fn check_version(attribute: &ProjectionAttribute, errors: &mut Errors) {
    let Some(version) = &attribute.version else {
        if !attribute.faulty.explains("version") {
            errors.at(
                Span::call_site(),
                "a projection needs the version of its read model, which is raised to build it \
                 anew: add `version = 1`",
            );
        }
        return;
    };
    let version = version.value;
    if version.number == 0 {
        errors.at(
            version.span,
            "versions count from 1: write `version = 1` for the first",
        );
    } else if version.number > VERSION_MAX {
        errors.at(
            version.span,
            format_args!(
                "a version is at most {VERSION_MAX}: versions count from 1 in steps of one"
            ),
        );
    }
}

/// Checks that each view has a name of its own that is short enough.
fn check_views(views: &Views, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for view in &views.0 {
        let text = view.value();
        if !is_lower_snake(&text) {
            errors.at(
                view.span(),
                format_args!(
                    "invalid view `{}`: write `lower_snake`, as in `balance`",
                    text.escape_debug()
                ),
            );
        } else if text.len() > VIEW_LENGTH_MAX {
            errors.at(
                view.span(),
                format_args!(
                    "the name of a view has at most {VIEW_LENGTH_MAX} characters, this one has \
                     {}: shorten it",
                    text.len()
                ),
            );
        } else if !seen.insert(text.clone()) {
            errors.at(
                view.span(),
                format_args!("the view `{text}` is given twice: keep one"),
            );
        }
    }
}
