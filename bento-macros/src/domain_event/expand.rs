//! The tokens of an event.

mod history;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::spanned::Spanned;
use syn::{Attribute, Item, ItemStruct};

use super::check::{covered_steps, missing_step};
use super::input::{Event, EventAttribute, EventField};
use super::serde_names;
use crate::door::declaration;
use crate::syntax::{as_written, derives, docs, respan};

pub(super) fn expand(event: &Event) -> TokenStream {
    let item = item(event.attribute, event.item.clone());
    let parts =
        [domain_event_impl(event), marker_impls(event), typed_step(event), registration(event), declared_twice(event)];
    quote! {
        #item
        #[allow(deprecated)]
        const _: () = { #(#parts)* };
    }
}

/// The item, and implementations that let the rest of the program compile as if there were no error.
pub(super) fn fallback(attribute: &EventAttribute, item: Item) -> TokenStream {
    let private = attribute.private();
    let (ident, item) = match item {
        Item::Struct(item) if item.generics.params.is_empty() => (item.ident.clone(), self::item(attribute, item)),
        Item::Enum(item) if item.generics.params.is_empty() => {
            let derives = serde_derives(attribute, &item.attrs);
            (item.ident.clone(), quote!(#derives #item))
        }
        Item::Struct(mut item) => {
            strip_event_attributes(&mut item);
            return quote!(#item);
        }
        other => return quote!(#other),
    };
    let schema = attribute.schema.as_ref().map_or_else(String::new, |schema| schema.value.value());
    let version = attribute.version();
    let markers = if attribute.superseded.is_some() {
        quote!(impl #private::Superseded for #ident {})
    } else {
        quote!(impl #private::Raisable for #ident {})
    };
    quote! {
        #item
        #[allow(deprecated)]
        const _: () = {
            impl #private::DomainEvent for #ident {
                const DESCRIPTOR: &'static #private::EventDescriptor =
                    &#private::EventDescriptor { schema: #schema, version: #version, ..#private::FAULTY_EVENT };
                fn decode_older(
                    _: #private::u32,
                    _: &[#private::u8],
                ) -> #private::Result<Self, #private::UpcastFault> {
                    #private::unreachable!()
                }
            }
            #markers
        };
    }
}

/// The user's struct, able to be stored.
fn item(attribute: &EventAttribute, mut item: ItemStruct) -> TokenStream {
    strip_event_attributes(&mut item);
    let derives = serde_derives(attribute, &item.attrs);
    quote!(#derives #item)
}

fn strip_event_attributes(item: &mut ItemStruct) {
    for field in &mut item.fields {
        field.attrs.retain(|attr| !attr.path().is_ident("event"));
    }
}

/// The serde derives that the item does not have, by way of our own serde: the user's crate may not depend on it.
fn serde_derives(attribute: &EventAttribute, attrs: &[Attribute]) -> TokenStream {
    let private = attribute.private();
    let missing: Vec<_> = ["Serialize", "Deserialize"]
        .into_iter()
        .filter(|name| !derives(attrs, name))
        .map(|name| syn::Ident::new(name, Span::call_site()))
        .collect();
    if missing.is_empty() {
        return TokenStream::new();
    }
    let names_crate = serde_names::serde(attrs).any(|attr| crate::syntax::has_argument(attr, "crate"));
    let serde_crate = (!names_crate).then(|| serde_crate(attribute));
    quote! {
        #[derive(#(#private::serde::#missing),*)]
        #serde_crate
    }
}

fn serde_crate(attribute: &EventAttribute) -> TokenStream {
    let private = attribute.private();
    let path = as_written(quote!(#private::serde));
    quote!(#[serde(crate = #path)])
}

fn domain_event_impl(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let ident = &event.item.ident;
    let descriptor = descriptor(event);
    let steps = history::steps(event);
    let decode =
        if event.attribute.upcast_from.is_some() { quote!(decode_by_typed_step) } else { quote!(decode_by_history) };
    quote! {
        #[automatically_derived]
        impl #private::DomainEvent for #ident {
            const DESCRIPTOR: &'static #private::EventDescriptor = &#descriptor;
            fn decode_older(
                version: #private::u32,
                payload: &[#private::u8],
            ) -> #private::Result<Self, #private::UpcastFault> {
                const __BENTO_HISTORY: &[#private::Step] = &[#(#steps),*];
                #private::#decode::<Self>(__BENTO_HISTORY, version, payload)
            }
        }
    }
}

fn descriptor(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let attribute = event.attribute;
    let ident = &event.item.ident;
    let rust_name = ident.to_string();
    let schema = attribute.schema.as_ref().map(|schema| schema.value.value());
    let version = attribute.version();
    let oldest = oldest(event);
    let role = role(attribute);
    let declaration = declaration(&private);
    let docs = docs(&event.item.attrs);
    let fields = event.fields.iter().map(|field| field_descriptor(&private, field));
    let removed = attribute.removed.iter().map(|removed| {
        let (name, since) = (&removed.name, removed.since.number);
        quote!(#private::RemovedField { name: #name, since: #since })
    });
    let upcast_from =
        option(&private, attribute.upcast_from.as_ref().map(|_| quote!(#private::older_descriptor::<#ident>())));
    let fingerprint = fingerprint(event);
    let topic = option(&private, attribute.topic.as_ref().map(|topic| &topic.value));
    let routing_key = option(&private, attribute.routing_key.as_ref().map(|routing_key| &routing_key.value));
    let allow = attribute.allow.iter().map(ToString::to_string);
    quote! {
        #private::EventDescriptor {
            schema: #schema,
            version: #version,
            oldest: #oldest,
            role: #private::EventRole::#role,
            rust_name: #rust_name,
            declared: #declaration,
            docs: #docs,
            fields: &[#(#fields),*],
            removed: &[#(#removed),*],
            upcast_from: #upcast_from,
            fingerprint: #fingerprint,
            topic: #topic,
            routing_key: #routing_key,
            allow: &[#(#allow),*],
        }
    }
}

/// `oldest` as written, else that of the version upcast from, else 1.
fn oldest(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let ident = &event.item.ident;
    if event.attribute.oldest.is_none() && event.attribute.upcast_from.is_some() {
        return quote!(#private::oldest_through_typed_step::<#ident>());
    }
    let oldest = event.attribute.oldest();
    quote!(#oldest)
}

fn role(attribute: &EventAttribute) -> TokenStream {
    if attribute.consumes.is_some() {
        quote!(Consumes)
    } else if attribute.superseded.is_some() {
        quote!(Superseded)
    } else {
        quote!(Current)
    }
}

fn field_descriptor(private: &TokenStream, field: &EventField) -> TokenStream {
    let name = &field.name;
    let rust_type = as_written(field.ty);
    let docs = docs(&field.original.attrs);
    let added = field.added.iter().map(|added| {
        let since = added.since.number;
        quote!(#private::FieldChange::Added { since: #since })
    });
    let renamed = field.renamed.iter().map(|renamed| {
        let (since, from) = (renamed.since.number, &renamed.from);
        quote!(#private::FieldChange::Renamed { since: #since, from: #from })
    });
    let history = added.chain(renamed);
    quote! {
        #private::FieldDescriptor { name: #name, rust_type: #rust_type, docs: #docs, history: &[#(#history),*] }
    }
}

fn option(private: &TokenStream, value: Option<impl quote::ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(#private::Some(#value)),
        None => quote!(#private::None),
    }
}

/// FNV-1a over the tokens of the declaration: stable from build to build, which the standard hasher does not promise.
fn fingerprint(event: &Event) -> u64 {
    let item = event.item;
    let text = event.attribute.tokens.to_string() + &quote!(#item).to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What may be done with the event besides reading it.
fn marker_impls(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let ident = &event.item.ident;
    if event.attribute.superseded.is_some() {
        quote!(#[automatically_derived] impl #private::Superseded for #ident {})
    } else if event.attribute.consumes.is_some() {
        TokenStream::new()
    } else {
        quote!(#[automatically_derived] impl #private::Raisable for #ident {})
    }
}

/// The typed step, and the proof that it and the field history leave no gap.
fn typed_step(event: &Event) -> TokenStream {
    let Some(older) = &event.attribute.upcast_from else { return TokenStream::new() };
    let private = event.attribute.private();
    let ident = &event.item.ident;
    let older = &older.value;
    let covered = covered_steps(event);
    let gaps =
        (event.attribute.oldest() + 1..=event.attribute.version()).filter(|to| !covered.contains(to)).map(|to| {
            let message = missing_step(to);
            quote!(#private::assert!(#private::typed_step_from::<#ident>() + 1 >= #to, #message);)
        });
    let proof = respan(quote!(#private::check_typed_step::<#ident>(); #(#gaps)*), older.span());
    quote! {
        #[automatically_derived]
        impl #private::TypedStep for #ident {
            type Older = #older;
        }
        const _: () = { #proof };
    }
}

fn registration(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let ident = &event.item.ident;
    quote!(#private::inventory::submit! { #private::EventRegistration::of::<#ident>() })
}

/// A symbol that can be in a program once. Not in a crate's own unit tests, which may link the crate's normal build
/// too.
///
/// Identifier characters only: quotes and colons break the version script of cdylib and dylib links.
fn declared_twice(event: &Event) -> TokenStream {
    let Some(schema) = event.attribute.schema.as_ref().filter(|_| event.attribute.consumes.is_none()) else {
        return TokenStream::new();
    };
    let schema = schema.value.value().replace('.', "__");
    let symbol = format!("bento__event__{schema}__v{}__is_declared_twice", event.attribute.version());
    let private = event.attribute.private();
    quote! {
        #[cfg(not(test))]
        #[unsafe(export_name = #symbol)]
        static __BENTO_IS_DECLARED_TWICE: #private::u8 = 0;
    }
}
