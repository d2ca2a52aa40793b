//! The tokens of an event.
//!
//! Decision: docs/decisions/0004-an-event-is-declared-once.md

mod history;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Attribute, ItemStruct};

use super::check::{covered_steps, missing_step};
use super::field::EventField;
use super::input::{Declares, Event, EventAttribute};
use crate::door::declaration;
use crate::keyed::Keyed;
use crate::serde_attrs;
use crate::syntax::{as_written, derives, docs, has_argument, last_ident, mentions, respan};

pub(super) fn expand(event: &Event) -> TokenStream {
    let item = item(event.attribute, event.item.clone());
    let parts = [
        domain_event_impl(event),
        marker_impls(event),
        typed_step(event),
        mapping(event),
        registration(event),
        declared_twice(event),
    ];
    quote! {
        #item
        #[allow(deprecated)]
        const _: () = { #(#parts)* };
    }
}

/// The user's struct, able to be stored.
fn item(attribute: &EventAttribute, mut item: ItemStruct) -> TokenStream {
    strip_field_attributes(&mut item);
    with_serde(attribute, &item.ident, &item.attrs, &item)
}

/// Removes attributes that only this macro reads, or that stand there by mistake.
pub(super) fn strip_field_attributes(item: &mut ItemStruct) {
    const OURS: [&str; 4] = ["event", "domain_event", "integration_event", "aggregate"];
    for field in &mut item.fields {
        field
            .attrs
            .retain(|attr| !OURS.iter().any(|name| last_ident(attr.path(), name)));
    }
}

/// The item with the serde derives that it does not have, by way of our own serde: the user's crate
/// may not depend on it.
pub(super) fn with_serde(
    attribute: &EventAttribute,
    ident: &Ident,
    attrs: &[Attribute],
    item: &impl ToTokens,
) -> TokenStream {
    let private = attribute.private();
    let missing: Vec<Ident> = ["Serialize", "Deserialize"]
        .into_iter()
        .filter(|name| !derives(attrs, name))
        .map(|name| Ident::new(name, Span::call_site()))
        .collect();
    if missing.is_empty() {
        return quote!(#item);
    }
    let names_crate = serde_attrs::serde(attrs).any(|attr| has_argument(attr, "crate"));
    let serde_crate = (!names_crate).then(|| attribute.serde_crate(ident));
    let import = attribute.serde_import(ident);
    quote! {
        #import
        #[derive(#(#private::serde::#missing),*)]
        #serde_crate
        #item
    }
}

fn domain_event_impl(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let descriptor = descriptor(event);
    let (schema, version) = (
        event.attribute.schema.as_ref().map(|schema| &schema.value),
        event.attribute.version(),
    );
    let itself = sharable(event);
    let (history, decode_older) = (history(event), decode_older(event));
    // A chain of versions is checked by these, without a look at the descriptors, which name each
    // other.
    let is_of_a_chain = event.attribute.superseded.is_some()
        || event.attribute.upcast_from.is_some()
        || event.attribute.declares == Declares::Integration;
    let of_a_chain = is_of_a_chain.then(|| {
        quote! {
            const SCHEMA: &'static #private::str = #schema;
            const VERSION: #private::u32 = #version;
        }
    });
    quote! {
        #[automatically_derived]
        impl #private::DomainEvent for #itself {
            const DESCRIPTOR: &'static #private::EventDescriptor = &#descriptor;
            #of_a_chain
            #history
            #decode_older
        }
    }
}

fn history(event: &Event) -> Option<TokenStream> {
    let private = event.attribute.private();
    let steps = history::steps(event);
    (!steps.is_empty()).then(|| quote!(const HISTORY: &'static [#private::Step] = &[#(#steps),*];))
}

/// The method that reads earlier payloads; `None` for an event that reads its own version alone,
/// which would compile serde's code for them in vain.
fn decode_older(event: &Event) -> Option<TokenStream> {
    let attribute = event.attribute;
    let private = attribute.private();
    let decode = match attribute.upcast_from {
        Some(_) => quote!(decode_by_typed_step),
        None if attribute.oldest() == attribute.version() => return None,
        None => quote!(decode_by_history),
    };
    Some(quote! {
        fn decode_older(
            __bento_version: #private::u32,
            __bento_payload: &[#private::u8],
        ) -> #private::Result<Self, #private::UpcastFault> {
            #private::#decode::<Self>(__bento_version, __bento_payload)
        }
    })
}

/// The event as the implementation names it, at the place where the compiler should say that it
/// cannot be sent or shared between threads: a field of a type that is known for it, else the name
/// of the struct.
fn sharable(event: &Event) -> Ident {
    const UNSHARABLE: [&str; 6] = ["Rc", "Weak", "Cell", "RefCell", "OnceCell", "LazyCell"];
    let mut ident = event.item.ident.clone();
    let of_one_thread = |field: &&EventField| mentions(field.ty.to_token_stream(), &UNSHARABLE);
    if let Some(field) = event.fields.iter().find(of_one_thread) {
        ident.set_span(field.ty.span());
    }
    ident
}

/// The differences from the descriptor of a plain event.
fn descriptor(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let attribute = event.attribute;
    let rust_name = event.item.ident.to_string();
    let schema = attribute.schema.as_ref().map(|schema| schema.value.value());
    let version = attribute.version();
    let declaration = declaration(&private);
    let in_payload = event
        .fields
        .iter()
        .filter(|field| field.serde.skip.is_none());
    let fields = in_payload.map(|field| field_descriptor(&private, field));
    let fingerprint = fingerprint(event);
    let (docs, optional) = (docs(&event.item.attrs), optional_descriptors(event));
    let docs = (!docs.is_empty()).then(|| quote!(docs: #docs,));
    quote! {
        #private::EventDescriptor {
            schema: #schema,
            version: #version,
            rust_name: #rust_name,
            declared: #declaration,
            #docs
            fields: &[#(#fields),*],
            fingerprint: #fingerprint,
            #optional
            ..#private::EVENT
        }
    }
}

/// The fields of the descriptor that few events set.
fn optional_descriptors(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let (attribute, ident) = (event.attribute, &event.item.ident);
    let oldest = oldest(event).map(|oldest| quote!(oldest: #oldest,));
    let role = role(attribute).map(|role| quote!(role: #private::EventRole::#role,));
    let removed = attribute.removed.iter().map(|removed| {
        let (name, since) = (&removed.name, removed.since.number);
        quote!(#private::RemovedField { name: #name, since: #since })
    });
    let removed = (!attribute.removed.is_empty()).then(|| quote!(removed: &[#(#removed),*],));
    let upcast_from = attribute
        .upcast_from
        .as_ref()
        .map(|_| quote!(upcast_from: #private::older_descriptor::<#ident>(),));
    let made_from = attribute
        .from
        .as_ref()
        .map(|_| quote!(made_from: #private::Some(#private::source_descriptor::<#ident>()),));
    let deprecated = attribute
        .deprecated
        .as_ref()
        .map(|Keyed { value, .. }| quote!(deprecated: #private::Some(#value),));
    let topic = attribute
        .topic
        .as_ref()
        .map(|Keyed { value, .. }| quote!(topic: #private::Some(#value),));
    let routing_key = attribute
        .routing_key
        .as_ref()
        .map(|Keyed { value, .. }| quote!(routing_key: #private::Some(#value),));
    let allow = attribute.allow.iter().map(ToString::to_string);
    let allow = (!attribute.allow.is_empty()).then(|| quote!(allow: &[#(#allow),*],));
    quote!(#oldest #role #removed #upcast_from #made_from #deprecated #topic #routing_key #allow)
}

/// `oldest` as written, else that of the version upcast from; `None` for 1.
fn oldest(event: &Event) -> Option<TokenStream> {
    let private = event.attribute.private();
    let ident = &event.item.ident;
    if event.attribute.oldest.is_none() && event.attribute.upcast_from.is_some() {
        return Some(quote!(#private::oldest_through_typed_step::<#ident>()));
    }
    event
        .attribute
        .oldest
        .as_ref()
        .map(|oldest| oldest.value.number.to_token_stream())
}

/// The role in the descriptor; `None` for a current version.
fn role(attribute: &EventAttribute) -> Option<TokenStream> {
    if attribute.declares == Declares::Integration {
        return Some(quote!(Integration));
    }
    match (&attribute.consumes, &attribute.superseded) {
        (Some(_), _) => Some(quote!(Consumes)),
        (None, Some(_)) => Some(quote!(Superseded)),
        (None, None) => None,
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
    let is_flattened = field.serde.flatten.is_some();
    if field.added.is_none() && field.renamed.is_empty() && !is_flattened {
        return quote!(#private::field(#name, #rust_type, #docs));
    }
    quote! {
        #private::FieldDescriptor {
            name: #name,
            rust_type: #rust_type,
            docs: #docs,
            is_flattened: #is_flattened,
            history: &[#(#history),*],
        }
    }
}

/// FNV-1a over the tokens of the declaration: stable from build to build, which the standard hasher
/// does not promise.
fn fingerprint(event: &Event) -> u64 {
    let item = event.item;
    let text = event.attribute.tokens.to_string() + &quote!(#item).to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The markers of the operations that the event has besides reading.
///
/// Each implementation takes for granted what the one of `DomainEvent` has to prove, so that a
/// bound that does not hold is reported once.
fn marker_impls(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let ident = &event.item.ident;
    let (marker, refusal) = match (&event.attribute.superseded, &event.attribute.consumes) {
        // A later version may be upcast from it, as from one that is superseded.
        _ if event.attribute.declares == Declares::Integration => (
            quote!(Superseded),
            unraisable(&private, ident, &quote!(RaisesIntegration)),
        ),
        (Some(_), None) => (
            quote!(Superseded),
            unraisable(&private, ident, &quote!(RaisesSuperseded)),
        ),
        (Some(_), Some(_)) => (
            quote!(Superseded),
            unraisable(&private, ident, &quote!(RaisesConsumed)),
        ),
        (None, Some(_)) => return unraisable(&private, ident, &quote!(RaisesConsumed)),
        (None, None) => (quote!(Raisable), TokenStream::new()),
    };
    quote! {
        #[automatically_derived]
        impl #private::#marker for #ident where for<'__bento> #ident: #private::DomainEvent {}
        #refusal
    }
}

/// The implementations that explain to the caller why no aggregate raises the event.
fn unraisable(private: &TokenStream, ident: &syn::Ident, condition: &TokenStream) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl<AnyAggregate: #private::#condition<Self>> #private::RaisedBy<AnyAggregate> for #ident {
            fn into_any(self) -> #private::Arc<dyn #private::AnyEvent> {
                match <AnyAggregate as #private::#condition<Self>>::NEVER {}
            }
        }
    }
}

/// The typed step, and the proof that it and the field history leave no gap.
fn typed_step(event: &Event) -> TokenStream {
    let Some(older) = &event.attribute.upcast_from else {
        return TokenStream::new();
    };
    let private = event.attribute.private();
    let ident = &event.item.ident;
    let older = &older.value;
    let covered = covered_steps(event);
    let gaps = (event.attribute.oldest() + 1..=event.attribute.version())
        .filter(|to| !covered.contains(to))
        .map(|to| {
            let message = missing_step(to);
            quote!(#private::assert!(#private::typed_step_from::<#ident>() + 1 >= #to, #message);)
        });
    let proof = respan(
        quote!(#private::check_typed_step::<#ident>(); #(#gaps)*),
        older.span(),
    );
    let unused = event.changes().map(|since| {
        let message = format!(
            "what comes before version {} comes by hand, through `upcast_from`, so this is never \
             read: remove it",
            since.number
        );
        let to = since.number;
        respan(
            quote!(#private::assert!(#private::typed_step_from::<#ident>() + 1 < #to, #message);),
            since.span,
        )
    });
    quote! {
        #[automatically_derived]
        impl #private::TypedStep for #ident where for<'__bento> #ident: #private::DomainEvent {
            type Older = #older;
        }
        const _: () = { #proof #(#unused)* };
    }
}

/// The way from the domain event to an integration event.
fn mapping(event: &Event) -> TokenStream {
    let Some(from) = &event.attribute.from else {
        return TokenStream::new();
    };
    let private = event.attribute.private();
    let (ident, source) = (&event.item.ident, &from.value);
    quote! {
        #[automatically_derived]
        impl #private::IntegrationEvent for #ident
        where
            for<'__bento> #ident: #private::DomainEvent,
        {
            type Source = #source;
        }
        #private::inventory::submit! { #private::IntegrationRegistration::of::<#ident>() }
    }
}

fn registration(event: &Event) -> TokenStream {
    let private = event.attribute.private();
    let ident = &event.item.ident;
    quote!(#private::inventory::submit! { #private::EventRegistration::of::<#ident>() })
}

/// A symbol that a program can have once. It is left out of a crate's own unit tests, which may
/// link the crate's normal build too.
///
/// Identifier characters only: quotes and colons break the version script of cdylib and dylib
/// links.
fn declared_twice(event: &Event) -> TokenStream {
    let Some(schema) = event
        .attribute
        .schema
        .as_ref()
        .filter(|_| event.attribute.consumes.is_none())
    else {
        return TokenStream::new();
    };
    let schema = schema.value.value().replace('.', "__");
    let symbol = format!(
        "bento__event__{schema}__v{}__is_declared_twice",
        event.attribute.version()
    );
    let private = event.attribute.private();
    quote! {
        #[cfg(not(test))]
        #[unsafe(export_name = #symbol)]
        static __BENTO_IS_DECLARED_TWICE: #private::u8 = 0;
    }
}
