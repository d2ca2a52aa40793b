//! Checks of the payload: it is one JSON object, and a written payload can be read.

use proc_macro2::{Span, TokenTree};
use quote::ToTokens;
use syn::Type;
use syn::ext::IdentExt;

use super::field::EventField;
use super::input::Event;
use crate::case::can_rename_field;
use crate::diagnostics::Errors;
use crate::syntax;

pub(super) fn check(event: &Event, errors: &mut Errors) {
    check_shape(event, errors);
    for field in &event.fields {
        check_owned(field, errors);
        check_one_name(event, field, errors);
        check_absence(event, field, errors);
    }
    check_names_differ(event, errors);
}

fn check_shape(event: &Event, errors: &mut Errors) {
    if let Some(key) = &event.serde.other_shape {
        errors.at(
            key.span(),
            format_args!(
                "a payload is a JSON object of the fields of the event, which `{key}` \
                          changes: remove it"
            ),
        );
    }
    if let (Some(tag), true) = (&event.serde.tag, event.serde.denies_unknown) {
        errors.at(
            tag.span(),
            "`deny_unknown_fields` refuses the tag that is written: remove one of the two",
        );
    }
}

/// Refuses references: the payload that they would point into is gone after reading.
fn check_owned(field: &EventField, errors: &mut Errors) {
    if let Some(borrow) = &field.serde.borrow {
        errors.at(borrow.span(), "an event owns its data: remove `borrow`");
    } else if let Some(owned) = owned_instead(field.ty) {
        errors.on(
            field.ty,
            format_args!("an event owns its data: write {owned}"),
        );
    }
}

/// The type to write instead of the first reference in a type.
fn owned_instead(ty: &Type) -> Option<&'static str> {
    let mut tokens = ty.to_token_stream().into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                let mut behind = tokens
                    .skip_while(|token| matches!(token, TokenTree::Punct(_)))
                    .peekable();
                behind.next_if(
                    |token| matches!(token, TokenTree::Ident(ident) if *ident == "static"),
                );
                return Some(match behind.next() {
                    Some(TokenTree::Ident(ident)) if ident == "str" => "`String` for `&str`",
                    Some(TokenTree::Group(group))
                        if group.delimiter() == proc_macro2::Delimiter::Bracket =>
                    {
                        "`Vec<T>` for `&[T]`"
                    }
                    _ => "`T` for `&T`",
                });
            }
            TokenTree::Group(group) => {
                let inner: Option<Type> = syn::parse2(group.stream()).ok();
                if let Some(owned) = inner.as_ref().and_then(owned_instead) {
                    return Some(owned);
                }
            }
            _ => {}
        }
    }
    None
}

fn check_one_name(event: &Event, field: &EventField, errors: &mut Errors) {
    const ONE_NAME: &str =
        "a payload is written and read under one name: let `serialize` and `deserialize` agree";
    if !field.serde.has_name() {
        return;
    }
    let rules = &event.serde.rename_all;
    let ident = field.ident.unraw().to_string();
    let [written, read] = field.serde.names(&ident, rules);
    if written != read {
        // One rule of the struct is one mistake, at the first field that it touches.
        let of_struct = field.serde.rename.span().is_none();
        let span = field
            .serde
            .rename
            .span()
            .or(rules.span())
            .unwrap_or_else(Span::call_site);
        if !of_struct || is_first_with_two_names(event, field) {
            errors.at(span, ONE_NAME);
        }
    }
    let [_, own] = field.serde.rename.values();
    let [_, rule] = rules.values();
    if let (None, Some(rule)) = (own, rule)
        && !can_rename_field(&rule, &ident)
    {
        errors.on(
            field.ident,
            format_args!(
                "serde cannot write `{ident}` in `{rule}`: give it a name with \
                          `#[serde(rename = \"…\")]`"
            ),
        );
    }
}

fn is_first_with_two_names(event: &Event, field: &EventField) -> bool {
    let first = event.named_fields().find(|field| {
        let [written, read] = field
            .serde
            .names(&field.ident.unraw().to_string(), &event.serde.rename_all);
        field.serde.rename.span().is_none() && written != read
    });
    first.is_some_and(|first| first.ident == field.ident)
}

/// Checks that a field which may be left out of a payload may be missing when it is read.
fn check_absence(event: &Event, field: &EventField, errors: &mut Errors) {
    let serde = &field.serde;
    if let Some(key) = &serde.skip_serializing
        && !reads_as_absent(event, field)
    {
        errors.at(
            key.span(),
            format_args!(
                "a payload without `{}` cannot be read: add `#[serde(default)]` to the field",
                field.name
            ),
        );
    }
    if let Some(key) = &serde.skip_deserializing
        && serde.skip_serializing.is_none()
        && event.serde.denies_unknown
    {
        errors.at(
            key.span(),
            format_args!(
                "`deny_unknown_fields` refuses `{}`, which is written: write `skip`, or remove one",
                field.name
            ),
        );
    }
}

/// True if serde reads a payload without this field.
pub(super) fn reads_as_absent(event: &Event, field: &EventField) -> bool {
    let serde = &field.serde;
    (is_optional(field) && serde.read_with.is_none())
        || serde.default
        || serde.skip.is_some()
        || serde.skip_deserializing.is_some()
        || event.serde.default
}

pub(super) fn is_optional(field: &EventField) -> bool {
    syntax::is_type(field.ty, "Option")
}

/// Checks that no two values of a payload share a name, and no alias takes a name from another
/// field.
fn check_names_differ(event: &Event, errors: &mut Errors) {
    if let Some(tag) = &event.serde.tag
        && let Some(field) = event.named_fields().find(|field| field.name == tag.value())
    {
        errors.at(
            tag.span(),
            format_args!(
                "`{}` is the name of the field `{}` already: choose another tag",
                field.name, field.ident
            ),
        );
    }
    let mut seen: Vec<&EventField> = Vec::new();
    for field in event.named_fields() {
        if let Some(other) = seen.iter().find(|other| other.name == field.name) {
            errors.at(
                field
                    .serde
                    .rename
                    .span()
                    .unwrap_or_else(|| field.ident.span()),
                format_args!(
                    "in a payload `{}` is already the name of the field `{}`: two fields cannot \
                     share it",
                    field.name, other.ident
                ),
            );
        }
        seen.push(field);
    }
    for field in event.named_fields() {
        for alias in &field.serde.aliases {
            let other = event
                .named_fields()
                .find(|other| other.ident != field.ident && other.name == alias.value());
            if let Some(other) = other {
                errors.at(
                    alias.span(),
                    format_args!(
                        "`{}` is the name of the field `{}`, which could not be read beside this \
                         alias: remove it",
                        other.name, other.ident
                    ),
                );
            }
        }
    }
}
