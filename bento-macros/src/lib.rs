//! Macros of Bento.

use proc_macro::TokenStream;

/// x
#[proc_macro_attribute]
pub fn domain_event(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// x
#[proc_macro_attribute]
pub fn aggregate(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
