//! The attribute and the struct as `#[projection]` understands them.

use proc_macro2::{Ident, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::{Item, ItemStruct, LitStr, Path};

use crate::diagnostics::Errors;
use crate::door::handlers_private;
use crate::keyed::{
    Faulty, Grammar, Keyed, Version, for_each_key, set, texts, value, value_saying_why,
};
use crate::patterns::Patterns;
use crate::syntax::keyword;

const GRAMMAR: Grammar = Grammar {
    attribute: "#[projection(…)]",
    keys: &["name", "version", "events", "views", "crate"],
    form: "name = \"balances\", version = 1",
    meant: &[
        (
            "schema",
            "a projection has a name: write `name = \"balances\"`",
        ),
        (
            "from",
            "a projection begins with the first event, because its read model is made of all of \
             them: remove `from`",
        ),
        (
            "order",
            "a projection takes the events of an aggregate in their order, always: remove `order`",
        ),
        (
            "concurrency",
            "a version of a projection takes one batch at a time, in all processes: remove \
             `concurrency`",
        ),
        (
            "retry",
            "a projection gives no event up, because its read model would lack it: it stops at one \
             that fails again and again; remove `retry`",
        ),
        (
            "timeout",
            "a projection has no timeout of its own, because a batch that is cut off only comes \
             again: remove `timeout`",
        ),
    ],
};

/// `#[projection(…)]`.
#[derive(Default)]
pub(super) struct ProjectionAttribute {
    pub(super) name: Option<Keyed<LitStr>>,
    pub(super) version: Option<Keyed<Version>>,
    pub(super) events: Option<Keyed<Patterns>>,
    pub(super) views: Option<Keyed<Views>>,
    /// The path to the module an expansion may name.
    private: TokenStream,
    pub(super) faulty: Faulty,
}

/// `"balance"`, or several in parentheses.
pub(super) struct Views(pub(super) Vec<LitStr>);

/// The whole declaration.
pub(super) struct Projection<'a> {
    pub(super) attribute: &'a ProjectionAttribute,
    pub(super) item: &'a ItemStruct,
}

impl ProjectionAttribute {
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
                let name = value(key, input, "name = \"balances\"")?;
                set(&mut self.name, key, name, errors);
            }
            "version" => {
                let version = value(key, input, "version = 1")?;
                set(&mut self.version, key, version, errors);
            }
            "events" => {
                let events = value_saying_why(key, input, "events = \"order.*\"")?;
                set(&mut self.events, key, events, errors);
            }
            "views" => {
                let views = value_saying_why(key, input, "views = \"balance\"")?;
                set(&mut self.views, key, views, errors);
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

impl Parse for Views {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let expected = "expected `views = \"balance\"`, or several: `views = (\"balance\", \
                        \"daily_balance\")`";
        Ok(Self(texts(input, expected)?))
    }
}

impl<'a> Projection<'a> {
    /// `None` if the item is not a struct that can be a projection.
    pub(super) fn parse(
        attribute: &'a ProjectionAttribute,
        item: &'a Item,
        errors: &mut Errors,
    ) -> Option<Self> {
        let Item::Struct(item) = item else {
            errors.at(keyword(item), not_a_struct(item));
            return None;
        };
        if !item.generics.params.is_empty() {
            errors.on(
                &item.generics,
                "a projection has no generic parameters, because it is recorded under one name: \
                 name the types",
            );
            return None;
        }
        Some(Self { attribute, item })
    }
}

fn not_a_struct(item: &Item) -> &'static str {
    match item {
        Item::Impl(_) => {
            "`#[projection(…)]` stands above the struct, and this is an `impl` of it: move it there"
        }
        Item::Fn(function) if function.sig.receiver().is_some() => {
            "`#[projection(…)]` stands above the struct, and this is a method of it: move it there"
        }
        Item::Fn(_) => {
            "a projection is a struct with the method `project`, and this is a function: move \
             `#[projection(…)]` to a struct"
        }
        _ => "a projection is a struct: `pub struct Balances;`, with the method `project`",
    }
}
