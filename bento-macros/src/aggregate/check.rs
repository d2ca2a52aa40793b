//! Which field is the id, which the pending events, and what the aggregate is called.

use proc_macro2::{Ident, Span};
use syn::{LitStr, Path};

use super::input::{Aggregate, AggregateField};
use crate::case::{is_lower_snake, pascal, snake};
use crate::diagnostics::{Errors, list, near_match};
use crate::syntax;

/// What fits the column that carries an aggregate type.
const TYPE_LENGTH_MAX: usize = 128;

/// An aggregate with every question answered, as far as there was an answer.
pub(super) struct Checked<'a> {
    pub(super) aggregate: &'a Aggregate<'a>,
    /// Names of the fields that identify it; none where there is an error about it.
    pub(super) id: Vec<&'a Ident>,
    /// The field that counts its events.
    pub(super) version: Option<&'a AggregateField<'a>>,
    /// The field of type `PendingEvents`; `None` where there is an error about it.
    pub(super) pending: Option<&'a Ident>,
    pub(super) aggregate_type: String,
    pub(super) event_enum: Ident,
    /// Each event once.
    pub(super) events: Vec<Listed<'a>>,
}

/// An event in `events(…)` and its variant.
pub(super) struct Listed<'a> {
    pub(super) path: &'a Path,
    pub(super) variant: &'a Ident,
}

pub(super) fn check<'a>(aggregate: &'a Aggregate<'a>, errors: &mut Errors) -> Checked<'a> {
    let aggregate_type = aggregate_type(aggregate, errors);
    let id = id(aggregate, errors);
    Checked {
        version: version(aggregate, &id, errors),
        id,
        pending: pending(aggregate, errors),
        event_enum: event_enum(aggregate, &aggregate_type),
        events: events(aggregate, errors),
        aggregate_type,
        aggregate,
    }
}

/// `id = …`, else `#[aggregate(id)]`, else the primary key of the model, else the field named `id`.
fn id<'a>(aggregate: &Aggregate<'a>, errors: &mut Errors) -> Vec<&'a Ident> {
    let marked: Vec<_> = aggregate.fields.iter().filter(|field| field.marked_id.is_some()).collect();
    if let Some(id) = &aggregate.attribute.id {
        if let Some(field) = marked.first() {
            errors.on(field.marked_id, "the id is named twice: keep `id = …` above, or this mark");
        }
        return id.value.iter().filter_map(|name| field_named(aggregate, name, errors)).collect();
    }
    if let [_, others @ ..] = marked.as_slice()
        && !others.is_empty()
    {
        let names = marked.iter().map(|field| field.ident.to_string()).collect::<Vec<_>>().join(", ");
        for field in others {
            errors.on(
                field.marked_id,
                format_args!(
                    "an aggregate has one id: for a composite key write `#[aggregate(id = ({names}), …)]`, and no marks"
                ),
            );
        }
    }
    if let Some(field) = marked.first() {
        return vec![field.ident];
    }
    let primary_key: Vec<_> =
        aggregate.fields.iter().filter(|field| field.is_primary_key).map(|field| field.ident).collect();
    if !primary_key.is_empty() {
        return primary_key;
    }
    let id: Vec<_> = aggregate.fields.iter().map(|field| field.ident).filter(|ident| *ident == "id").collect();
    if id.is_empty() && !aggregate.attribute.faulty.explains("id") {
        errors.at(
            Span::call_site(),
            "an aggregate has an id: mark the field with `#[aggregate(id)]`, \
             or name the fields of a composite key in `id = (a, b)`",
        );
    }
    id
}

fn field_named<'a>(aggregate: &Aggregate<'a>, name: &Ident, errors: &mut Errors) -> Option<&'a Ident> {
    let found = aggregate.fields.iter().find(|field| field.ident == name).map(|field| field.ident);
    if found.is_none() {
        let names: Vec<String> = aggregate.fields.iter().map(|field| field.ident.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint =
            near_match(&name.to_string(), &names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let names = list(names);
        errors.at(
            name.span(),
            format_args!("`{}` has no field `{name}`: the fields are {names}{hint}", aggregate.item.ident),
        );
    }
    found
}

/// The field marked `#[aggregate(version)]`.
fn version<'a>(aggregate: &'a Aggregate<'a>, id: &[&Ident], errors: &mut Errors) -> Option<&'a AggregateField<'a>> {
    let marked: Vec<_> = aggregate.fields.iter().filter(|field| field.marked_version.is_some()).collect();
    let (first, others) = marked.split_first()?;
    for field in others {
        errors.on(field.marked_version, "an aggregate has one version: remove this mark");
    }
    if first.marked_id.is_some() || id.contains(&first.ident) {
        errors.on(first.marked_version, "the id cannot be the version: mark another field, as in `version: i64`");
        return None;
    }
    if first.is_ignored {
        errors.on(first.marked_version, "the version is a column: remove `#[sea_orm(ignore)]` from this field");
        return None;
    }
    Some(first)
}

