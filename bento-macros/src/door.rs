//! The private door of `bento_core`, and what every expansion takes from it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Path;

use crate::keyed::Keyed;

/// The path to the module an expansion may name, through `crate = …` if it is given.
pub(crate) fn private(krate: Option<&Keyed<Path>>) -> TokenStream {
    match krate {
        Some(Keyed { value: krate, .. }) => quote!(#krate::__private),
        None => quote!(::bento_core::__private),
    }
}

/// Where the item is declared, as the compiler tells it.
pub(crate) fn declaration(private: &TokenStream) -> TokenStream {
    quote! {
        #private::Declaration {
            module_path: #private::module_path!(),
            package: #private::or_unknown(#private::option_env!("CARGO_PKG_NAME")),
            package_version: #private::or_unknown(#private::option_env!("CARGO_PKG_VERSION")),
            file: #private::file!(),
            line: #private::line!(),
        }
    }
}
