//! The attribute and the item as `#[domain_event]` understands them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Fields, Item, ItemEnum as Enum, ItemStruct, ItemUnion as Union, LitStr, Path};

use super::field::EventField;
use crate::diagnostics::{Errors, list};
use crate::door::private;
use crate::keyed::{Faulty, Grammar, Keyed, Version, for_each_key, parenthesised, set, value};
use crate::serde_attrs::StructAttrs;
use crate::syntax;

/// The attribute that declares the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Declares {
    /// `#[domain_event(…)]`.
    #[default]
    Domain,
    /// `#[integration_event(…)]`.
    Integration,
}

impl Declares {
    /// The name of the attribute.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Domain => "domain_event",
            Self::Integration => "integration_event",
        }
    }

    /// The error for a key that the attribute does not have.
    fn unknown(self, key: &Ident) -> syn::Error {
        if self == Self::Domain && (key == "from" || key == "deprecated") {
            let message = format_args!(
                "`{key}` is a key of an integration event: did you mean `#[integration_event(…)]`?"
            );
            return syn::Error::new(key.span(), message);
        }
        self.grammar().unknown(key)
    }

    fn grammar(self) -> &'static Grammar {
        match self {
            Self::Domain => &GRAMMAR,
            Self::Integration => &INTEGRATION_GRAMMAR,
        }
    }
}

const INTEGRATION_GRAMMAR: Grammar = Grammar {
    attribute: "#[integration_event(…)]",
    keys: &[
        "from",
        "schema",
        "version",
        "oldest",
        "upcast_from",
        "deprecated",
        "topic",
        "routing_key",
        "removed",
        "allow",
        "crate",
    ],
    form: "from = OrderConfirmed, schema = \"shop.order.confirmed\", version = 1",
    meant: &[],
};
const GRAMMAR: Grammar = Grammar {
    attribute: "#[domain_event(…)]",
    keys: &[
        "schema",
        "version",
        "oldest",
        "upcast_from",
        "superseded",
        "consumes",
        "topic",
        "routing_key",
        "removed",
        "allow",
        "crate",
    ],
    form: "schema = \"order.created\", version = 1",
    meant: &[],
};
const REMOVED_GRAMMAR: Grammar = Grammar {
    attribute: "removed(…)",
    keys: &["since"],
    form: REMOVED_FORM,
    meant: &[],
};
const REMOVED_FORM: &str = "removed(\"json_name\", since = 2)";

/// The advisory lints of the registry that `allow(…)` may name.
const LINTS: Grammar = Grammar {
    attribute: "allow(…)",
    keys: &["imperative", "bare_noun", "row_change"],
    form: "allow(bare_noun)",
    meant: &[],
};

/// `#[domain_event(…)]` or `#[integration_event(…)]`.
#[derive(Default)]
pub(super) struct EventAttribute {
    pub(super) declares: Declares,
    pub(super) from: Option<Keyed<Path>>,
    pub(super) deprecated: Option<Keyed<LitStr>>,
    pub(super) schema: Option<Keyed<LitStr>>,
    pub(super) version: Option<Keyed<Version>>,
    pub(super) oldest: Option<Keyed<Version>>,
    pub(super) upcast_from: Option<Keyed<Path>>,
    pub(super) superseded: Option<Keyed<()>>,
    pub(super) consumes: Option<Keyed<()>>,
    pub(super) topic: Option<Keyed<LitStr>>,
    pub(super) routing_key: Option<Keyed<LitStr>>,
    pub(super) removed: Vec<Removed>,
    pub(super) allow: Vec<Ident>,
    /// The path to the module an expansion may name.
    private: TokenStream,
    pub(super) tokens: TokenStream,
    pub(super) faulty: Faulty,
}

/// `removed("legacy", since = 3)`.
pub(super) struct Removed {
    pub(super) name: LitStr,
    pub(super) since: Version,
}

/// The whole declaration.
pub(super) struct Event<'a> {
    pub(super) attribute: &'a EventAttribute,
    pub(super) item: &'a ItemStruct,
    pub(super) serde: StructAttrs,
    pub(super) fields: Vec<EventField<'a>>,
}

