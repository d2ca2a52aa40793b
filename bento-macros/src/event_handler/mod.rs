//! `#[event_handler]`: parse, check, expand.

mod check;
mod expand;
mod input;
mod moment;
mod signature;
mod timeout;

use proc_macro2::TokenStream;
use syn::Item;

use self::input::{Handler, HandlerAttribute};
use crate::diagnostics::Errors;
use crate::mistaken::Mistaken;
use crate::syntax;

/// The function with its descriptor. Where there are errors: the errors, the function, and the
/// struct beside it that the rest of the program may name.
pub(crate) fn event_handler(
    attribute: TokenStream,
    item: TokenStream,
) -> Result<TokenStream, Mistaken> {
    let mut item = match syn::parse2::<Item>(item.clone()) {
        Ok(item) => item,
        Err(error) => return Ok([error.into_compile_error(), item].into_iter().collect()),
    };
    if let Some(mistaken) = Mistaken::for_a_handler(&attribute, &item) {
        return Err(mistaken);
    }
    let mut errors = Errors::new();
    syntax::refuse_repeated(&mut item, "event_handler", &mut errors);
    let attribute = HandlerAttribute::parse(attribute, &mut errors);
    let handler = Handler::parse(&attribute, &item, &mut errors);
    check::check(&attribute, &mut errors);
    Ok(match (errors.check(), handler) {
        (Ok(()), Some(handler)) => expand::expand(&handler),
        (checked, _) => {
            let errors = checked.err().map(syn::Error::into_compile_error);
            expand::fallback(&attribute, &item, errors)
        }
    })
}

#[cfg(test)]
mod tests;
