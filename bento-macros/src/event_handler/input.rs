//! The attribute and the function as `#[event_handler]` understands them.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::{Item, ItemFn, LitInt, LitStr, Path, Type};

use super::{moment, signature, timeout};
use crate::diagnostics::Errors;
use crate::door::handlers_private;
use crate::keyed::{Faulty, Grammar, Keyed, for_each_key, set, value, value_saying_why};
use crate::patterns::Patterns;
use crate::syntax::keyword;

const GRAMMAR: Grammar = Grammar {
    attribute: "#[event_handler(…)]",
    keys: &[
        "name",
        "timeout",
        "concurrency",
        "retry",
        "order",
        "from",
        "events",
        "crate",
    ],
    form: "name = \"stock.reserve\"",
    meant: &[
        (
            "schema",
            "a handler has a name: write `name = \"stock.reserve\"`",
        ),
        (
            "version",
            "a handler has no version: it takes the current version of its event, whatever was \
             stored",
        ),
    ],
};

/// `#[event_handler(…)]`.
#[derive(Default)]
pub(super) struct HandlerAttribute {
    pub(super) name: Option<Keyed<LitStr>>,
    pub(super) timeout: Option<Keyed<Timeout>>,
    pub(super) concurrency: Option<Keyed<Concurrency>>,
    pub(super) retry: Option<Keyed<LitStr>>,
    pub(super) order: Option<Keyed<NoOrder>>,
    pub(super) from: Option<Keyed<Start>>,
    pub(super) events: Option<Keyed<Patterns>>,
    /// The path to the module an expansion may name.
    private: TokenStream,
    pub(super) faulty: Faulty,
}

/// `"20s"`.
pub(super) struct Timeout {
    pub(super) duration: Duration,
    pub(super) span: Span,
}

/// `16`.
pub(super) struct Concurrency {
    pub(super) number: u32,
    pub(super) span: Span,
}

/// `none`.
pub(super) struct NoOrder;

/// `now`, `beginning` or a time.
#[derive(Clone, Copy)]
pub(super) enum Start {
    Now,
    Beginning,
    /// The seconds since 1970, and the nanoseconds beside them.
    At(i64, u32),
}

/// The whole declaration.
pub(super) struct Handler<'a> {
    pub(super) attribute: &'a HandlerAttribute,
    pub(super) function: &'a ItemFn,
    /// The type of the first parameter.
    pub(super) input: &'a Type,
    /// The types of the parameters behind it.
    pub(super) parameters: Vec<&'a Type>,
    /// The type of the result.
    pub(super) output: &'a Type,
}

impl HandlerAttribute {
    pub(super) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut attribute = Self::default();
        let mut krate = None;
        let faulty = for_each_key(tokens, &GRAMMAR, errors, |key, input, errors| {
            attribute.parse_key(key, input, &mut krate, errors)
        });
        Self {
            faulty,
            private: handlers_private(krate.as_ref(), errors),
            ..attribute
        }
    }

    fn parse_key(
        &mut self,
        key: &Ident,
        input: ParseStream,
        krate: &mut Option<Keyed<Path>>,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        let name = key.to_string();
        match name.as_str() {
            "name" => {
                let name = value(key, input, "name = \"stock.reserve\"")?;
                set(&mut self.name, key, name, errors);
            }
            "timeout" => {
                let timeout = value_saying_why(key, input, "timeout = \"20s\"")?;
                set(&mut self.timeout, key, timeout, errors);
            }
            "concurrency" => {
                let concurrency = value_saying_why(key, input, "concurrency = 16")?;
                set(&mut self.concurrency, key, concurrency, errors);
            }
            "retry" => {
                let retry = value(key, input, "retry = \"patient\"")?;
                set(&mut self.retry, key, retry, errors);
            }
            "order" => {
                let order = value_saying_why(key, input, "order = none")?;
                set(&mut self.order, key, order, errors);
            }
            "from" => {
                let from = value_saying_why(key, input, "from = beginning")?;
                set(&mut self.from, key, from, errors);
            }
            "events" => {
                let events = value_saying_why(key, input, "events = \"order.*\"")?;
                set(&mut self.events, key, events, errors);
            }
            "crate" => {
                let path = value(key, input, "crate = path::to::bento_handlers")?;
                set(krate, key, path, errors);
            }
            _ => return Err(GRAMMAR.unknown(key)),
        }
        Ok(())
    }

    /// The path to the module an expansion may name.
    pub(super) fn private(&self) -> TokenStream {
        self.private.clone()
    }
}

