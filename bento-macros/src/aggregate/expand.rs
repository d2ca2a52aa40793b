//! The tokens of an aggregate.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Field, Fields, Item, parse_quote};

use super::check::{Checked, Listed};
use super::field::{AggregateField, keeps_events, mark_of_an_event};
use super::input::Head;
use super::{event_sourced, events};
use crate::door::declaration;
use crate::syntax::{derives, docs, has_argument};

pub(super) fn expand(checked: &Checked) -> TokenStream {
    let item = item(checked);
    let methods = methods(checked);
    let event_enum = events::event_enum(checked);
    let parts = [
        aggregate_impl(checked),
        versioned_impl(checked),
        event_sourced::implementation(checked),
        events::enum_impls(checked),
        events::raised_by_impls(checked),
        registration(checked),
    ];
    quote! {
        #item
        #methods
        #event_enum
        #[allow(deprecated)]
        const _: () = { #(#parts)* };
    }
}

/// The copy of a model that SeaORM loads relations into: it hides the pending events as the model
/// does.
pub(super) fn copy_of_a_model(mut item: Item) -> TokenStream {
    if let Item::Struct(copy) = &mut item {
        for field in &mut copy.fields {
            let keeps_events = keeps_events(field);
            strip_marks(&mut field.attrs);
            if keeps_events {
                hide(field, true, derives_serde(&copy.attrs));
            }
        }
    }
    quote!(#item)
}

/// The user's item, whose pending events are neither stored in a column nor serialised.
fn item(checked: &Checked) -> Item {
    let mut item = checked.aggregate.item.clone();
    match &mut item {
        Item::Struct(item) => {
            for field in &mut item.fields {
                strip_marks(&mut field.attrs);
                if checked
                    .pending
                    .is_some_and(|pending| field.ident.as_ref() == Some(pending.ident))
                {
                    hide(
                        field,
                        checked.aggregate.is_model(),
                        derives_serde(&item.attrs),
                    );
                }
            }
        }
        Item::Enum(item) => item
            .variants
            .iter_mut()
            .for_each(|variant| strip_all(&mut variant.fields)),
        Item::Union(item) => item
            .fields
            .named
            .iter_mut()
            .for_each(|field| strip_marks(&mut field.attrs)),
        _ => {}
    }
    item
}

fn strip_all(fields: &mut Fields) {
    fields
        .iter_mut()
        .for_each(|field| strip_marks(&mut field.attrs));
}

fn strip_marks(attrs: &mut Vec<Attribute>) {
    attrs.retain(|attr| !attr.path().is_ident("aggregate") && mark_of_an_event(attr).is_none());
}

fn derives_serde(attrs: &[Attribute]) -> bool {
    derives(attrs, "Serialize") || derives(attrs, "Deserialize")
}

fn hide(field: &mut Field, is_model: bool, has_serde: bool) {
    let says = |path: &str, argument: &str| {
        field
            .attrs
            .iter()
            .any(|attr| attr.path().is_ident(path) && has_argument(attr, argument))
    };
    let (serde_skips, sea_orm_ignores) = (says("serde", "skip"), says("sea_orm", "ignore"));
    if has_serde && !serde_skips {
        field.attrs.push(parse_quote!(#[serde(skip)]));
    }
    if is_model && !sea_orm_ignores {
        field.attrs.push(parse_quote!(#[sea_orm(ignore)]));
    }
}

/// The methods of the aggregate, which need no import of the trait.
fn methods(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let Head {
        ident,
        vis,
        generics,
        ..
    } = checked.aggregate.head;
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let event_enum = &checked.event_enum;
    let raising = raising_methods(checked);
    let from_events = event_sourced::from_events(checked);
    quote! {
        #[allow(dead_code, deprecated)]
        impl #impl_generics #ident #ty_generics #where_clause {
            #from_events
            #raising

            /// The pending events, oldest first.
            #[inline]
            #vis fn pending(&self) -> #private::Vec<#event_enum> {
                #private::Aggregate::pending(self)
            }

            /// Takes the pending events out of the aggregate, oldest first.
            #[inline]
            #vis fn take(&mut self) -> #private::Vec<#event_enum> {
                #private::Aggregate::take(self)
            }

            /// Drops the pending events: they are not published.
            #[inline]
            #vis fn discard(&mut self) {
                #private::Aggregate::discard(self);
            }
        }
    }
}

/// The methods that raise. An aggregate without known events can raise any event: the macro checks
/// nothing then.
fn raising_methods(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let vis = checked.aggregate.head.vis;
    let adjust = quote!(impl #private::FnOnce(#private::Metadata) -> #private::Metadata);
    if checked.raises_anything {
        return quote! {
            #vis fn raise<E>(&mut self, _: E) {}
            #vis fn raise_with<E>(&mut self, _: E, _: #adjust) {}
        };
    }
    quote! {
        /// Raises an event: it goes to the transaction whose scope this is, else it
        /// stays pending here.
        #[track_caller]
        #vis fn raise<E: #private::RaisedBy<Self>>(&mut self, raised_event: E) {
            #private::raise(self, #private::RaisedBy::<Self>::into_any(raised_event));
        }

        /// Raises an event with metadata of its own: an id, a topic, a header.
        #[track_caller]
        #vis fn raise_with<E: #private::RaisedBy<Self>>(
            &mut self,
            raised_event: E,
            adjust_metadata: #adjust,
        ) {
            #private::Aggregate::raise_with(self, raised_event, adjust_metadata);
        }
    }
}

fn aggregate_impl(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let Head {
        ident,
        attrs,
        generics,
        ..
    } = checked.aggregate.head;
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let (event_enum, aggregate_type) = (&checked.event_enum, &checked.aggregate_type);
    let (rust_name, docs) = (ident.to_string(), docs(attrs));
    let declaration = declaration(&private);
    let events = checked.events.iter().map(
        |Listed {
             cfgs,
             path,
             position,
             ..
         }| quote!(#(#cfgs)* #private::descriptor_of::<Self, #path, #position>()),
    );
    let key = key(checked);
    let (version, numbers_events) = (version(checked), checked.version.is_some());
    let is_event_sourced = checked.is_event_sourced();
    let storage = event_sourced::storage(checked);
    let pending = pending(checked);
    quote! {
        #[automatically_derived]
        impl #impl_generics #private::Aggregate for #ident #ty_generics #where_clause {
            type Event = #event_enum;
            const DESCRIPTOR: &'static #private::AggregateDescriptor =
                &#private::AggregateDescriptor {
                aggregate_type: #aggregate_type,
                rust_name: #rust_name,
                declared: #declaration,
                docs: #docs,
                events: &[#(#events),*],
                numbers_events: #numbers_events,
                is_event_sourced: #is_event_sourced,
            };
            #version
            #storage
            #[inline]
            fn aggregate_key(&self) -> #private::AggregateKey {
                #key
            }
            #pending
        }

        #[automatically_derived]
        impl #impl_generics #private::InitialState for #ident #ty_generics #where_clause {
            type Aggregate = Self;
            fn into_aggregate(self) -> Self {
                self
            }
        }
    }
}

