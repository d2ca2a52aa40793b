//! The tokens of an aggregate.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemStruct, parse_quote};

use super::check::{Checked, Listed};
use super::input::AggregateField;
use crate::door::declaration;
use crate::syntax::{derives, docs, has_argument};

pub(super) fn expand(checked: &Checked) -> TokenStream {
    let item = item(checked);
    let methods = methods(checked);
    let event_enum = event_enum(checked);
    let parts = [
        aggregate_impl(checked),
        versioned_impl(checked),
        events_impl(checked),
        raised_by_impls(checked),
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

/// The user's struct; the pending events are neither stored in a column nor serialised.
fn item(checked: &Checked) -> ItemStruct {
    let mut item = checked.aggregate.item.clone();
    let has_serde = derives(&item.attrs, "Serialize") || derives(&item.attrs, "Deserialize");
    let is_model = checked.aggregate.is_model();
    for field in &mut item.fields {
        field.attrs.retain(|attr| !attr.path().is_ident("aggregate"));
        if field.ident.as_ref() != checked.pending {
            continue;
        }
        let says = |path: &str, argument: &str| {
            field.attrs.iter().any(|attr| attr.path().is_ident(path) && has_argument(attr, argument))
        };
        let (serde_skips, sea_orm_ignores) = (says("serde", "skip"), says("sea_orm", "ignore"));
        if has_serde && !serde_skips {
            field.attrs.push(parse_quote!(#[serde(skip)]));
        }
        if is_model && !sea_orm_ignores {
            field.attrs.push(parse_quote!(#[sea_orm(ignore)]));
        }
    }
    item
}

/// The verbs, without an import of the trait.
fn methods(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let ItemStruct { ident, vis, .. } = checked.aggregate.item;
    let event_enum = &checked.event_enum;
    quote! {
        #[allow(dead_code, deprecated)]
        impl #ident {
            /// Says that `event` happened: it goes to the transaction whose scope this is, else it stays pending here.
            #[track_caller]
            #vis fn raise<E: #private::RaisedBy<Self>>(&mut self, event: E) {
                #private::Aggregate::raise(self, event);
            }

            /// Says that `event` happened, with metadata of its own: an id, a topic, a header.
            #[track_caller]
            #vis fn raise_with<E: #private::RaisedBy<Self>>(
                &mut self,
                event: E,
                adjust: impl #private::FnOnce(&mut #private::Metadata),
            ) {
                #private::Aggregate::raise_with(self, event, adjust);
            }

            /// The pending events, oldest first.
            #vis fn pending(&self) -> #private::Vec<#event_enum> {
                #private::Aggregate::pending(self)
            }

            /// The pending events, oldest first, which are then no longer pending.
            #vis fn take(&mut self) -> #private::Vec<#event_enum> {
                #private::Aggregate::take(self)
            }

            /// Drops the pending events: they did not happen after all.
            #vis fn discard(&mut self) {
                #private::Aggregate::discard(self);
            }
        }
    }
}