impl EventAttribute {
    pub(super) fn parse(declares: Declares, tokens: TokenStream, errors: &mut Errors) -> Self {
        let grammar = declares.grammar();
        let mut attribute = Self {
            declares,
            tokens: tokens.clone(),
            ..Self::default()
        };
        let mut krate: Option<Keyed<Path>> = None;
        let faulty = for_each_key(tokens, grammar, errors, |key, input, errors| {
            if !grammar.keys.iter().any(|known| key == known) {
                return Err(declares.unknown(key));
            }
            match key.to_string().as_str() {
                "schema" => set(
                    &mut attribute.schema,
                    key,
                    value(key, input, "schema = \"order.created\"")?,
                    errors,
                ),
                "version" => set(
                    &mut attribute.version,
                    key,
                    value(key, input, "version = 1")?,
                    errors,
                ),
                "oldest" => set(
                    &mut attribute.oldest,
                    key,
                    value(key, input, "oldest = 2")?,
                    errors,
                ),
                "upcast_from" => {
                    set(
                        &mut attribute.upcast_from,
                        key,
                        value(key, input, "upcast_from = OrderCreatedV1")?,
                        errors,
                    );
                }
                "from" => set(
                    &mut attribute.from,
                    key,
                    value(key, input, "from = OrderConfirmed")?,
                    errors,
                ),
                "deprecated" => {
                    set(
                        &mut attribute.deprecated,
                        key,
                        value(key, input, "deprecated = \"use version 2\"")?,
                        errors,
                    );
                }
                "superseded" => set(&mut attribute.superseded, key, (), errors),
                "consumes" => set(&mut attribute.consumes, key, (), errors),
                "topic" => set(
                    &mut attribute.topic,
                    key,
                    value(key, input, "topic = \"orders\"")?,
                    errors,
                ),
                "routing_key" => {
                    set(
                        &mut attribute.routing_key,
                        key,
                        value(key, input, "routing_key = \"eu\"")?,
                        errors,
                    );
                }
                "crate" => set(
                    &mut krate,
                    key,
                    value(key, input, "crate = path::to::bento_core")?,
                    errors,
                ),
                "removed" => attribute.removed.extend(parse_removed(
                    key,
                    parenthesised(key, input, REMOVED_FORM)?,
                    errors,
                )?),
                "allow" => parse_allow(
                    parenthesised(key, input, "allow(lint_name)")?,
                    &mut attribute.allow,
                    errors,
                ),
                _ => return Err(grammar.unknown(key)),
            }
            Ok(())
        });
        Self {
            faulty,
            private: private(krate.as_ref(), errors),
            ..attribute
        }
    }

    /// The path to the module an expansion may name.
    pub(super) fn private(&self) -> TokenStream {
        self.private.clone()
    }