/// The pending events. A type that keeps none is reported at the field.
fn pending(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let (get, get_mut) = match checked.pending {
        Some(AggregateField { ident, ty, .. }) => (
            quote!(<#ty as #private::PendingField>::pending_events(&self.#ident)),
            quote!(<#ty as #private::PendingField>::pending_events_mut(&mut self.#ident)),
        ),
        None => (
            quote!(#private::unreachable!()),
            quote!(#private::unreachable!()),
        ),
    };
    quote! {
        #[inline]
        fn pending_events(&self) -> &#private::PendingEvents {
            #get
        }
        #[inline]
        fn pending_events_mut(&mut self) -> &mut #private::PendingEvents {
            #get_mut
        }
    }
}

/// The parts of the id; a type that cannot be one is reported at the field.
fn key(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    if !checked.has_a_type() {
        return quote!(#private::unreachable!());
    }
    checked
        .id_fields()
        .fold(quote!(#private::AggregateKey::new()), |key, field| {
            let mut id = field.ident.clone();
            id.set_span(id.span().located_at(field.ty.span()));
            let part = quote_spanned!(field.ty.span()=> &self.#id);
            if checked.aggregate.is_generated(field.ident) {
                quote!(#key.push_generated(#part))
            } else {
                quote!(#key.push(#part))
            }
        })
}

/// The version. A type that cannot be one is reported at the field.
fn version(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let Some(AggregateField { ident, ty, .. }) = checked.version else {
        return TokenStream::new();
    };
    quote! {
        const IS_VERSIONED: #private::bool = true;
        #[inline]
        fn version(&self) -> #private::Option<#private::i64> {
            #private::Some(<#ty as #private::VersionNumber>::to_version(self.#ident))
        }
        #[inline]
        fn set_version(&mut self, __bento_version: #private::i64) -> #private::bool {
            <#ty as #private::VersionNumber>::set_version(&mut self.#ident, __bento_version)
        }
    }
}

fn versioned_impl(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let ident = checked.aggregate.head.ident;
    if checked.version.is_none() {
        return TokenStream::new();
    }
    let (impl_generics, ty_generics, where_clause) =
        checked.aggregate.head.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics #private::Versioned for #ident #ty_generics #where_clause {}
    }
}

/// The entry in the registry, and a symbol that a program can have once. A faulty aggregate has
/// neither.
///
/// There is no symbol in a crate's own unit tests, which may link the crate's normal build too.
fn registration(checked: &Checked) -> TokenStream {
    if checked.is_faulty {
        return TokenStream::new();
    }
    let private = checked.aggregate.attribute.private();
    let ident = checked.aggregate.head.ident;
    let symbol = format!(
        "bento__aggregate__{}__is_declared_twice",
        checked.aggregate_type
    );
    quote! {
        #private::inventory::submit! {
            #private::AggregateRegistration(<#ident as #private::Aggregate>::DESCRIPTOR)
        }
        #[cfg(not(test))]
        #[unsafe(export_name = #symbol)]
        static __BENTO_IS_DECLARED_TWICE: #private::u8 = 0;
    }
}
