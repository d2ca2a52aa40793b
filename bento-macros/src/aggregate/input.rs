//! The attribute and the item as `#[aggregate]` understands them.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, Fields, Generics, Item, LitStr, Path, Token, Type, Visibility};

use super::model;
use crate::diagnostics::{Errors, near_match};
use crate::door::private;
use crate::keyed::{Faulty, Grammar, Keyed, for_each_key, parenthesised, set, value};
use crate::syntax;

const GRAMMAR: Grammar = Grammar {
    attribute: "#[aggregate(…)]",
    keys: &["events", "id", "name", "event_enum", "crate"],
    form: EVENTS_FORM,
};

const FIELD_GRAMMAR: Grammar = Grammar {
    attribute: "#[aggregate(…)]",
    keys: &["id", "version", "events"],
    form: "id",
};

const EVENTS_FORM: &str = "events(OrderCreated, OrderPaid)";

/// The types of a primary key that SeaORM does not let the database count.
const NOT_COUNTED: [&str; 2] = ["String", "Uuid"];

/// `#[aggregate(…)]`.
#[derive(Default)]
pub(super) struct AggregateAttribute {
    pub(super) events: Option<Keyed<Vec<NamedEvent>>>,
    pub(super) id: Option<Keyed<Vec<Ident>>>,
    pub(super) name: Option<Keyed<LitStr>>,
    pub(super) event_enum: Option<Keyed<Ident>>,
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

/// A field and what marks it.
pub(super) struct AggregateField<'a> {
    pub(super) ident: &'a Ident,
    pub(super) ty: &'a Type,
    /// `#[aggregate(id)]`, and its place.
    pub(super) marked_id: Option<&'a Attribute>,
    /// `#[aggregate(version)]`, and its place.
    pub(super) marked_version: Option<&'a Attribute>,
    /// `#[aggregate(events)]`, and its place.
    pub(super) marked_events: Option<&'a Attribute>,
    /// True if the list of events stands here, which is an error.
    pub(super) lists_events: bool,
    /// `#[sea_orm(primary_key)]`.
    pub(super) is_primary_key: bool,
    /// True if SeaORM lets the database count a primary key of this field alone.
    pub(super) is_counted: bool,
    /// `#[sea_orm(ignore)]`.
    pub(super) is_ignored: bool,
    /// True if the type is called `PendingEvents`.
    pub(super) is_pending: bool,
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

impl<'a> AggregateField<'a> {
    fn parse(field: &'a syn::Field, errors: &mut Errors) -> Option<Self> {
        let sea_orm = || {
            field
                .attrs
                .iter()
                .filter(|attr| attr.path().is_ident("sea_orm"))
        };
        let says = |argument: &str| sea_orm().any(|attr| syntax::has_argument(attr, argument));
        let auto_increment =
            sea_orm().find_map(|attr| syntax::flag_argument(attr, "auto_increment"));
        let mut parsed = Self {
            ident: field.ident.as_ref()?,
            ty: &field.ty,
            marked_id: None,
            marked_version: None,
            marked_events: None,
            lists_events: false,
            is_primary_key: says("primary_key"),
            is_counted: auto_increment.unwrap_or_else(|| !is_one_of(&field.ty, &NOT_COUNTED)),
            is_ignored: says("ignore"),
            is_pending: syntax::is_type(&field.ty, "PendingEvents"),
        };
        for attr in &field.attrs {
            if attr.path().is_ident("aggregate") {
                parsed.parse_mark(attr, errors);
            } else if let Some(name) = mark_of_an_event(attr) {
                errors.on(
                    attr,
                    format_args!(
                        "`#[{name}(…)]` belongs to an event, and this is an aggregate: remove it"
                    ),
                );
            }
        }
        Some(parsed)
    }

    /// True if the field keeps the pending events, by its mark or by its type.
    pub(super) fn keeps_events(&self) -> bool {
        self.is_pending || self.marked_events.is_some()
    }

    fn parse_mark(&mut self, attr: &'a Attribute, errors: &mut Errors) {
        let arguments = syntax::arguments(attr);
        if arguments.is_empty() {
            errors.on(
                attr,
                "this mark says nothing: write `#[aggregate(id)]`, `#[aggregate(version)]` or \
                 `#[aggregate(events)]`",
            );
        }
        let mut means_version = false;
        let faulty = for_each_key(arguments, &FIELD_GRAMMAR, errors, |key, input, _| {
            let name = key.to_string();
            let is_of_the_struct = input.peek(syn::token::Paren) || input.peek(Token![=]);
            match name.as_str() {
                "events" if is_of_the_struct => {
                    (self.marked_events, self.lists_events) = (Some(attr), true);
                    Err(of_the_struct(key))
                }
                _ if is_of_the_struct && GRAMMAR.keys.contains(&name.as_str()) => {
                    Err(of_the_struct(key))
                }
                _ => {
                    let marked = match name.as_str() {
                        "id" => &mut self.marked_id,
                        "version" => &mut self.marked_version,
                        "events" => &mut self.marked_events,
                        _ => {
                            means_version =
                                near_match(&name, FIELD_GRAMMAR.keys) == Some("version");
                            return Err(FIELD_GRAMMAR.unknown(key));
                        }
                    };
                    *marked = Some(attr);
                    Ok(())
                }
            }
        });
        let is_marked =
            [self.marked_id, self.marked_version, self.marked_events].contains(&Some(attr));
        if is_marked || faulty.is_empty() {
            return;
        }
        // The probable meaning: no further error about a missing mark.
        let meant = if means_version {
            &mut self.marked_version
        } else {
            &mut self.marked_id
        };
        *meant = meant.or(Some(attr));
    }
}

fn of_the_struct(key: &Ident) -> syn::Error {
    let message = "belongs above the struct, in its own `#[aggregate(…)]`: a field is marked \
                   `id`, `version` or `events`";
    syn::Error::new(key.span(), format_args!("`{key}` {message}"))
}

fn is_one_of(ty: &Type, names: &[&str]) -> bool {
    names.iter().any(|name| syntax::is_type(ty, name))
}

/// True if a field keeps the pending events, by its mark or by its type.
pub(super) fn keeps_events(field: &syn::Field) -> bool {
    let is_mark = |attr: &&Attribute| {
        attr.path().is_ident("aggregate") && syntax::has_argument(attr, "events")
    };
    field.attrs.iter().any(|attr| is_mark(&attr)) || syntax::is_type(&field.ty, "PendingEvents")
}

/// The name of an attribute that only an event has.
pub(super) fn mark_of_an_event(attr: &Attribute) -> Option<&'static str> {
    ["event", "domain_event"]
        .into_iter()
        .find(|name| attr.path().is_ident(name))
}
