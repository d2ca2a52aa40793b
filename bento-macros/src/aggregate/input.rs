//! The attribute and the item as `#[aggregate]` understands them.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, Fields, Generics, Item, LitStr, Path, Token, Visibility};

use super::field::{AggregateField, KEYS_OF_THE_STRUCT};
use super::model;
use super::snapshots_key::SnapshotsKey;
use crate::diagnostics::{Errors, near_match};
use crate::door::private;
use crate::keyed::{Faulty, Grammar, Keyed, for_each_key, parenthesised, set, value};
use crate::syntax;

const GRAMMAR: Grammar = Grammar {
    attribute: "#[aggregate(…)]",
    keys: &KEYS_OF_THE_STRUCT,
    form: EVENTS_FORM,
    meant: &[],
};

const EVENTS_FORM: &str = "events(OrderCreated, OrderPaid)";

/// `#[aggregate(…)]`.
#[derive(Default)]
pub(super) struct AggregateAttribute {
    pub(super) events: Option<Keyed<Vec<NamedEvent>>>,
    pub(super) id: Option<Keyed<Vec<Ident>>>,
    pub(super) name: Option<Keyed<LitStr>>,
    pub(super) event_enum: Option<Keyed<Ident>>,
    pub(super) event_sourced: Option<Keyed<()>>,
    pub(super) snapshots: Option<Keyed<SnapshotsKey>>,
    /// The path to the module an expansion may name.
    private: TokenStream,
    pub(super) faulty: Faulty,
    /// True if an event in the list was not understood.
    pub(super) lacks_events: bool,
}

/// `billing::OrderPaid`, or `#[cfg(feature = "billing")] OrderPaid`.
pub(super) struct NamedEvent {
    pub(super) cfgs: Vec<Attribute>,
    pub(super) path: Path,
}

/// The whole declaration.
pub(super) struct Aggregate<'a> {
    pub(super) attribute: &'a AggregateAttribute,
    pub(super) item: &'a Item,
    pub(super) head: Head<'a>,
    /// `None` where the item has no named fields, and there is an error about it.
    pub(super) fields: Option<Vec<AggregateField<'a>>>,
}

/// The parts that a struct, an enum and a union share.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) attrs: &'a [Attribute],
    pub(super) vis: &'a Visibility,
    pub(super) ident: &'a Ident,
    pub(super) generics: &'a Generics,
}

impl AggregateAttribute {
    pub(super) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut attribute = Self::default();
        let mut krate = None;
        let faulty = for_each_key(tokens, &GRAMMAR, errors, |key, input, errors| {
            attribute.parse_key(key, input, &mut krate, errors)
        });
        Self {
            faulty,
            private: private(krate.as_ref(), errors),
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
        if key == "event" && input.peek(Token![-]) {
            errors.at(
                key.span(),
                "expected `event_sourced`, with `_` and not with `-`",
            );
            value_tokens(input)?;
            set(&mut self.event_sourced, key, (), errors);
            return Ok(());
        }
        match meant(key, errors)? {
            "events" => {
                let events = self.parse_events(key, input, errors)?;
                set(&mut self.events, key, events, errors);
            }
            "id" => {
                let Fieldset(id) = value(key, input, "id = (tenant_id, number)")?;
                set(&mut self.id, key, id, errors);
            }
            "name" => set(
                &mut self.name,
                key,
                value(key, input, "name = \"order\"")?,
                errors,
            ),
            "event_enum" => {
                set(
                    &mut self.event_enum,
                    key,
                    value(key, input, "event_enum = OrderEvent")?,
                    errors,
                );
            }
            "event_sourced" => {
                set(&mut self.event_sourced, key, (), errors);
                refuse_value(key, input, errors)?;
            }
            "snapshots" => {
                let snapshots = SnapshotsKey::parse(key, input, errors)?;
                set(&mut self.snapshots, key, snapshots, errors);
            }
            _ => set(
                krate,
                key,
                value(key, input, "crate = path::to::bento_core")?,
                errors,
            ),
        }
        Ok(())
    }

