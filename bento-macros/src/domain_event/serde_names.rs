//! The names a payload has because of `#[serde(rename)]` and `#[serde(rename_all)]`.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Expr, Field, LitStr, Token};

use crate::case;
use crate::diagnostics::Errors;
use crate::syntax;

/// The rule in `#[serde(rename_all = "…")]` of the struct.
pub(super) fn rename_all(attrs: &[Attribute], errors: &mut Errors) -> Option<String> {
    one_name(attrs, "rename_all", errors)
}

/// The name of a field in the payload.
pub(super) fn field_name(field: &Field, ident: &str, rename_all: Option<&str>, errors: &mut Errors) -> String {
    let renamed = one_name(&field.attrs, "rename", errors);
    renamed.unwrap_or_else(|| rename_all.map_or_else(|| ident.to_owned(), |rule| case::rename_field(rule, ident)))
}

/// Whether serde fills the field in by itself when a payload lacks it.
pub(super) fn fills_in(attrs: &[Attribute]) -> bool {
    serde(attrs).any(|attr| syntax::has_argument(attr, "default") || syntax::has_argument(attr, "skip"))
}

/// Whether the field's value is written by a function of the user.
pub(super) fn has_own_form(attrs: &[Attribute]) -> bool {
    serde(attrs).any(|attr| syntax::has_argument(attr, "with") || syntax::has_argument(attr, "serialize_with"))
}

/// Whether the field has no name of its own in the payload.
pub(super) fn is_flattened(attrs: &[Attribute]) -> bool {
    serde(attrs).any(|attr| syntax::has_argument(attr, "flatten"))
}

pub(super) fn serde(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("serde"))
}

/// The text of `key = "…"` or of `key(serialize = "…", deserialize = "…")`, which must agree.
fn one_name(attrs: &[Attribute], key: &str, errors: &mut Errors) -> Option<String> {
    let mut names: Vec<LitStr> = Vec::new();
    for attr in serde(attrs) {
        // What is wrong in a serde attribute is serde's to report.
        let _ = attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident(key) {
                return skip(&meta);
            }
            if meta.input.peek(Token![=]) {
                names.push(meta.value()?.parse()?);
                return Ok(());
            }
            meta.parse_nested_meta(|side| {
                names.push(side.value()?.parse()?);
                Ok(())
            })
        });
    }
    let first = names.first()?.value();
    if let Some(other) = names.iter().find(|name| name.value() != first) {
        errors
            .at(other.span(), "a payload is written and read under one name: let `serialize` and `deserialize` agree");
    }
    Some(first)
}

fn skip(meta: &ParseNestedMeta) -> syn::Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        meta.parse_nested_meta(|inner| skip(&inner))?;
    }
    Ok(())
}