    /// The attribute that gives serde's derives the path to serde, for the event called `ident` and
    /// the types that are made for it.
    pub(super) fn serde_crate(&self, ident: &Ident) -> TokenStream {
        let private = &self.private;
        let path = match self.serde_alias(ident) {
            Some(alias) => alias.to_string(),
            None => syntax::as_written(quote!(#private::serde)),
        };
        quote!(#[serde(crate = #path)])
    }

    /// The import of serde under another name: serde takes its path as a text, in which `$crate`
    /// has no meaning.
    pub(super) fn serde_import(&self, ident: &Ident) -> TokenStream {
        let private = &self.private;
        let Some(alias) = self.serde_alias(ident) else {
            return TokenStream::new();
        };
        quote! {
            #[doc(hidden)]
            #[allow(non_snake_case, unused_imports)]
            use #private::serde as #alias;
        }
    }

    fn serde_alias(&self, ident: &Ident) -> Option<Ident> {
        let is_of_a_macro = syntax::mentions(self.private.clone(), &[syntax::MACRO_CRATE]);
        is_of_a_macro.then(|| {
            Ident::new(
                &format!("__bento_serde_of_{}", ident.unraw()),
                Span::call_site(),
            )
        })
    }

    /// The version, or 1 where there is an error about it.
    pub(super) fn version(&self) -> u32 {
        self.version
            .as_ref()
            .map_or(1, |version| version.value.number)
    }

    /// The oldest readable version by this declaration alone.
    pub(super) fn oldest(&self) -> u32 {
        self.oldest.as_ref().map_or(1, |oldest| oldest.value.number)
    }
}

fn parse_removed(
    key: &Ident,
    tokens: TokenStream,
    errors: &mut Errors,
) -> syn::Result<Option<Removed>> {
    let wrong = || syn::Error::new(key.span(), format_args!("expected `{REMOVED_FORM}`"));
    let parser = |input: syn::parse::ParseStream| {
        let name: LitStr = input.parse().map_err(|_| wrong())?;
        input.parse::<Option<syn::Token![,]>>()?;
        Ok((name, input.parse::<TokenStream>()?))
    };
    let (name, rest) = syn::parse::Parser::parse2(parser, tokens)?;
    if let Ok(second) = syn::parse::Parser::parse2(first_text, rest.clone()) {
        let second = second.to_token_stream();
        let way_out = format_args!(
            "one `removed` names one field: write `removed({second}, since = …)` beside it"
        );
        return Err(syn::Error::new_spanned(&second, way_out));
    }
    let mut since = None;
    let faulty = for_each_key(rest, &REMOVED_GRAMMAR, errors, |key, input, errors| {
        if key != "since" {
            return Err(REMOVED_GRAMMAR.unknown(key));
        }
        set(&mut since, key, value(key, input, "since = 2")?, errors);
        Ok(())
    });
    if since.is_none() && faulty.is_empty() {
        errors.at(
            name.span(),
            format_args!(
                "`removed` does not say since when: write `removed({}, since = 2)`",
                name.to_token_stream()
            ),
        );
    }
    Ok(since.map(|since| Removed {
        name,
        since: since.value,
    }))
}

/// The text at the beginning, ignoring the rest.
fn first_text(input: syn::parse::ParseStream) -> syn::Result<LitStr> {
    let text = input.parse()?;
    input.parse::<TokenStream>()?;
    Ok(text)
}

fn parse_allow(tokens: TokenStream, allow: &mut Vec<Ident>, errors: &mut Errors) {
    for_each_key(tokens, &LINTS, errors, |lint, _, _| {
        if LINTS.keys.iter().any(|known| lint == known) {
            allow.push(lint.clone());
            Ok(())
        } else {
            let known = list(LINTS.keys.iter().copied());
            Err(syn::Error::new(
                lint.span(),
                format_args!("unknown lint `{lint}`: the lints are {known}"),
            ))
        }
    });
}

impl<'a> Event<'a> {
    /// `None` if the item is not a struct with named fields.
    pub(super) fn parse(
        attribute: &'a EventAttribute,
        item: &'a Item,
        errors: &mut Errors,
    ) -> Option<Self> {
        let Item::Struct(item) = item else {
            let message = "an event is a struct with named fields: give each fact its own struct";
            errors.on(head(item), message);
            return None;
        };
        if !item.generics.params.is_empty() {
            errors.on(
                &item.generics,
                "an event has no generic parameters: its payload must be one stable shape, so \
                 name the types",
            );
        }
        let Fields::Named(fields) = &item.fields else {
            let message = "an event is a struct with named fields, so that its payload is a JSON \
                           object: write `{ … }`";
            errors.on(&item.ident, message);
            return None;
        };
        let serde = StructAttrs::parse(&item.attrs);
        let fields = fields
            .named
            .iter()
            .filter_map(|field| EventField::parse(field, &serde, errors))
            .collect();
        Some(Self {
            attribute,
            item,
            serde,
            fields,
        })
    }

    /// True if serde will report an error about one of its attributes.
    pub(super) fn is_refused_by_serde(&self) -> bool {
        self.serde.refused || self.fields.iter().any(|field| field.serde.refused)
    }

    /// The version of every change in the declaration.
    pub(super) fn changes(&self) -> impl Iterator<Item = Version> {
        let fields = self.fields.iter().flat_map(EventField::versions);
        fields.chain(self.attribute.removed.iter().map(|removed| removed.since))
    }

    /// The fields that are in the payload under a name of their own.
    pub(super) fn named_fields(&self) -> impl Iterator<Item = &EventField<'a>> {
        self.fields.iter().filter(|field| field.serde.has_name())
    }
}

/// The keyword and the name of an item, for the span of an error.
fn head(item: &Item) -> TokenStream {
    match item {
        Item::Enum(Enum {
            enum_token, ident, ..
        }) => quote!(#enum_token #ident),
        Item::Union(Union {
            union_token, ident, ..
        }) => quote!(#union_token #ident),
        other => {
            let span = other.span();
            quote_spanned!(span=> item)
        }
    }
}
