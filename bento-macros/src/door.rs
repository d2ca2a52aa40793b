//! The private module of Bento, and what every expansion takes from it.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Path;

use crate::diagnostics::Errors;
use crate::keyed::Keyed;
use crate::manifest::{self, Dependency, Doors};

/// The path to the module that the expansion of an event or of an aggregate may name: through
/// `crate = …` if it is given, else through the name that the user's package gives the crate.
pub(crate) fn private(krate: Option<&Keyed<Path>>, errors: &mut Errors) -> TokenStream {
    let way_out = "name the crate that exports it with `crate = path::to::bento`";
    through(krate, &manifest::EVENTS, way_out, errors)
}

/// The path to the module that the expansion of a handler may name.
pub(crate) fn handlers_private(krate: Option<&Keyed<Path>>, errors: &mut Errors) -> TokenStream {
    let way_out = "name the module that exports it with `crate = path::to::bento_handlers`";
    through(krate, &manifest::HANDLERS, way_out, errors)
}

fn through(
    krate: Option<&Keyed<Path>>,
    doors: &'static Doors,
    way_out: &str,
    errors: &mut Errors,
) -> TokenStream {
    if let Some(Keyed { value: krate, .. }) = krate {
        return quote!(#krate::__private);
    }
    let named = |path: &str| {
        let path: TokenStream = path.parse().expect("a manifest names crates as Rust does");
        quote!(::#path::__private)
    };
    let [first, second] = doors.each_ref();
    match manifest::dependency(doors) {
        Dependency::Named(path) => named(&path),
        Dependency::Absent => {
            errors.at(
                Span::call_site(),
                format_args!(
                    "this package depends on neither `{}` nor `{}`: add one of them to \
                     `Cargo.toml`, or {way_out}",
                    second.package, first.package
                ),
            );
            named(first.path)
        }
        Dependency::Unknown => named(first.path),
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