fn event_enum(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let ItemStruct { ident, vis, .. } = checked.aggregate.item;
    let event_enum = &checked.event_enum;
    let docs = format!("The events that [`{ident}`] raises.");
    let variants = checked.events.iter().map(|Listed { path, variant }| {
        let docs = format!("[`{variant}`] happened.");
        quote!(#[doc = #docs] #variant(#private::Arc<#path>))
    });
    quote! {
        #[doc = #docs]
        #[allow(deprecated, dead_code)]
        #[derive(#private::Clone)]
        #vis enum #event_enum { #(#variants),* }
    }
}

fn aggregate_impl(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let item = checked.aggregate.item;
    let (ident, event_enum) = (&item.ident, &checked.event_enum);
    let (aggregate_type, rust_name, docs) = (&checked.aggregate_type, ident.to_string(), docs(&item.attrs));
    let declaration = declaration(&private);
    let events = checked.events.iter().map(|Listed { path, .. }| quote!(#private::descriptor_of::<#ident, #path>()));
    let key = key(checked);
    let version = version(checked);
    let (pending, pending_mut) = match checked.pending {
        Some(pending) => (quote!(&self.#pending), quote!(&mut self.#pending)),
        None => (quote!(#private::unreachable!()), quote!(#private::unreachable!())),
    };
    quote! {
        #[automatically_derived]
        impl #private::Aggregate for #ident {
            type Event = #event_enum;
            const DESCRIPTOR: &'static #private::AggregateDescriptor = &#private::AggregateDescriptor {
                aggregate_type: #aggregate_type,
                rust_name: #rust_name,
                declared: #declaration,
                docs: #docs,
                events: &[#(#events),*],
            };
            #version
            fn aggregate_key(&self) -> #private::AggregateKey {
                #key
            }
            fn pending_events(&self) -> &#private::PendingEvents {
                #pending
            }
            fn pending_events_mut(&mut self) -> &mut #private::PendingEvents {
                #pending_mut
            }
        }
    }
}

/// The parts of the id; a type that cannot be one is reported at the field.
fn key(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let fields = &checked.aggregate.fields;
    checked.id.iter().fold(quote!(#private::AggregateKey::new()), |key, id| {
        let span = fields.iter().find(|field| field.ident == *id).map_or_else(|| id.span(), |field| field.ty.span());
        let part = quote_spanned!(span=> &self.#id);
        if is_generated(checked, id) { quote!(#key.push_generated(#part)) } else { quote!(#key.push(#part)) }
    })
}

/// True if the database makes this part of the id: SeaORM's rule, by which only a primary key of one field is counted.
fn is_generated(checked: &Checked, id: &Ident) -> bool {
    let aggregate = checked.aggregate;
    let mut primary_key = aggregate.fields.iter().filter(|field| field.is_primary_key);
    match (primary_key.next(), primary_key.next()) {
        (Some(field), None) => aggregate.is_model() && field.ident == id && field.is_counted,
        _ => false,
    }
}

/// A type that cannot be a version is reported at the field.
fn version(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let Some(AggregateField { ident, ty, .. }) = checked.version else { return TokenStream::new() };
    let get = quote_spanned!(ty.span()=> #private::version::<#ty>(self.#ident));
    quote! {
        const IS_VERSIONED: #private::bool = true;
        fn version(&self) -> #private::Option<#private::i64> {
            #get
        }
        fn set_version(&mut self, version: #private::i64) -> #private::bool {
            #private::set_version(&mut self.#ident, version)
        }
    }
}

fn versioned_impl(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let ident = &checked.aggregate.item.ident;
    if checked.version.is_none() {
        return TokenStream::new();
    }
    quote! {
        #[automatically_derived]
        impl #private::Versioned for #ident {}
    }
}

fn events_impl(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let (ident, event_enum) = (&checked.aggregate.item.ident, &checked.event_enum);
    let tries = checked.events.iter().map(|Listed { path, variant }| {
        quote! {
            let event = match #private::downcast::<#ident, #path>(event) {
                #private::Ok(event) => return #private::Some(Self::#variant(event)),
                #private::Err(event) => event,
            };
        }
    });
    let variants = checked.events.iter().map(|listed| listed.variant);
    let paths = checked.events.iter().map(|listed| listed.path);
    quote! {
        #[automatically_derived]
        impl #private::fmt::Debug for #event_enum {
            fn fmt(&self, f: &mut #private::fmt::Formatter<'_>) -> #private::fmt::Result {
                match *self {
                    #(Self::#variants(ref event) => #private::debug::<#ident, #paths>(event, f),)*
                }
            }
        }

        #[automatically_derived]
        impl #private::AggregateEvents for #event_enum {
            fn from_any(event: #private::Arc<dyn #private::AnyEvent>) -> #private::Option<Self> {
                #(#tries)*
                let _ = event;
                #private::None
            }
        }
    }
}

/// Bounded by `Raisable`, so a type that is no event, or a superseded one, is reported in the list and nowhere else.
fn raised_by_impls(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let ident = &checked.aggregate.item.ident;
    let impls = checked.events.iter().map(|Listed { path, .. }| {
        quote! {
            #[automatically_derived]
            impl #private::RaisedBy<#ident> for #path {}
        }
    });
    quote!(#(#impls)*)
}

fn registration(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let ident = &checked.aggregate.item.ident;
    quote! {
        #private::inventory::submit! {
            #private::AggregateRegistration(<#ident as #private::Aggregate>::DESCRIPTOR)
        }
    }
}
