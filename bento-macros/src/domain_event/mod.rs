//! `#[domain_event]`: parse, check, expand.

mod check;
mod expand;
mod fallback;
mod field;
mod history;
mod input;
mod payload;
mod serde_attrs;

use proc_macro2::TokenStream;
use quote::quote;
use syn::Item;

use self::input::{Event, EventAttribute};
use crate::diagnostics::Errors;
use crate::mistaken::Mistaken;
use crate::syntax;

/// The item with its implementations. Where there are errors: the errors, the item, and the
/// implementations without which rustc would report more.
pub(crate) fn domain_event(
    attribute: TokenStream,
    item: TokenStream,
) -> Result<TokenStream, Mistaken> {
    let mut item = match syn::parse2::<Item>(item.clone()) {
        Ok(item) => item,
        Err(error) => return Ok([error.into_compile_error(), item].into_iter().collect()),
    };
    if let Some(mistaken) = Mistaken::for_an_event(&attribute, &item) {
        return Err(mistaken);
    }
    let mut errors = Errors::new();
    syntax::refuse_repeated(&mut item, "domain_event", &mut errors);
    for misplaced in syntax::take_attrs(&mut item, |path| path.is_ident("event")) {
        errors.on(
            misplaced,
            "`#[event(…)]` tells the history of a field: write it above the field",
        );
    }
    let attribute = EventAttribute::parse(attribute, &mut errors);
    let event = Event::parse(&attribute, &item, &mut errors);
    if let Some(event) = &event {
        check::check(event, &mut errors);
    }
    let refused_by_serde = event.as_ref().is_some_and(Event::is_refused_by_serde);
    Ok(match (errors.check(), event) {
        (Ok(()), Some(event)) if !refused_by_serde => expand::expand(&event),
        (Ok(()), None) => quote!(#item),
        (checked, _) => {
            let errors = checked.err().map(syn::Error::into_compile_error);
            let fallback = fallback::fallback(&attribute, &item, refused_by_serde);
            quote!(#errors #fallback)
        }
    })
}

#[cfg(test)]
mod tests;
