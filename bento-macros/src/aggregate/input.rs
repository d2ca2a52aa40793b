//! What the user wrote, as this macro understands it.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Fields, Item, ItemStruct, LitStr, Path, Token, Type};

use crate::diagnostics::Errors;
use crate::door::private;
use crate::keyed::{Faulty, Grammar, Keyed, for_each_key, parenthesised, set, value};
use crate::syntax;

const GRAMMAR: Grammar = Grammar {
    attribute: "#[aggregate(…)]",
    keys: &["events", "id", "name", "event_enum", "crate"],
    form: "events(OrderCreated, OrderPaid)",
};

const FIELD_GRAMMAR: Grammar = Grammar { attribute: "#[aggregate(…)]", keys: &["id", "version"], form: "id" };

/// The types of a primary key that SeaORM takes for none that the database counts.
const NOT_COUNTED: [&str; 2] = ["String", "Uuid"];

/// `#[aggregate(…)]`.
#[derive(Default)]
pub(super) struct AggregateAttribute {
    pub(super) events: Option<Keyed<Vec<Path>>>,
    pub(super) id: Option<Keyed<Vec<Ident>>>,
    pub(super) name: Option<Keyed<LitStr>>,
    pub(super) event_enum: Option<Keyed<Ident>>,
    /// The path to the module an expansion may name.
    private: TokenStream,
    pub(super) faulty: Faulty,
}

/// The whole declaration.
pub(super) struct Aggregate<'a> {
    pub(super) attribute: &'a AggregateAttribute,
    pub(super) item: &'a ItemStruct,
    pub(super) fields: Vec<AggregateField<'a>>,
}

/// A field and what marks it.
pub(super) struct AggregateField<'a> {
    pub(super) ident: &'a Ident,
    pub(super) ty: &'a Type,
    /// `#[aggregate(id)]`, and its place.
    pub(super) marked_id: Option<&'a syn::Attribute>,
    /// `#[aggregate(version)]`, and its place.
    pub(super) marked_version: Option<&'a syn::Attribute>,
    /// `#[sea_orm(primary_key)]`.
    pub(super) is_primary_key: bool,
    /// True if SeaORM takes a primary key of this field alone for one that the database counts.
    pub(super) is_counted: bool,
    /// `#[sea_orm(ignore)]`.
    pub(super) is_ignored: bool,
    /// Whether its type is `PendingEvents`.
    pub(super) is_pending: bool,
}

impl AggregateAttribute {
    pub(super) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut attribute = Self::default();
        let mut krate: Option<Keyed<Path>> = None;
        let faulty = for_each_key(tokens, &GRAMMAR, errors, |key, input, errors| {
            match key.to_string().as_str() {
                "events" => {
                    let events = parenthesised(key, input, "events(OrderCreated, OrderPaid)")?;
                    let events = syn::parse::Parser::parse2(Punctuated::<Path, Token![,]>::parse_terminated, events)?;
                    set(&mut attribute.events, key, events.into_iter().collect(), errors);
                }
                "id" => {
                    let Fieldset(id) = value(key, input, "id = (tenant_id, number)")?;
                    set(&mut attribute.id, key, id, errors);
                }
                "name" => set(&mut attribute.name, key, value(key, input, "name = \"order\"")?, errors),
                "event_enum" => {
                    set(&mut attribute.event_enum, key, value(key, input, "event_enum = OrderEvent")?, errors);
                }
                "crate" => set(&mut krate, key, value(key, input, "crate = path::to::bento_core")?, errors),
                _ => return Err(GRAMMAR.unknown(key)),
            }
            Ok(())
        });
        Self { faulty, private: private(krate.as_ref(), errors), ..attribute }
    }

    /// The path to the module an expansion may name.
    pub(super) fn private(&self) -> TokenStream {
        self.private.clone()
    }
}

/// `number`, or `(tenant_id, number)`.
struct Fieldset(Vec<Ident>);

impl syn::parse::Parse for Fieldset {
    fn parse(input: syn::parse::ParseStream) -> syn::Result<Self> {
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

impl<'a> Aggregate<'a> {
    /// `None` if the item is none that could be an aggregate.
    pub(super) fn parse(attribute: &'a AggregateAttribute, item: &'a Item, errors: &mut Errors) -> Option<Self> {
        const NAMED_FIELDS: &str = "an aggregate is a struct with named fields, one of them of type `PendingEvents`";
        let Item::Struct(item) = item else {
            let span = match item {
                Item::Enum(item) => item.enum_token.span(),
                Item::Union(item) => item.union_token.span(),
                other => other.span(),
            };
            errors.on(quote_spanned!(span=> item), NAMED_FIELDS);
            return None;
        };
        let Fields::Named(fields) = &item.fields else {
            errors.on(&item.ident, NAMED_FIELDS);
            return None;
        };
        if !item.generics.params.is_empty() {
            errors.on(
                &item.generics,
                "generic aggregates are not supported yet: name the types, or keep the generic part in a field",
            );
            return None;
        }
        let fields = fields.named.iter().filter_map(|field| AggregateField::parse(field, errors)).collect();
        Some(Self { attribute, item, fields })
    }

    /// Whether SeaORM makes an entity of the struct.
    pub(super) fn is_model(&self) -> bool {
        syntax::derives(&self.item.attrs, "DeriveEntityModel") || self.item.attrs.iter().any(is_sea_orm_model)
    }
}

/// `#[sea_orm::model]`, whatever the path to it.
fn is_sea_orm_model(attr: &syn::Attribute) -> bool {
    let path = attr.path();
    path.segments.len() > 1 && syntax::last_ident(path, "model")
}

impl<'a> AggregateField<'a> {
    fn parse(field: &'a syn::Field, errors: &mut Errors) -> Option<Self> {
        let (mut marked_id, mut marked_version) = (None, None);
        for attr in field.attrs.iter().filter(|attr| attr.path().is_ident("aggregate")) {
            let faulty = for_each_key(syntax::arguments(attr), &FIELD_GRAMMAR, errors, |key, _, _| {
                match key.to_string().as_str() {
                    "id" => marked_id = Some(attr),
                    "version" => marked_version = Some(attr),
                    _ => return Err(FIELD_GRAMMAR.unknown(key)),
                }
                Ok(())
            });
            // What was probably meant, so that nothing is said to be missing.
            marked_id = marked_id.or((!faulty.is_empty() && marked_version.is_none()).then_some(attr));
        }
        let sea_orm = || field.attrs.iter().filter(|attr| attr.path().is_ident("sea_orm"));
        let says = |argument: &str| sea_orm().any(|attr| syntax::has_argument(attr, argument));
        let auto_increment = sea_orm().find_map(|attr| syntax::flag_argument(attr, "auto_increment"));
        Some(Self {
            ident: field.ident.as_ref()?,
            ty: &field.ty,
            marked_id,
            marked_version,
            is_primary_key: says("primary_key"),
            is_counted: auto_increment.unwrap_or_else(|| !is_one_of(&field.ty, &NOT_COUNTED)),
            is_ignored: says("ignore"),
            is_pending: syntax::is_type(&field.ty, "PendingEvents"),
        })
    }
}

fn is_one_of(ty: &Type, names: &[&str]) -> bool {
    names.iter().any(|name| syntax::is_type(ty, name))
}
