//! Where an item is declared, for the registry.

use proc_macro2::TokenStream;
use quote::quote;

/// The place, as the compiler tells it.
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
