//! The tokens of a handler.
//!
//! Everything that the compiler has to prove about the parameters stands in one static, each with
//! the place of its type, so that a parameter that does not fit is reported once.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{FnArg, Item, ItemFn, Type, Visibility};

use super::input::{Handler, HandlerAttribute, Start};
use crate::door::declaration;
use crate::syntax::{docs, ends, is_type, respan};

pub(super) fn expand(handler: &Handler) -> TokenStream {
    let ItemFn { vis, sig, .. } = handler.function;
    let (function, ident) = (handler.function, &sig.ident);
    let namesake = namesake(vis, ident);
    let private = handler.attribute.private();
    let descriptor = descriptor(handler);
    let declared_twice = declared_twice(handler);
    let states: Vec<&Type> = handler
        .parameters
        .iter()
        .copied()
        .filter(|ty| is_type(ty, "State"))
        .collect();
    quote! {
        #function
        #namesake
        #[allow(dead_code, deprecated)]
        impl #ident {
            /// Returns the handler, for an application whose state has what it takes.
            #vis fn handler<__AppState>() -> #private::Handler<__AppState>
            where
                #(#states: #private::ProvidedBy<__AppState>,)*
            {
                static __BENTO_HANDLER: #private::HandlerDescriptor = #descriptor;
                #private::inventory::submit! { #private::HandlerRegistration(&__BENTO_HANDLER) }
                #declared_twice
                #private::Handler::new(&__BENTO_HANDLER, |__bento_state, __bento_provided| {
                    #(<#states as #private::ProvidedBy<__AppState>>::provide(
                        __bento_state,
                        __bento_provided,
                    );)*
                })
            }
        }
    }
}

/// The errors, the function, and the struct beside it that the rest of the program may name.
pub(super) fn fallback(
    attribute: &HandlerAttribute,
    item: &Item,
    errors: Option<TokenStream>,
) -> TokenStream {
    let Item::Fn(function) = item else {
        return quote!(#errors #item);
    };
    // In an `impl` there can be no struct.
    if let Some(FnArg::Receiver(_)) = function.sig.inputs.first() {
        return quote!(#errors #item);
    }
    let ItemFn { vis, sig, .. } = function;
    let ident = &sig.ident;
    let namesake = namesake(vis, ident);
    let private = attribute.private();
    let mut function = function.clone();
    // The compiler has errors of its own about it.
    function.sig.variadic = None;
    quote! {
        #errors
        #[allow(dead_code)]
        #function
        #namesake
        #[allow(dead_code)]
        impl #ident {
            #vis fn handler<__AppState>() -> #private::Handler<__AppState> {
                #private::unreachable!()
            }
        }
    }
}

/// The struct with the name of the function, which lives beside it: types have names of their own.
fn namesake(vis: &Visibility, ident: &Ident) -> TokenStream {
    let docs = format!(" The handler `{ident}`, to be added to a set: `.add({ident}::handler())`.");
    quote! {
        #[doc = #docs]
        #[allow(dead_code, missing_debug_implementations, non_camel_case_types)]
        #vis struct #ident {}
    }
}