    /// Reads a list in another form too, so that its events have no errors of their own.
    fn parse_events(
        &mut self,
        key: &Ident,
        input: ParseStream,
        errors: &mut Errors,
    ) -> syn::Result<Vec<NamedEvent>> {
        let tokens = if input.peek(syn::token::Paren) {
            parenthesised(key, input, EVENTS_FORM)?
        } else {
            errors.at(key.span(), format_args!("expected `{EVENTS_FORM}`"));
            input.parse::<Option<Token![=]>>()?;
            value_tokens(input)?
        };
        let (events, is_whole) = NamedEvent::parse_list(tokens, errors)?;
        self.lacks_events |= !is_whole;
        Ok(events)
    }

    /// The path to the module an expansion may name.
    pub(super) fn private(&self) -> TokenStream {
        self.private.clone()
    }
}

/// The known key that `key` is, or was probably meant to be, which is an error.
fn meant(key: &Ident, errors: &mut Errors) -> syn::Result<&'static str> {
    let name = key.to_string();
    if let Some(known) = GRAMMAR.keys.iter().find(|known| **known == name) {
        return Ok(known);
    }
    if name == "version" {
        return Err(syn::Error::new(
            key.span(),
            "the version is a field: write `#[aggregate(version)]` on it, as in \
             `#[aggregate(version)] version: i64`",
        ));
    }
    let unknown = GRAMMAR.unknown(key);
    match near_match(&name, GRAMMAR.keys) {
        Some(near) => {
            errors.push(unknown);
            Ok(near)
        }
        None => Err(unknown),
    }
}

/// Reads over a value behind a key that has none.
fn refuse_value(key: &Ident, input: ParseStream, errors: &mut Errors) -> syn::Result<()> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(());
    }
    let message = format!("`{key}` has no value: write `{key}` alone, or leave it out");
    errors.at(key.span(), message);
    input.parse::<Option<Token![=]>>()?;
    value_tokens(input).map(drop)
}

/// The tokens up to the next comma, without brackets or parentheses around them.
fn value_tokens(input: ParseStream) -> syn::Result<TokenStream> {
    let mut tokens = Vec::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.push(input.parse::<TokenTree>()?);
    }
    Ok(match tokens.as_slice() {
        [TokenTree::Group(group)] => group.stream(),
        _ => tokens.into_iter().collect(),
    })
}

/// `number`, or `(tenant_id, number)`.
struct Fieldset(Vec<Ident>);

impl syn::parse::Parse for Fieldset {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        if !input.peek(syn::token::Paren) {
            return Ok(Self(vec![input.parse()?]));
        }
        let content;
        syn::parenthesized!(content in input);
        let fields = content.parse_terminated(<Ident as syn::parse::Parse>::parse, Token![,])?;
        if fields.is_empty() {
            return Err(content.error("no field"));
        }
        Ok(Self(fields.into_iter().collect()))
    }
}

impl NamedEvent {
    /// The events of a list; `false` if one of them was not understood.
    fn parse_list(tokens: TokenStream, errors: &mut Errors) -> syn::Result<(Vec<Self>, bool)> {
        let mut is_whole = true;
        let list = |input: ParseStream| {
            let mut events = Vec::new();
            while !input.is_empty() {
                match Self::parse(input, errors) {
                    Ok(event) => events.push(event),
                    Err(error) => {
                        is_whole = false;
                        errors.push(error);
                        value_tokens(input)?;
                    }
                }
                input.parse::<Option<Token![,]>>()?;
            }
            Ok(events)
        };
        let events = list.parse2(tokens)?;
        Ok((events, is_whole))
    }

    fn parse(input: ParseStream, errors: &mut Errors) -> syn::Result<Self> {
        let cfgs = input.call(Attribute::parse_outer)?;
        for attr in cfgs.iter().filter(|attr| !attr.path().is_ident("cfg")) {
            errors.on(
                attr,
                "before an event in `events(…)` stands `#[cfg(…)]` or nothing: remove this",
            );
        }
        let cfgs = cfgs
            .into_iter()
            .filter(|attr| attr.path().is_ident("cfg"))
            .collect();
        let path = Self::parse_path(input, errors)?;
        if !input.is_empty() && !input.peek(Token![,]) {
            let event = syntax::as_written(&path);
            return Err(input.error(format_args!(
                "expected `,` after `{event}`: an event is listed by its path alone"
            )));
        }
        Ok(Self { cfgs, path })
    }

