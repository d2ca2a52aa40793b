//! `#[aggregate]`: parse, check, expand.

mod check;
mod event_sourced;
mod events;
mod expand;
mod field;
mod input;
mod model;
mod snapshots_check;
mod snapshots_key;

use proc_macro2::TokenStream;
use quote::quote;
use syn::Item;

use self::input::{Aggregate, AggregateAttribute};
use crate::diagnostics::Errors;
use crate::mistaken::Mistaken;
use crate::syntax;

/// The item with its implementations. Where there are errors they come first, and the
/// implementations that can be made all the same follow.
pub(crate) fn aggregate(
    attribute: TokenStream,
    item: TokenStream,
) -> Result<TokenStream, Mistaken> {
    let mut item = match syn::parse2::<Item>(item.clone()) {
        Ok(item) => item,
        Err(error) => return Ok([error.into_compile_error(), item].into_iter().collect()),
    };
    if model::is_copy_of_a_model(&item) {
        return Ok(expand::copy_of_a_model(item));
    }
    if let Some(mistaken) = Mistaken::for_an_aggregate(&attribute, &item) {
        return Err(mistaken);
    }
    let mut errors = Errors::new();
    syntax::refuse_repeated(&mut item, "aggregate", &mut errors);
    let attribute = AggregateAttribute::parse(attribute, &mut errors);
    let aggregate = Aggregate::parse(&attribute, &item, &mut errors);
    let checked = aggregate
        .as_ref()
        .map(|aggregate| check::check(aggregate, &mut errors));
    let errors = errors.check().err().map(syn::Error::into_compile_error);
    let expanded = match checked {
        Some(checked) => expand::expand(&checked),
        None => quote!(#item),
    };
    Ok(quote!(#errors #expanded))
}

#[cfg(test)]
mod tests;
