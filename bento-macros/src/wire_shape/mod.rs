//! `#[derive(WireShape)]`: parse, check, expand.

mod attrs;
mod bounds;
mod check;
mod expand;
mod input;

use proc_macro2::TokenStream;
use syn::DeriveInput;

use self::input::{Input, Krate};
use crate::diagnostics::Errors;

/// The implementation. Where there are errors they come first, and the implementation never runs.
pub(crate) fn wire_shape(input: TokenStream) -> TokenStream {
    let item = match syn::parse2::<DeriveInput>(input) {
        Ok(item) => item,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::new();
    let Krate { private, word } = Krate::parse(&item, &mut errors);
    let input = Input::parse(&item, word, &mut errors);
    check::check(&input, &mut errors);
    let errors = errors.check().err().map(syn::Error::into_compile_error);
    expand::expand(&input, &private, errors)
}

#[cfg(test)]
mod tests;
