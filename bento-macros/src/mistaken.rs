//! One of the attributes above an item that another was meant for.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;
use syn::{Error, Item};

/// A declaration under the wrong attribute: `#[domain_event]` above an aggregate, for example, or
/// `#[event_handler]` above a projection.
#[derive(Debug)]
pub(crate) struct Mistaken {
    /// The attribute that was meant.
    pub(crate) meant: Meant,
    error: Error,
    attribute: TokenStream,
    item: TokenStream,
}

/// The attribute that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    Event,
    Aggregate,
    Handler,
    Projection,
}

impl Mistaken {
    /// Finds `#[domain_event(events(…))]`, which was meant to be `#[aggregate]`.
    pub(crate) fn for_an_event(attribute: &TokenStream, item: &Item) -> Option<Self> {
        let key = key(attribute, &["events", "event_enum"], &["schema", "version"])?;
        let message = "events are listed by an aggregate: did you mean `#[aggregate(…)]`?";
        Some(Self::new(Meant::Aggregate, &key, message, attribute, item))
    }

    /// Finds `#[aggregate(schema = …)]`, which was meant to be `#[domain_event]`.
    pub(crate) fn for_an_aggregate(attribute: &TokenStream, item: &Item) -> Option<Self> {
        let key = key(attribute, &["schema"], &["events", "event_enum"])?;
        let message =
            "an event has a schema, and an aggregate a name: did you mean `#[domain_event(…)]`?";
        Some(Self::new(Meant::Event, &key, message, attribute, item))
    }

    /// Finds `#[event_handler]` above a struct: with `schema = …` it was meant to be
    /// `#[domain_event]`, with a name and a version `#[projection]`.
    pub(crate) fn for_a_handler(attribute: &TokenStream, item: &Item) -> Option<Self> {
        if !matches!(item, Item::Struct(_)) {
            return None;
        }
        if let Some(key) = key(attribute, &["schema", "version"], &["name", "views"]) {
            let message = "a handler is an `async fn`, and an event is a struct: did you mean \
                           `#[domain_event(…)]`?";
            return Some(Self::new(Meant::Event, &key, message, attribute, item));
        }
        let key = key(attribute, &["version", "views"], &["schema"])?;
        let message = "a handler is an `async fn`, and a projection is a struct: did you mean \
                       `#[projection(…)]`?";
        Some(Self::new(Meant::Projection, &key, message, attribute, item))
    }

    /// Finds `#[projection]` above a function, which was meant to be `#[event_handler]`, and above
    /// a struct with `schema = …`, which was meant to be `#[domain_event]`.
    pub(crate) fn for_a_projection(attribute: &TokenStream, item: &Item) -> Option<Self> {
        match item {
            Item::Fn(function) if function.sig.receiver().is_none() => {
                let key = key(attribute, &["name"], &["version", "views"])?;
                let message = "a projection is a struct, and a handler is an `async fn`: did you \
                               mean `#[event_handler(…)]`?";
                Some(Self::new(Meant::Handler, &key, message, attribute, item))
            }
            Item::Struct(_) => {
                let key = key(attribute, &["schema"], &["name", "views"])?;
                let message = "a projection has a name, and an event a schema: did you mean \
                               `#[domain_event(…)]`?";
                Some(Self::new(Meant::Event, &key, message, attribute, item))
            }
            _ => None,
        }
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

    fn new(meant: Meant, key: &Ident, message: &str, attribute: &TokenStream, item: &Item) -> Self {
        Self {
            meant,
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
