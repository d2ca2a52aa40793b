//! The tokens of the events of an aggregate: their enum, and the aggregate's right to raise them.
//!
//! An expansion binds only names that no constant and no type of the user's module can have.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Meta;

use super::check::{Checked, Listed};
use super::input::Head;

/// The enum with a variant for each event.
pub(super) fn event_enum(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let Head { ident, vis, .. } = checked.aggregate.head;
    let event_enum = &checked.event_enum;
    let docs = format!("The events that [`{ident}`] raises.");
    let variants = checked.events.iter().map(
        |Listed {
             cfgs,
             path,
             variant,
             ..
         }| {
            let docs = format!("[`{variant}`] happened.");
            quote!(#(#cfgs)* #[doc = #docs] #variant(#private::Arc<#path>))
        },
    );
    quote! {
        #[doc = #docs]
        #[allow(deprecated, dead_code)]
        #vis enum #event_enum { #(#variants),* }
    }
}

/// The methods of the enum.
pub(super) fn enum_impls(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let event_enum = &checked.event_enum;
    let typed = if checked.has_a_type() {
        let parts = [
            debug_impl(checked),
            clone_impl(checked),
            partial_eq_impl(checked),
            from_impls(checked),
            from_envelope_impl(checked),
        ];
        quote!(#(#parts)*)
    } else {
        quote! {
            impl #private::Clone for #event_enum {
                fn clone(&self) -> Self {
                    #private::unreachable!()
                }
            }
            impl #private::fmt::Debug for #event_enum {
                fn fmt(&self, _: &mut #private::fmt::Formatter<'_>) -> #private::fmt::Result {
                    #private::unreachable!()
                }
            }
            impl #private::AggregateEvents for #event_enum {
                fn into_any(self) -> #private::Arc<dyn #private::AnyEvent> {
                    #private::unreachable!()
                }
                fn from_any(_: #private::Arc<dyn #private::AnyEvent>) -> #private::Option<Self> {
                    #private::unreachable!()
                }
            }
            impl #private::FromEnvelope for #event_enum {
                const EVENTS: &'static [&'static #private::EventDescriptor] = &[];

                fn from_envelope(
                    _: &#private::Envelope,
                ) -> #private::Result<Self, #private::DecodeError> {
                    #private::unreachable!()
                }
            }
        }
    };
    quote! {
        #typed

        #[automatically_derived]
        impl<AnyAggregate: #private::RaisesVariants<Self>> #private::RaisedBy<AnyAggregate>
            for #event_enum
        {
            fn into_any(self) -> #private::Arc<dyn #private::AnyEvent> {
                match <AnyAggregate as #private::RaisesVariants<Self>>::NEVER {}
            }
        }
    }
}

