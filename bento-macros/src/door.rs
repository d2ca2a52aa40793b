//! The private module of Bento, and what every expansion takes from it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::Path;

use crate::diagnostics::Errors;
use crate::keyed::Keyed;
use crate::manifest::{self, Dependency};

/// The path to the module an expansion may name: through `crate = …` if it is given, else through
/// the name that the user's package gives the crate.
pub(crate) fn private(krate: Option<&Keyed<Path>>, errors: &mut Errors) -> TokenStream {
    if let Some(Keyed { value: krate, .. }) = krate {
        return quote!(#krate::__private);
    }
    match manifest::dependency() {
        Dependency::Named(name) => {
            let name = Ident::new(&name, Span::call_site());
            quote!(::#name::__private)
        }
        Dependency::Absent => {
            errors.at(
                Span::call_site(),
                "this package depends on neither `bento-events` nor `bento-core`: add one of them \
                 to `Cargo.toml`, or name the crate that exports it with `crate = path::to::bento`",
            );
            quote!(::bento_core::__private)
        }
        Dependency::Unknown => quote!(::bento_core::__private),
    }
}

/// The place of the declaration: as the compiler tells it, and as cargo tells of the package, which
/// other build systems may not.
pub(crate) fn declaration(private: &TokenStream) -> TokenStream {
    let cargo_says = |name| std::env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    let (package, package_version) = (
        cargo_says("CARGO_PKG_NAME"),
        cargo_says("CARGO_PKG_VERSION"),
    );
    quote! {
        #private::Declaration {
            module_path: #private::module_path!(),
            package: #package,
            package_version: #package_version,
            file: #private::file!(),
            line: #private::line!(),
        }
    }
}
