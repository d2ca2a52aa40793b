//! The code for an event with a mistake: the item, and implementations that let the rest of the
//! program compile as if there were none.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Item, Path, Token, parse_quote};

use super::expand::{strip_field_attributes, with_serde};
use super::input::{Declares, EventAttribute};
use crate::syntax::{arguments, last_ident, mentions};

/// The item and its implementations. With `refused_by_serde` the derives stay, so that serde
/// reports its error; they implement nothing then.
pub(super) fn fallback(
    attribute: &EventAttribute,
    item: &Item,
    refused_by_serde: bool,
) -> TokenStream {
    let (mut item, ident, attrs) = match item {
        Item::Struct(item) if item.generics.params.is_empty() => {
            let mut item = item.clone();
            strip_field_attributes(&mut item);
            let (ident, attrs) = (item.ident.clone(), item.attrs.clone());
            (Item::Struct(item), ident, attrs)
        }
        Item::Enum(item) if item.generics.params.is_empty() => (
            Item::Enum(item.clone()),
            item.ident.clone(),
            item.attrs.clone(),
        ),
        Item::Struct(item) => {
            let mut item = item.clone();
            strip_field_attributes(&mut item);
            return quote!(#item);
        }
        other => return quote!(#other),
    };
    let item = if refused_by_serde {
        with_serde(attribute, &ident, &attrs, &item)
    } else {
        strip_serde(&mut item);
        quote!(#[allow(dead_code)] #item)
    };
    let serde = serde_stubs(attribute, &ident);
    let event = event_stub(attribute, &ident);
    quote! {
        #item
        #[allow(deprecated)]
        const _: () = { #serde #event };
    }
}

fn event_stub(attribute: &EventAttribute, ident: &Ident) -> TokenStream {
    let private = attribute.private();
    let schema = attribute
        .schema
        .as_ref()
        .map_or_else(String::new, |schema| schema.value.value());
    let version = attribute.version();
    let is_integration = attribute.declares == Declares::Integration;
    let marker = if attribute.superseded.is_some() || is_integration {
        quote!(Superseded)
    } else {
        quote!(Raisable)
    };
    quote! {
        impl #private::DomainEvent for #ident {
            const DESCRIPTOR: &'static #private::EventDescriptor =
                &#private::EventDescriptor {
                    schema: #schema,
                    version: #version,
                    ..#private::EVENT
                };
            fn decode_older(
                _: #private::u32,
                _: &[#private::u8],
            ) -> #private::Result<Self, #private::UpcastFault> {
                #private::unreachable!()
            }
        }
        impl #private::#marker for #ident where for<'__bento> #ident: #private::DomainEvent {}
    }
}

fn serde_stubs(attribute: &EventAttribute, ident: &Ident) -> TokenStream {
    let private = attribute.private();
    quote! {
        impl #private::serde::Serialize for #ident {
            fn serialize<S: #private::serde::Serializer>(
                &self,
                _: S,
            ) -> #private::Result<S::Ok, S::Error> {
                #private::unreachable!()
            }
        }
        impl<'de> #private::serde::Deserialize<'de> for #ident {
            fn deserialize<D: #private::serde::Deserializer<'de>>(
                _: D,
            ) -> #private::Result<Self, D::Error> {
                #private::unreachable!()
            }
        }
    }
}

/// Removes serde's derives and attributes.
fn strip_serde(item: &mut Item) {
    match item {
        Item::Struct(item) => {
            strip(&mut item.attrs);
            item.fields
                .iter_mut()
                .for_each(|field| strip(&mut field.attrs));
        }
        Item::Enum(item) => {
            strip(&mut item.attrs);
            for variant in &mut item.variants {
                strip(&mut variant.attrs);
                variant
                    .fields
                    .iter_mut()
                    .for_each(|field| strip(&mut field.attrs));
            }
        }
        _ => {}
    }
}

fn strip(attrs: &mut Vec<Attribute>) {
    let is_conditional = |attr: &Attribute| {
        attr.path().is_ident("cfg_attr") && mentions(arguments(attr), &["serde"])
    };
    attrs.retain(|attr| !attr.path().is_ident("serde") && !is_conditional(attr));
    for attr in attrs
        .iter_mut()
        .filter(|attr| attr.path().is_ident("derive"))
    {
        let Ok(paths) = attr.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated)
        else {
            continue;
        };
        let is_serde =
            |path: &Path| last_ident(path, "Serialize") || last_ident(path, "Deserialize");
        if paths.iter().any(is_serde) {
            let kept = paths.iter().filter(|path| !is_serde(path));
            *attr = parse_quote!(#[derive(#(#kept),*)]);
        }
    }
}
