//! `#[domain_event]`: parse, check, expand.

mod check;
mod expand;
mod input;
mod serde_names;

use proc_macro2::TokenStream;
use quote::quote;
use syn::Item;

use self::input::{Event, EventAttribute};
use crate::diagnostics::Errors;
use crate::syntax;

/// The item with its implementations; with errors, the item, the errors and the least that keeps other errors away.
pub(crate) fn domain_event(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut item = match syn::parse2::<Item>(item.clone()) {
        Ok(item) => item,
        Err(error) => return [error.into_compile_error(), item].into_iter().collect(),
    };
    let mut errors = Errors::new();
    syntax::refuse_repeated(&mut item, "domain_event", &mut errors);
    let attribute = EventAttribute::parse(attribute, &mut errors);
    let event = Event::parse(&attribute, &item, &mut errors);
    if let Some(event) = &event {
        check::check(event, &mut errors);
    }
    match (errors.check(), event) {
        (Ok(()), Some(event)) => expand::expand(&event),
        (Ok(()), None) => quote!(#item),
        (Err(errors), _) => {
            let errors = errors.into_compile_error();
            let fallback = expand::fallback(&attribute, item);
            quote!(#errors #fallback)
        }
    }
}

#[cfg(test)]
mod tests;