fn pending<'a>(aggregate: &Aggregate<'a>, errors: &mut Errors) -> Option<&'a Ident> {
    let pending: Vec<&AggregateField> = aggregate.fields.iter().filter(|field| field.is_pending).collect();
    match pending.as_slice() {
        [field] => Some(field.ident),
        [] => {
            errors.at(
                Span::call_site(),
                "an aggregate keeps the events it has raised: add a field `events: PendingEvents`, \
                 filled with `PendingEvents::default()`",
            );
            None
        }
        [_, others @ ..] => {
            for field in others {
                errors.on(field.ty, "an aggregate has one field of type `PendingEvents`: remove this one");
            }
            None
        }
    }
}

/// `name`, else the table of the model, else the struct's name in snake case.
fn aggregate_type(aggregate: &Aggregate, errors: &mut Errors) -> String {
    if let Some(name) = &aggregate.attribute.name {
        check_type(&name.value, "write `lower_snake`, as in `name = \"order\"`", errors);
        return name.value.value();
    }
    let sea_orm = aggregate.item.attrs.iter().filter(|attr| attr.path().is_ident("sea_orm"));
    if let Some(table) = sea_orm.filter_map(|attr| syntax::text_argument(attr, "table_name")).next() {
        check_type(&table, "say what the aggregate is called with `#[aggregate(name = \"order\", …)]`", errors);
        return table.value();
    }
    let ident = aggregate.item.ident.to_string();
    if ident == "Model" && !aggregate.attribute.faulty.explains("name") {
        errors.on(
            &aggregate.item.ident,
            "`Model` does not say what the aggregate is: add `name = \"order\"` to `#[aggregate(…)]`, \
             or `#[sea_orm(table_name = \"…\")]`",
        );
    }
    snake(&ident)
}

fn check_type(name: &LitStr, way_out: &str, errors: &mut Errors) {
    let text = name.value();
    if !text.split('.').all(is_lower_snake) {
        errors.at(name.span(), format_args!("`{text}` is no stable name for an aggregate type: {way_out}"));
    } else if text.len() > TYPE_LENGTH_MAX {
        errors.at(
            name.span(),
            format_args!("an aggregate type has at most {TYPE_LENGTH_MAX} characters, this one has {}", text.len()),
        );
    }
}

fn event_enum(aggregate: &Aggregate, aggregate_type: &str) -> Ident {
    if let Some(event_enum) = &aggregate.attribute.event_enum {
        return event_enum.value.clone();
    }
    let ident = &aggregate.item.ident;
    let name = if ident == "Model" { pascal(aggregate_type) } else { ident.to_string() };
    syn::parse_str(&format!("{name}Event")).unwrap_or_else(|_| Ident::new("ModelEvent", ident.span()))
}

fn events<'a>(aggregate: &Aggregate<'a>, errors: &mut Errors) -> Vec<Listed<'a>> {
    let Some(events) = &aggregate.attribute.events else {
        if !aggregate.attribute.faulty.explains("events") {
            let message = "an aggregate says which events it raises: add `events(OrderCreated, OrderPaid)`";
            errors.at(Span::call_site(), message);
        }
        return Vec::new();
    };
    if events.value.is_empty() {
        errors.at(events.key.span(), "an aggregate raises events: name at least one in `events(…)`");
    }
    let mut listed: Vec<Listed> = Vec::new();
    for path in &events.value {
        let Some(variant) = path.segments.last().map(|segment| &segment.ident) else { continue };
        match listed.iter().find(|other| other.variant == variant) {
            Some(other) if other.path == path => errors.on(path, format_args!("`{variant}` is listed twice: keep one")),
            Some(_) => errors.on(
                path,
                format_args!("two events are called `{variant}`: import one under another name with `use … as …`"),
            ),
            None => listed.push(Listed { path, variant }),
        }
    }
    listed
}