    fn parse_path(input: ParseStream, errors: &mut Errors) -> syn::Result<Path> {
        if let Some(text) = input.parse::<Option<LitStr>>()? {
            errors.at(
                text.span(),
                "an event is listed by the path of its struct, without quotes",
            );
            return text.parse();
        }
        let span = input.span();
        let wrong = |_| {
            syn::Error::new(
                span,
                format_args!("expected the path of an event, as in `{EVENTS_FORM}`"),
            )
        };
        input.parse().map_err(wrong)
    }
}

impl<'a> Aggregate<'a> {
    /// `None` if the item is not a struct, an enum or a union.
    pub(super) fn parse(
        attribute: &'a AggregateAttribute,
        item: &'a Item,
        errors: &mut Errors,
    ) -> Option<Self> {
        const NAMED_FIELDS: &str =
            "an aggregate is a struct with named fields, one of them of type `PendingEvents`";
        let fields = match item {
            Item::Struct(item) => match &item.fields {
                Fields::Named(fields) => Some(&fields.named),
                _ => {
                    errors.on(&item.ident, NAMED_FIELDS);
                    None
                }
            },
            other => {
                let span = match other {
                    Item::Enum(item) => item.enum_token.span(),
                    Item::Union(item) => item.union_token.span(),
                    other => other.span(),
                };
                errors.on(quote_spanned!(span=> item), NAMED_FIELDS);
                None
            }
        };
        let head = Head::of(item)?;
        if !head.generics.params.is_empty() {
            errors.on(
                head.generics,
                "generic aggregates are not supported yet: name the types, or keep the generic \
                 part in a field",
            );
        }
        let fields = fields.map(|fields| {
            fields
                .iter()
                .filter_map(|field| AggregateField::parse(field, errors))
                .collect()
        });
        Some(Self {
            attribute,
            item,
            head,
            fields,
        })
    }

    /// Every named field.
    pub(super) fn fields(&self) -> &[AggregateField<'a>] {
        self.fields.as_deref().unwrap_or_default()
    }

    /// True if it is declared `event_sourced`, above the struct or, which is an error, on a field.
    pub(super) fn is_event_sourced(&self) -> bool {
        self.attribute.event_sourced.is_some()
            || self.fields().iter().any(|field| field.is_event_sourced)
    }

    /// True if the database makes this part of the id: SeaORM's rule, by which only a primary key
    /// of one field is counted.
    pub(super) fn is_generated(&self, id: &Ident) -> bool {
        let mut primary_key = self.fields().iter().filter(|field| field.is_primary_key);
        match (primary_key.next(), primary_key.next()) {
            (Some(field), None) => self.is_model() && field.ident == id && field.is_counted,
            _ => false,
        }
    }

    /// True if SeaORM makes an entity of the struct.
    pub(super) fn is_model(&self) -> bool {
        model::is_model(self.head.attrs)
    }

    /// True if the struct is a model whose derive has been expanded already.
    pub(super) fn stands_below_its_derive(&self) -> bool {
        let has_primary_key = self.fields().iter().any(|field| field.is_primary_key);
        model::stands_below_its_derive(self.head.attrs, has_primary_key)
    }
}

impl<'a> Head<'a> {
    fn of(item: &'a Item) -> Option<Self> {
        let (attrs, vis, ident, generics) = match item {
            Item::Struct(item) => (&item.attrs, &item.vis, &item.ident, &item.generics),
            Item::Enum(item) => (&item.attrs, &item.vis, &item.ident, &item.generics),
            Item::Union(item) => (&item.attrs, &item.vis, &item.ident, &item.generics),
            _ => return None,
        };
        Some(Self {
            attrs,
            vis,
            ident,
            generics,
        })
    }
}