fn debug_impl(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let (ident, event_enum) = (checked.aggregate.head.ident, &checked.event_enum);
    let arms = checked.events.iter().map(
        |Listed {
             cfgs,
             path,
             variant,
             position,
         }| {
            quote!(#(#cfgs)* Self::#variant(ref __bento_event) =>
            #private::debug::<#ident, #path, #position>(__bento_event, __bento_f))
        },
    );
    quote! {
        #[automatically_derived]
        impl #private::fmt::Debug for #event_enum {
            #[inline]
            fn fmt(&self, __bento_f: &mut #private::fmt::Formatter<'_>) -> #private::fmt::Result {
                match *self { #(#arms,)* }
            }
        }
    }
}

/// `Clone`, written out: where another item has the name of the enum, the compiler then reports
/// each missing variant at one place, in the list of events.
fn clone_impl(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let event_enum = &checked.event_enum;
    let arms = checked.events.iter().map(|Listed { cfgs, variant, .. }| {
        quote!(#(#cfgs)* Self::#variant(ref __bento_event) =>
            Self::#variant(#private::Clone::clone(__bento_event)))
    });
    quote! {
        #[automatically_derived]
        impl #private::Clone for #event_enum {
            #[inline]
            fn clone(&self) -> Self {
                match *self { #(#arms,)* }
            }
        }
    }
}

/// Implemented if all events can be compared. The bound names every lifetime: rustc accepts a
/// bound on a type without parameters only if it holds, or if it has a lifetime of its own.
fn partial_eq_impl(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let event_enum = &checked.event_enum;
    let (aliases, types): (Vec<_>, Vec<_>) = checked.events.iter().map(always_a_type).unzip();
    let arms = checked.events.iter().map(|Listed { cfgs, variant, .. }| {
        quote! {
            #(#cfgs)*
            (Self::#variant(__bento_event), Self::#variant(__bento_other)) =>
                #private::is_same_event(__bento_event, __bento_other)
        }
    });
    quote! {
        #(#aliases)*
        #[automatically_derived]
        impl #private::PartialEq for #event_enum
        where
            #(for<'bento> &'bento #types: #private::PartialEq<&'bento #types>,)*
        {
            #[inline]
            fn eq(&self, __bento_other: &Self) -> #private::bool {
                match (self, __bento_other) {
                    #(#arms,)*
                    #[allow(unreachable_patterns)]
                    _ => false,
                }
            }
        }
    }
}

/// The type of an event for a place where no `#[cfg]` can stand; `()` in a build without the event.
fn always_a_type(event: &Listed) -> (TokenStream, TokenStream) {
    let Listed {
        cfgs,
        path,
        position,
        ..
    } = event;
    if cfgs.is_empty() {
        return (TokenStream::new(), quote!(#path));
    }
    let alias = format_ident!("__BentoEvent{position}");
    let conditions = cfgs.iter().map(|cfg| match &cfg.meta {
        Meta::List(condition) => condition.tokens.clone(),
        _ => TokenStream::new(),
    });
    let aliases = quote! {
        #(#cfgs)*
        type #alias = #path;
        #[cfg(not(all(#(#conditions),*)))]
        type #alias = ();
    };
    (aliases, quote!(#alias))
}

fn from_impls(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let (ident, event_enum) = (checked.aggregate.head.ident, &checked.event_enum);
    let tries = checked.events.iter().map(|listed| {
        let Listed {
            cfgs,
            path,
            variant,
            position,
        } = listed;
        let tried = quote!(#private::downcast::<#ident, #path, #position>(__bento_event));
        quote! {
            #(#cfgs)*
            let __bento_event = match #tried {
                #private::Ok(__bento_event) => return #private::Some(Self::#variant(__bento_event)),
                #private::Err(__bento_event) => __bento_event,
            };
        }
    });
    let shared = checked.events.iter().map(
        |Listed {
             cfgs,
             path,
             variant,
             position,
         }| {
            quote!(#(#cfgs)* Self::#variant(__bento_event) =>
            #private::share_again::<#ident, #path, #position>(__bento_event))
        },
    );
    quote! {
        #[automatically_derived]
        impl #private::AggregateEvents for #event_enum {
            fn into_any(self) -> #private::Arc<dyn #private::AnyEvent> {
                match self { #(#shared,)* }
            }

            fn from_any(
                __bento_event: #private::Arc<dyn #private::AnyEvent>,
            ) -> #private::Option<Self> {
                let __bento_event = #private::any(__bento_event);
                #(#tries)*
                let _ = __bento_event;
                #private::None
            }
        }

        #[automatically_derived]
        impl<ListedEvent: #private::RaisedBy<#ident>> #private::From<ListedEvent> for #event_enum {
            fn from(__bento_event: ListedEvent) -> Self {
                #private::variant::<#ident, ListedEvent>(__bento_event)
            }
        }
    }
}

/// Lets a handler take the enum.
fn from_envelope_impl(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let (ident, event_enum) = (checked.aggregate.head.ident, &checked.event_enum);
    let events = checked.events.iter().map(
        |Listed {
             cfgs,
             path,
             position,
             ..
         }| { quote!(#(#cfgs)* #private::descriptor_of::<#ident, #path, #position>()) },
    );
    quote! {
        #[automatically_derived]
        impl #private::FromEnvelope for #event_enum {
            const EVENTS: &'static [&'static #private::EventDescriptor] = &[#(#events),*];

            fn from_envelope(
                __bento_envelope: &#private::Envelope,
            ) -> #private::Result<Self, #private::DecodeError> {
                #private::one_of(
                    __bento_envelope,
                    <Self as #private::AggregateEvents>::from_any,
                )
            }
        }
    }
}

/// The implementations of `ListedBy` and `RaisedBy`.
///
/// `ListedBy` is bounded by `Raisable`, so a type that is not an event, or is a superseded one, is
/// reported in the list. All else is bounded by `ListedBy`, so it is reported nowhere else. An
/// event that is listed once more under an alias conflicts in `RaisedBy` alone, since `ListedBy`
/// knows the position, and the compiler points to the two entries of the list.
pub(super) fn raised_by_impls(checked: &Checked) -> TokenStream {
    let private = checked.aggregate.attribute.private();
    let Head {
        ident, generics, ..
    } = checked.aggregate.head;
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let impls = checked.events.iter().map(|Listed { cfgs, path, variant, position }| {
        quote_spanned! {Span::call_site().located_at(variant.span())=>
            #(#cfgs)*
            #[automatically_derived]
            impl #impl_generics #private::ListedBy<#ident #ty_generics, #position> for #path
                #where_clause {}
            #(#cfgs)*
            #[automatically_derived]
            impl #impl_generics #private::RaisedBy<#ident #ty_generics> for #path #where_clause {
                #[inline]
                fn into_any(self) -> #private::Arc<dyn #private::AnyEvent> {
                    #private::into_any::<#ident #ty_generics, Self, #position>(self)
                }
            }
        }
    });
    quote!(#(#impls)*)
}
