//! `#[domain_event]` and `#[integration_event]`: parse, check, expand.

mod check;
mod expand;
mod fallback;
mod field;
mod history;
mod input;
mod payload;

use proc_macro2::TokenStream;
use quote::quote;
use syn::Item;

pub(crate) use self::input::Declares;
use self::input::{Event, EventAttribute};
use crate::diagnostics::Errors;
use crate::mistaken::Mistaken;
use crate::syntax;

/// Expands `#[domain_event]`.
pub(crate) fn domain_event(
    attribute: TokenStream,
    item: TokenStream,
) -> Result<TokenStream, Mistaken> {
    let item = match parse(item) {
        Ok(item) => item,
        Err(refused) => return Ok(refused),
    };
    if let Some(mistaken) = Mistaken::for_an_event(&attribute, &item) {
        return Err(mistaken);
    }
    Ok(declare(Declares::Domain, attribute, item))
}

/// The item, or the error with the tokens as they are.
pub(crate) fn parse(item: TokenStream) -> Result<Item, TokenStream> {
    syn::parse2(item.clone())
        .map_err(|error| [error.into_compile_error(), item].into_iter().collect())
}

/// The item with its implementations. Where there are errors: the errors, the item, and the
/// implementations without which rustc would report more.
pub(crate) fn declare(declares: Declares, attribute: TokenStream, mut item: Item) -> TokenStream {
    let mut errors = Errors::new();
    syntax::refuse_repeated(&mut item, declares.name(), &mut errors);
    check::refuse_both(declares, &mut item, &mut errors);
    for misplaced in syntax::take_attrs(&mut item, |path| path.is_ident("event")) {
        errors.on(
            misplaced,
            "`#[event(…)]` tells the history of a field: write it above the field",
        );
    }
    let attribute = EventAttribute::parse(declares, attribute, &mut errors);
    let event = Event::parse(&attribute, &item, &mut errors);
    if let Some(event) = &event {
        check::check(event, &mut errors);
    }
    let refused_by_serde = event.as_ref().is_some_and(Event::is_refused_by_serde);
    match (errors.check(), event) {
        (Ok(()), Some(event)) if !refused_by_serde => expand::expand(&event),
        (Ok(()), None) => quote!(#item),
        (checked, _) => {
            let errors = checked.err().map(syn::Error::into_compile_error);
            let fallback = fallback::fallback(&attribute, &item, refused_by_serde);
            quote!(#errors #fallback)
        }
    }
}

#[cfg(test)]
mod tests;
