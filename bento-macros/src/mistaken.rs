//! One of the attributes above a struct that another was meant for.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;
use syn::{Error, Item};

/// A declaration under the wrong attribute: `#[domain_event]` above an aggregate, or `#[aggregate]`
/// or `#[event_handler]` above an event.
#[derive(Debug)]
pub(crate) struct Mistaken {
    error: Error,
    attribute: TokenStream,
    item: TokenStream,
}

impl Mistaken {
    /// Finds `#[domain_event(events(…))]`, which was meant to be `#[aggregate]`.
    pub(crate) fn for_an_event(attribute: &TokenStream, item: &Item) -> Option<Self> {
        let key = key(attribute, &["events", "event_enum"], &["schema", "version"])?;
        let message = "events are listed by an aggregate: did you mean `#[aggregate(…)]`?";
        Some(Self::new(&key, message, attribute, item))
    }

    /// Finds `#[aggregate(schema = …)]`, which was meant to be `#[domain_event]`.
    pub(crate) fn for_an_aggregate(attribute: &TokenStream, item: &Item) -> Option<Self> {
        let key = key(attribute, &["schema"], &["events", "event_enum"])?;
        let message =
            "an event has a schema, and an aggregate a name: did you mean `#[domain_event(…)]`?";
        Some(Self::new(&key, message, attribute, item))
    }

    /// Finds `#[event_handler(schema = …)]` above a struct, which was meant to be
    /// `#[domain_event]`.
    pub(crate) fn for_a_handler(attribute: &TokenStream, item: &Item) -> Option<Self> {
        if !matches!(item, Item::Struct(_)) {
            return None;
        }
        let key = key(attribute, &["schema", "version"], &["name"])?;
        let message = "a handler is an `async fn`, and an event is a struct: did you mean \
                       `#[domain_event(…)]`?";
        Some(Self::new(&key, message, attribute, item))
    }

    /// The error, followed by the item as `meant` expands it.
    pub(crate) fn expand(
        self,
        meant: impl FnOnce(TokenStream, TokenStream) -> Result<TokenStream, Self>,
    ) -> TokenStream {
        let error = self.error.into_compile_error();
        // The keys of one attribute exclude those of the other, so `meant` takes them.
        let item = meant(self.attribute, self.item).unwrap_or_else(|mistaken| mistaken.item);
        quote!(#error #item)
    }

    fn new(key: &Ident, message: &str, attribute: &TokenStream, item: &Item) -> Self {
        Self {
            error: Error::new(key.span(), message),
            attribute: attribute.clone(),
            item: quote!(#item),
        }
    }
}

/// The first of the `wanted` keys in the attribute; `None` if one of `unless` is there too.
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