impl Parse for Timeout {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let invalid = |span: Span, written: &str, instead: &str| {
            let message = format!(
                "invalid timeout {written}: write a text of whole numbers with a unit of d, h, m, \
                 s or ms, as in `timeout = \"{instead}\"`"
            );
            Err(syn::Error::new(span, message))
        };
        if input.peek(LitInt) {
            let number: LitInt = input.parse()?;
            let written = number.to_string();
            let is_duration = timeout::parse(&written).is_some();
            let instead = if is_duration {
                written.clone()
            } else {
                format!("{}s", number.base10_digits())
            };
            return invalid(number.span(), &format!("`{written}`"), &instead);
        }
        let expected = |error: syn::Error| {
            syn::Error::new(error.span(), "expected `timeout = \"20s\"`, a text")
        };
        let text: LitStr = input.parse().map_err(expected)?;
        match timeout::parse(&text.value()) {
            Some(duration) => Ok(Self {
                duration,
                span: text.span(),
            }),
            None => invalid(text.span(), &format!("`{}`", text.value()), "20s"),
        }
    }
}

impl Parse for Concurrency {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let wrong = |span| {
            syn::Error::new(
                span,
                "expected `concurrency = 16`, the most calls at once as a whole number",
            )
        };
        let number: LitInt = input.parse().map_err(|error| wrong(error.span()))?;
        let parsed = number.base10_parse().ok();
        Ok(Self {
            number: parsed.ok_or_else(|| wrong(number.span()))?,
            span: number.span(),
        })
    }
}

impl Parse for NoOrder {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        match input.parse::<Ident>() {
            Ok(word) if word == "none" => Ok(Self),
            parsed => Err(syn::Error::new(
                parsed.map_or_else(|error| error.span(), |word| word.span()),
                "expected `order = none`, for events of one aggregate in any order; leave `order` \
                 out to keep their order",
            )),
        }
    }
}

impl Parse for Start {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        if input.peek(LitStr) {
            let text: LitStr = input.parse()?;
            let time =
                moment::parse(&text.value()).map(|(seconds, nanos)| Self::At(seconds, nanos));
            return time.ok_or_else(|| {
                syn::Error::new(
                    text.span(),
                    "expected a time as RFC 3339 writes it, with its offset: \
                     `from = \"2026-11-01T00:00:00Z\"`; `now` and `beginning` have no quotes",
                )
            });
        }
        match input.parse::<Ident>() {
            Ok(word) if word == "now" => Ok(Self::Now),
            Ok(word) if word == "beginning" => Ok(Self::Beginning),
            parsed => Err(syn::Error::new(
                parsed.map_or_else(|error| error.span(), |word| word.span()),
                "expected `from = now`, for the events after a new handler was recorded, \
                 `from = beginning`, for all that the outbox still holds, or a time, \
                 `from = \"2026-11-01T00:00:00Z\"`",
            )),
        }
    }
}

impl<'a> Handler<'a> {
    /// `None` if the item is not a function that can be a handler.
    pub(super) fn parse(
        attribute: &'a HandlerAttribute,
        item: &'a Item,
        errors: &mut Errors,
    ) -> Option<Self> {
        let Item::Fn(function) = item else {
            errors.at(
                keyword(item),
                "a handler is an `async fn`: `async fn reserve(event: OrderConfirmed, tx: \
                 &OutboxTransaction) -> Result<(), HandleError>`",
            );
            return None;
        };
        let types = signature::types(&function.sig, errors)?;
        Some(Self {
            attribute,
            function,
            input: types.input,
            parameters: types.parameters,
            output: types.output,
        })
    }
}
