//! The tokens of a projection.
//!
//! The macro does not see the method `project`. Everything that the compiler has to prove about it
//! has the place of the struct's name, and the same tokens wherever it is mentioned, so that a
//! mistake is reported once.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Item, ItemStruct};

use super::input::{Projection, ProjectionAttribute};
use crate::door::declaration;
use crate::syntax::{docs, respan};

pub(super) fn expand(projection: &Projection) -> TokenStream {
    let Projection { attribute, item } = projection;
    let private = attribute.private();
    let ItemStruct { ident, fields, .. } = item;
    let header = header(&private, ident);
    let descriptor = descriptor(projection);
    let declared_twice = declared_twice(attribute);
    let unit = if fields.is_empty() {
        quote!(#private::Some(|| #private::Arc::new(#ident {})))
    } else {
        quote!(#private::None)
    };
    quote! {
        #item
        #[allow(deprecated)]
        const _: () = {
            static __BENTO_PROJECTION: #private::ProjectionDescriptor = {
                #[allow(unused_imports)]
                use #private::MissingProject as _;
                #descriptor
            };
            #[automatically_derived]
            #header {
                const DESCRIPTOR: &'static #private::ProjectionDescriptor = &__BENTO_PROJECTION;
            }
            #private::inventory::submit! {
                #private::ProjectionRegistration {
                    descriptor: &__BENTO_PROJECTION,
                    unit: #unit,
                }
            }
            #declared_twice
        };
    }
}

/// The errors, the struct, and an implementation that the rest of the program may name.
pub(super) fn fallback(
    attribute: &ProjectionAttribute,
    item: &Item,
    errors: Option<TokenStream>,
) -> TokenStream {
    let (ident, generics) = match item {
        Item::Struct(item) => (&item.ident, &item.generics),
        Item::Enum(item) => (&item.ident, &item.generics),
        Item::Union(item) => (&item.ident, &item.generics),
        _ => return quote!(#errors #item),
    };
    if !generics.params.is_empty() {
        return quote!(#errors #item);
    }
    let private = attribute.private();
    let header = header(&private, ident);
    quote! {
        #errors
        #item
        #[allow(deprecated)]
        #header {
            const DESCRIPTOR: &'static #private::ProjectionDescriptor =
                #private::MISTAKEN_PROJECTION;
        }
    }
}

fn at_the_name(ident: &Ident) -> Span {
    Span::call_site().located_at(ident.span())
}

/// The head of the implementation. A struct that cannot be sent is reported at its name.
fn header(private: &TokenStream, ident: &Ident) -> TokenStream {
    let implements = respan(quote!(impl #private::Projection for), at_the_name(ident));
    quote!(#implements #ident)
}

fn descriptor(projection: &Projection) -> TokenStream {
    let Projection { attribute, item } = projection;
    let private = attribute.private();
    let name = attribute.name.as_ref().map(|name| name.value.value());
    let version = attribute
        .version
        .as_ref()
        .map(|version| version.value.number);
    let ident = &item.ident;
    let span = at_the_name(ident);
    let project = respan(
        quote!(#private::project::<#ident, _, _>(#ident::project)),
        span,
    );
    let has_patterns = attribute.events.is_some();
    let events = respan(quote!(#project.events(#has_patterns)), span);
    let patterns = attribute.events.as_ref().map(|events| {
        let (texts, key) = (&events.value.0, events.key.span());
        let patterns = respan(quote!(#private::Project::patterns), key);
        quote_spanned!(key=> #patterns(#project, &[#(#texts),*]))
    });
    let patterns = patterns.unwrap_or_else(|| quote!(&[]));
    let views = attribute.views.iter().flat_map(|views| &views.value.0);
    let (declared, docs) = (declaration(&private), docs(&item.attrs));
    let this = Ident::new("__bento_projection", Span::mixed_site());
    let call = Ident::new("__bento_call", Span::mixed_site());
    quote! {
        #private::ProjectionDescriptor {
            name: #name,
            version: #version,
            events: #events,
            patterns: #patterns,
            views: &[#(#views),*],
            declared: #declared,
            docs: #docs,
            run: |#this, #call| #project.run(#this, #call),
        }
    }
}

/// A symbol that a program can have once, as that of a handler.
fn declared_twice(attribute: &ProjectionAttribute) -> Option<TokenStream> {
    let private = attribute.private();
    let name = attribute.name.as_ref()?.value.value().replace('.', "__");
    let version = attribute.version.as_ref()?.value.number;
    let symbol = format!("bento__projection__{name}__v{version}__is_declared_twice");
    Some(quote! {
        #[cfg(not(test))]
        #[unsafe(export_name = #symbol)]
        static __BENTO_IS_DECLARED_TWICE: #private::u8 = 0;
    })
}