fn descriptor(handler: &Handler) -> TokenStream {
    let Handler {
        attribute,
        function,
        input,
        parameters,
        ..
    } = handler;
    let private = attribute.private();
    let name = attribute.name.as_ref().map(|name| name.value.value());
    let has_patterns = attribute.events.is_some();
    let events = call_at(&private, "events", input, quote!(#has_patterns));
    let is_batch = is_batch(&private, input);
    let patterns = attribute.events.as_ref().map(|events| {
        let texts = &events.value.0;
        respan(
            quote!(#private::patterns::<#input>(&[#(#texts),*])),
            events.key.span(),
        )
    });
    let patterns = patterns.unwrap_or_else(|| quote!(&[]));
    let effect = effect(handler);
    let timeout = attribute.timeout.as_ref().map(|timeout| {
        let duration = timeout.value.duration;
        let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
        quote!(#private::Duration::new(#seconds, #nanos))
    });
    let timeout = option(&private, timeout);
    let concurrency = attribute.concurrency.as_ref().map(|concurrency| {
        let (number, span) = (concurrency.value.number, concurrency.value.span);
        let input = handler.input;
        let at_once = respan(quote!(#private::at_once), span);
        quote_spanned!(span=> #at_once::<#input>(#number))
    });
    let concurrency = option(&private, concurrency);
    let retry = attribute.retry.as_ref().map(|retry| {
        let name = retry.value.value();
        quote!(#name)
    });
    let retry = option(&private, retry);
    let is_ordered = attribute.order.is_none();
    let from = match attribute.from.as_ref().map(|from| from.value) {
        None | Some(Start::Now) => quote!(Now),
        Some(Start::Beginning) => quote!(Beginning),
        Some(Start::At(seconds, nanos)) => quote!(At(#private::moment(#seconds, #nanos))),
    };
    let (declared, docs) = (declaration(&private), docs(&function.attrs));
    let states = parameters
        .iter()
        .map(|ty| item_of(ty, &quote!(#private::FromCall<'_>), "required"));
    let run = run(handler);
    quote! {
        #private::HandlerDescriptor {
            name: #name,
            events: #events,
            patterns: #patterns,
            effect: #effect,
            is_batch: #is_batch,
            timeout: #timeout,
            concurrency: #concurrency,
            retry: #retry,
            is_ordered: #is_ordered,
            from: #private::StartFrom::#from,
            declared: #declared,
            docs: #docs,
            states: &[#(#states),*],
            run: #run,
        }
    }
}

fn option(private: &TokenStream, value: Option<TokenStream>) -> TokenStream {
    value.map_or_else(
        || quote!(#private::None),
        |value| quote!(#private::Some(#value)),
    )
}

/// `<#ty as #bound>::#name`, underlined as the type.
fn item_of(ty: &Type, bound: &TokenStream, name: &str) -> TokenStream {
    let (first, last) = ends(ty);
    let name = Ident::new(name, last);
    let begin = quote_spanned!(first=> <);
    let end = quote_spanned!(last=> >::#name);
    quote!(#begin #ty as #bound #end)
}

/// `#private::#name::<#ty>(#arguments)`, underlined as the type.
fn call_at(private: &TokenStream, name: &str, ty: &Type, arguments: TokenStream) -> TokenStream {
    let (first, last) = ends(ty);
    let name = Ident::new(name, first);
    let path = respan(private.clone(), first);
    let begin = quote_spanned!(first=> #path::#name::<);
    let end = quote_spanned!(last=> >(#arguments));
    quote!(#begin #ty #end)
}

fn is_batch(private: &TokenStream, input: &Type) -> TokenStream {
    item_of(input, &quote!(#private::HandlerInput), "IS_BATCH")
}

/// The effects of the parameters and of the result, added one by one.
fn effect(handler: &Handler) -> TokenStream {
    let private = handler.attribute.private();
    let of_parameters = handler.parameters.iter().map(|ty| {
        let effect = item_of(ty, &quote!(#private::FromCall<'_>), "EFFECT");
        (ends(ty), effect)
    });
    let output = handler.output;
    let of_result = item_of(output, &quote!(#private::HandlerResult), "EFFECT");
    let all = of_parameters.chain([(ends(output), of_result)]).fold(
        quote!(#private::Effect::None),
        |earlier, ((first, last), effect)| {
            let is_batch = is_batch(&private, handler.input);
            let one_more = respan(quote!(#private::one_more), first);
            let arguments = quote_spanned!(last=> (#earlier, #effect, #is_batch));
            quote!(#one_more #arguments)
        },
    );
    let name = handler.function.sig.ident.span();
    let the_one = respan(quote!(#private::the_one), name);
    quote_spanned!(name=> #the_one(#all))
}

/// The closure that calls the function.
fn run(handler: &Handler) -> TokenStream {
    let private = handler.attribute.private();
    let ident = &handler.function.sig.ident;
    let call = Ident::new("__bento_call", Span::mixed_site());
    let event = call_at(&private, "input", handler.input, quote!(#call));
    let parameters = handler.parameters.iter().map(|ty| {
        let from_call = item_of(ty, &quote!(#private::FromCall<'_>), "from_call");
        quote!(#from_call(#call))
    });
    let output = Ident::new("__bento_output", Span::mixed_site());
    let finish = item_of(handler.output, &quote!(#private::HandlerResult), "finish");
    let (_, last) = ends(handler.output);
    let finish = quote_spanned!(last=> |#output| #finish(#output));
    let start = respan(quote!(move ||), ident.span());
    let ok = respan(quote!(#private::Ok), ident.span());
    let start = quote_spanned!(ident.span()=> #start #ok(#ident(#event?, #(#parameters),*)));
    let run = respan(quote!(#private::run), ident.span());
    let run = quote_spanned!(ident.span()=> #run(#start, #finish));
    quote!(|#call| #run)
}

/// A symbol that a program can have once, as that of an event.
fn declared_twice(handler: &Handler) -> Option<TokenStream> {
    let private = handler.attribute.private();
    let name = handler.attribute.name.as_ref()?;
    let name = name.value.value().replace('.', "__");
    let symbol = format!("bento__handler__{name}__is_declared_twice");
    Some(quote! {
        #[cfg(not(test))]
        #[unsafe(export_name = #symbol)]
        static __BENTO_IS_DECLARED_TWICE: #private::u8 = 0;
    })
}
