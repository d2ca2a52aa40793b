//! Macros of Bento.

use proc_macro::TokenStream;

mod aggregate;
mod case;
mod declaration;
mod diagnostics;
mod domain_event;
mod keyed;
mod syntax;

/// Declares a domain event.
#[proc_macro_attribute]
pub fn domain_event(attribute: TokenStream, item: TokenStream) -> TokenStream {
    domain_event::domain_event(attribute.into(), item.into()).into()
}

/// Declares an aggregate.
#[proc_macro_attribute]
pub fn aggregate(attribute: TokenStream, item: TokenStream) -> TokenStream {
    aggregate::aggregate(attribute.into(), item.into()).into()
}
