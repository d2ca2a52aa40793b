//! Field history as the steps an old payload goes through.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Ident, Lit};

use super::super::check::covered_steps;
use super::super::field::{Added, EventField};
use super::super::input::Event;
use crate::fragment::parenthesised;
use crate::serde_attrs;
use crate::syntax::{respan, ungrouped};

/// One step for each version that changed a field, oldest first.
pub(super) fn steps(event: &Event) -> Vec<TokenStream> {
    let versions: BTreeSet<u32> = covered_steps(event);
    versions.into_iter().map(|to| step(event, to)).collect()
}

fn step(event: &Event, to: u32) -> TokenStream {
    let private = event.attribute.private();
    let removed = event
        .attribute
        .removed
        .iter()
        .filter(|removed| removed.since.number == to)
        .map(|removed| &removed.name);
    let renamed = event.fields.iter().flat_map(|field| {
        let here = field
            .renamed
            .iter()
            .filter(|renamed| renamed.since.number == to);
        here.map(|renamed| {
            let (from, name) = (&renamed.from, field.name_at(to));
            quote!((#from, #name))
        })
    });
    let added = event.fields.iter().filter_map(|field| {
        let added = field
            .added
            .as_ref()
            .filter(|added| added.since.number == to)?;
        addition(event, field, added)
    });
    quote! {
        #private::Step {
            to: #to,
            removed: &[#(#removed),*],
            renamed: &[#(#renamed),*],
            added: &[#(#added),*],
        }
    }
}

/// The value of a field in earlier payloads; `None` where serde fills it in.
fn addition(event: &Event, field: &EventField, added: &Added) -> Option<TokenStream> {
    let private = event.attribute.private();
    let name = field.name_at(added.since.number);
    let value = default_value(&private, field, added.default.as_ref()?);
    let (holder, to_json, read) =
        if field.serde.written_with.is_some() || field.serde.read_with.is_some() {
            in_its_own_form(event, field, &value)
        } else {
            let ty = field.ty;
            let to_json = quote! {
                let __bento_default: #ty = #value;
                #private::raw_default(&__bento_default)
            };
            (TokenStream::new(), to_json, quote!(#private::reads::<#ty>))
        };
    Some(quote! {
        {
            #holder
            #private::Addition {
                name: #name,
                default: || -> #private::Result<
                    #private::Box<#private::RawValue>,
                    #private::JsonError,
                > { #to_json },
                reads: #read,
            }
        }
    })
}

/// The default as an expression of the field's type: a text is taken as anything that is made from
/// one.
fn default_value(private: &TokenStream, field: &EventField, default: &Expr) -> TokenStream {
    match ungrouped(default) {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => {
            let ty = field.ty;
            respan(
                quote!(<#ty as #private::FromText>::from_text(#text)),
                default.span(),
            )
        }
        _ => parenthesised(quote!(#default)),
    }
}

/// The default as `with` writes and reads it, by way of a struct that has the field alone: that
/// struct, the default and what reads it.
fn in_its_own_form(
    event: &Event,
    field: &EventField,
    value: &TokenStream,
) -> (TokenStream, TokenStream, TokenStream) {
    let private = event.attribute.private();
    let serde_crate = event.attribute.serde_crate(&event.item.ident);
    let attrs = serde_attrs::serde(&field.original.attrs);
    let (ident, ty) = (field.ident, field.ty);
    let holder = Ident::new("__BentoHolder", ident.span());
    let definition = quote! {
        #[derive(#private::serde::Serialize, #private::serde::Deserialize)]
        #serde_crate
        #[allow(dead_code)]
        struct #holder {
            #(#attrs)*
            #ident: #ty,
        }
    };
    let to_json = quote!(#private::raw_default_within(&#holder { #ident: #value }));
    let name = field.name_in_holder();
    let read = quote!(|__bento_default| #private::reads_within::<#holder>(#name, __bento_default));
    (definition, to_json, read)
}
