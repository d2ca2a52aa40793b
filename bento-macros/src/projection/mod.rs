//! `#[projection]`: parse, check, expand.

mod check;
mod expand;
mod input;

use proc_macro2::TokenStream;
use syn::Item;

use self::input::{Projection, ProjectionAttribute};
use crate::diagnostics::Errors;
use crate::mistaken::Mistaken;
use crate::syntax;

/// The struct with its descriptor. Where there are errors: the errors, the struct, and an
/// implementation of the trait for the rest of the program.
pub(crate) fn projection(
    attribute: TokenStream,
    item: TokenStream,
) -> Result<TokenStream, Mistaken> {
    let mut item = match syn::parse2::<Item>(item.clone()) {
        Ok(item) => item,
        Err(error) => return Ok([error.into_compile_error(), item].into_iter().collect()),
    };
    if let Some(mistaken) = Mistaken::for_a_projection(&attribute, &item) {
        return Err(mistaken);
    }
    let mut errors = Errors::new();
    syntax::refuse_repeated(&mut item, "projection", &mut errors);
    let attribute = ProjectionAttribute::parse(attribute, &mut errors);
    let projection = Projection::parse(&attribute, &item, &mut errors);
    check::check(&attribute, &mut errors);
    Ok(match (errors.check(), projection) {
        (Ok(()), Some(projection)) => expand::expand(&projection),
        (checked, _) => {
            let errors = checked.err().map(syn::Error::into_compile_error);
            expand::fallback(&attribute, &item, errors)
        }
    })
}

#[cfg(test)]
mod tests;
