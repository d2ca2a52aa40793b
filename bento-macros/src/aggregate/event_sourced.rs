//! The tokens that an event-sourced aggregate has beside those of every aggregate.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::check::Checked;
use super::field::AggregateField;
use super::input::Head;
use super::snapshots_key::SnapshotsKey;
use crate::keyed::Keyed;
use crate::syntax::respan;

/// The place of the state, and the step from an event to the state.
pub(super) fn storage(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    if !checked.is_event_sourced() {
        return quote!(type Storage = #private::storage::Row;);
    }
    let storage = if checked.aggregate.is_model() {
        quote!(RowAndEvents)
    } else {
        quote!(Events)
    };
    quote! {
        const IS_EVENT_SOURCED: #private::bool = true;
        type Storage = #private::storage::#storage;
        #[inline]
        fn apply_raised(&mut self, __bento_event: &#private::Arc<dyn #private::AnyEvent>) {
            #private::apply_raised(self, __bento_event);
        }
    }
}

/// The method `from_events`, which needs no import of the trait.
pub(super) fn from_events(checked: &Checked) -> TokenStream {
    if !checked.is_event_sourced() {
        return TokenStream::new();
    }
    let private = checked.aggregate.attribute.private();
    let (vis, event_enum) = (checked.aggregate.head.vis, &checked.event_enum);
    quote! {
        /// The aggregate after these events, oldest first, which count as stored.
        ///
        /// # Panics
        /// If the version field cannot hold their number.
        #vis fn from_events(
            stored_events: impl #private::IntoIterator<Item: #private::Into<#event_enum>>,
        ) -> Self {
            #private::from_events(stored_events)
        }
    }
}

/// The implementation of `EventSourced`.
///
/// A missing method `apply` and a missing `Default` are reported at the name of the struct.
pub(super) fn implementation(checked: &Checked) -> TokenStream {
    if !checked.is_event_sourced() {
        return TokenStream::new();
    }
    let private = checked.aggregate.attribute.private();
    let Head { ident, .. } = checked.aggregate.head;
    let event_enum = &checked.event_enum;
    let id = Id::of(checked);
    let (ty, associated_type, pattern) = (id.ty(), id.associated_type(), id.pattern());
    let (key, assignments) = (id.key(&private), id.assignments());
    let at_the_name = Span::call_site().located_at(ident.span());
    let header = respan(quote!(impl #private::EventSourced for #ident), at_the_name);
    let blank = respan(quote!(<Self as #private::Blank>::blank()), at_the_name);
    let apply = respan(
        quote! {
            #private::apply_by::<#event_enum, _, _, _, _>(Self::apply, self, __bento_event)
        },
        at_the_name,
    );
    let snapshots = snapshots(checked, &id);
    quote! {
        #[automatically_derived]
        #header {
            #associated_type
            #snapshots
            fn key_of(__bento_id: &#ty) -> #private::AggregateKey {
                let #pattern = __bento_id;
                #key
            }
            fn blank() -> Self {
                #blank
            }
            fn set_id(&mut self, __bento_id: #ty) {
                let #pattern = __bento_id;
                #assignments
            }
            fn apply_event(&mut self, __bento_event: &#event_enum) {
                use #private::MissingApply as _;
                #apply;
            }
        }

        #[automatically_derived]
        impl #private::StoredEvents for #event_enum {
            type Aggregate = #ident;
            fn into_aggregate(
                __bento_events: impl #private::IntoIterator<Item = Self>,
            ) -> #ident {
                #private::from_events(__bento_events)
            }
        }
    }
}

/// The snapshots. A state that cannot be kept is reported at the name of the struct.
fn snapshots(checked: &Checked, id: &Id) -> TokenStream {
    let Some(Keyed { value, .. }) = &checked.aggregate.attribute.snapshots else {
        return TokenStream::new();
    };
    let private = checked.aggregate.attribute.private();
    let SnapshotsKey { every, version } = *value;
    let at_the_name = Span::call_site().located_at(checked.aggregate.head.ident.span());
    let new = respan(quote!(#private::Snapshots::<Self>::new), at_the_name);
    let id = id.cloned(&private);
    quote! {
        const SNAPSHOTS: #private::Option<#private::Snapshots<Self>> =
            #private::Some(#new(
                #every,
                #version,
                |__bento_aggregate| #id,
                || {
                    static __BENTO_FINGERPRINT: #private::OnceLock<#private::u64> =
                        #private::OnceLock::new();
                    &__BENTO_FINGERPRINT
                },
            ));
    }
}

/// The fields of the id.
struct Id<'a>(Vec<Part<'a>>);

/// A field, and a name for its value.
struct Part<'a> {
    field: &'a AggregateField<'a>,
    value: Ident,
}

impl<'a> Id<'a> {
    fn of(checked: &'a Checked) -> Self {
        let parts = checked.id_fields().enumerate().map(|(index, field)| Part {
            field,
            value: format_ident!("__bento_part_{index}", span = field.ty.span()),
        });
        Self(parts.collect())
    }

    /// The type of the field, or a tuple of the types of several.
    fn ty(&self) -> TokenStream {
        self.one_or_tuple(|part| part.field.ty)
    }

    /// The associated type. One that is less visible than the aggregate is reported at the field.
    fn associated_type(&self) -> TokenStream {
        let ty = self.ty();
        let first = self
            .0
            .first()
            .map_or_else(Span::call_site, |part| part.field.ty.span());
        quote_spanned!(Span::call_site().located_at(first)=> type Id = #ty;)
    }

    /// The pattern that takes an id apart.
    fn pattern(&self) -> TokenStream {
        self.one_or_tuple(|part| &part.value)
    }

    fn one_or_tuple<'b, T: ToTokens>(&'b self, of: impl Fn(&'b Part<'a>) -> T) -> TokenStream {
        let parts = self.0.iter().map(of);
        match self.0.len() {
            1 => quote!(#(#parts)*),
            _ => quote!((#(#parts),*)),
        }
    }

    fn key(&self, private: &TokenStream) -> TokenStream {
        let values = self.0.iter().map(|part| &part.value);
        quote!(#private::AggregateKey::new()#(.push(#values))*)
    }

    /// The id of an aggregate. A type that cannot be cloned is reported at the field.
    fn cloned(&self, private: &TokenStream) -> TokenStream {
        self.one_or_tuple(|Part { field, .. }| {
            let AggregateField { ident, ty, .. } = field;
            let at_the_type = Span::call_site().located_at(ty.span());
            let clone = respan(quote!(#private::Clone::clone), at_the_type);
            quote!(#clone(&__bento_aggregate.#ident))
        })
    }

    fn assignments(&self) -> TokenStream {
        let assignments = self.0.iter().map(|Part { field, value }| {
            let field = field.ident;
            quote!(self.#field = #value;)
        });
        assignments.collect()
    }
}
