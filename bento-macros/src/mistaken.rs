//! One of the two attributes where the other was meant: one error, and the item as it was meant.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;
use syn::Item;

/// `#[domain_event(events(…))]`: what was meant, if that is an aggregate.
pub(crate) fn for_an_event(attribute: &TokenStream, item: &Item) -> Option<TokenStream> {
    let key = key(attribute, &["events", "event_enum"], &["schema", "version"])?;
    let message = "events are listed by an aggregate: did you mean `#[aggregate(…)]`?";
    let error = syn::Error::new(key.span(), message).into_compile_error();
    let meant = crate::aggregate::aggregate(attribute.clone(), quote!(#item));
    Some(quote!(#error #meant))
}

/// `#[aggregate(schema = …)]`: what was meant, if that is an event.
pub(crate) fn for_an_aggregate(attribute: &TokenStream, item: &Item) -> Option<TokenStream> {
    let key = key(attribute, &["schema"], &["events", "event_enum"])?;
    let message =
        "an event has a schema, and an aggregate a name: did you mean `#[domain_event(…)]`?";
    let error = syn::Error::new(key.span(), message).into_compile_error();
    let meant = crate::domain_event::domain_event(attribute.clone(), quote!(#item));
    Some(quote!(#error #meant))
}

/// The first of the keys that is there, unless one of the others is there too.
fn key(attribute: &TokenStream, wanted: &[&str], unless: &[&str]) -> Option<Ident> {
    let keys = keys(attribute);
    let find = |names: &[&str]| {
        keys.iter()
            .find(|key| names.iter().any(|name| *key == name))
    };
    if find(unless).is_some() {
        None
    } else {
        find(wanted).cloned()
    }
}

fn keys(attribute: &TokenStream) -> Vec<Ident> {
    let mut begins = true;
    let mut keys = Vec::new();
    for token in attribute.clone() {
        if let (true, TokenTree::Ident(key)) = (begins, &token) {
            keys.push(key.clone());
        }
        begins = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
    }
    keys
}
