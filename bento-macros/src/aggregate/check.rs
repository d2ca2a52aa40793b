//! Checks of an aggregate: its id, its version, its pending events, its name.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::{Attribute, Path};

use super::field::AggregateField;
use super::input::{Aggregate, NamedEvent};
use super::snapshots_check;
use crate::case::{is_lower_snake, pascal, snake};
use crate::diagnostics::{Errors, list, near_match};
use crate::keyed::Keyed;
use crate::syntax;

/// The most characters of the column that carries an aggregate type.
const TYPE_LENGTH_MAX: usize = 128;

/// A checked aggregate. Parts with an error are missing.
pub(super) struct Checked<'a> {
    pub(super) aggregate: &'a Aggregate<'a>,
    /// The names of the fields of the id; empty where there is an error about the id.
    pub(super) id: Vec<&'a Ident>,
    /// The field that counts the events.
    pub(super) version: Option<&'a AggregateField<'a>>,
    /// The field of type `PendingEvents`; `None` where there is an error about it.
    pub(super) pending: Option<&'a AggregateField<'a>>,
    pub(super) aggregate_type: String,
    pub(super) event_enum: Ident,
    /// Each event once.
    pub(super) events: Vec<Listed<'a>>,
    /// True if the list of events is missing or has an error: the events are unknown then.
    pub(super) raises_anything: bool,
    /// True if there is an error about any part of the aggregate.
    pub(super) is_faulty: bool,
}

impl Checked<'_> {
    /// True if the aggregate is a struct with named fields and without generics; anything else has
    /// an error.
    pub(super) fn has_a_type(&self) -> bool {
        self.aggregate.fields.is_some() && self.aggregate.head.generics.params.is_empty()
    }

    /// True if it is declared `event_sourced`, and can be.
    pub(super) fn is_event_sourced(&self) -> bool {
        self.aggregate.is_event_sourced() && self.has_a_type()
    }

    /// The fields of the id.
    pub(super) fn id_fields(&self) -> impl Iterator<Item = &AggregateField<'_>> {
        let fields = self.aggregate.fields();
        let named = |id: &&Ident| fields.iter().find(|field| field.ident == *id);
        self.id.iter().filter_map(named)
    }
}

/// An event in `events(…)` and its variant.
pub(super) struct Listed<'a> {
    pub(super) cfgs: &'a [Attribute],
    pub(super) path: &'a Path,
    pub(super) variant: &'a Ident,
    /// The place in the list.
    pub(super) position: usize,
}

pub(super) fn check<'a>(aggregate: &'a Aggregate<'a>, errors: &mut Errors) -> Checked<'a> {
    check_order(aggregate, errors);
    let aggregate_type = aggregate_type(aggregate, errors);
    let id = id(aggregate, errors);
    let version = version(aggregate, &id, errors);
    check_event_sourced(aggregate, &id, errors);
    snapshots_check::check(aggregate, errors);
    let pending = pending(aggregate, errors);
    let events = events(aggregate, errors);
    let event_enum = event_enum(aggregate, &aggregate_type, &events, errors);
    Checked {
        raises_anything: aggregate.attribute.lacks_events || aggregate.attribute.events.is_none(),
        is_faulty: !errors.is_empty(),
        id,
        version,
        pending,
        event_enum,
        events,
        aggregate_type,
        aggregate,
    }
}

/// Checks that a model is derived below `#[aggregate]`, which has to hide the pending events from
/// SeaORM first.
fn check_order(aggregate: &Aggregate, errors: &mut Errors) {
    if !aggregate.stands_below_its_derive() {
        return;
    }
    let is_hidden = aggregate
        .fields()
        .iter()
        .filter(|field| field.keeps_events())
        .all(|field| field.is_ignored);
    let sea_orm = if is_hidden {
        ""
    } else {
        ", and SeaORM's errors about the pending events are gone"
    };
    errors.at(
        Span::call_site(),
        format_args!(
            "`#[aggregate]` stands above `#[sea_orm::model]` and above the derives of a model: \
             move it to the top{sea_orm}"
        ),
    );
}

/// `id = …`, else `#[aggregate(id)]`, else the primary key of the model, else the field named `id`.
fn id<'a>(aggregate: &'a Aggregate<'a>, errors: &mut Errors) -> Vec<&'a Ident> {
    let Some(fields) = &aggregate.fields else {
        return Vec::new();
    };
    let marked: Vec<_> = fields
        .iter()
        .filter(|field| field.marked_id.is_some())
        .collect();
    if let Some(id) = &aggregate.attribute.id {
        if let Some(field) = marked.first() {
            errors.on(
                field.marked_id,
                "the id is named twice: keep `id = …` above, or this mark",
            );
        }
        return id
            .value
            .iter()
            .filter_map(|name| field_named(aggregate, name, errors))
            .collect();
    }
    if let [_, others @ ..] = marked.as_slice()
        && !others.is_empty()
    {
        let names = marked
            .iter()
            .map(|field| field.ident.to_string())
            .collect::<Vec<_>>()
            .join(", ");
        for field in others {
            errors.on(
                field.marked_id,
                format_args!(
                    "an aggregate has one id: for a composite key write `#[aggregate(id = \
                     ({names}), …)]`, and no marks"
                ),
            );
        }
    }
    if let Some(field) = marked.first() {
        return vec![field.ident];
    }
    let primary_key: Vec<_> = fields
        .iter()
        .filter(|field| field.is_primary_key)
        .map(|field| field.ident)
        .collect();
    if !primary_key.is_empty() {
        return primary_key;
    }
    let id: Vec<_> = fields
        .iter()
        .map(|field| field.ident)
        .filter(|ident| *ident == "id")
        .collect();
    if id.is_empty() && !aggregate.attribute.faulty.explains("id") {
        errors.at(
            Span::call_site(),
            "an aggregate has an id: mark the field with `#[aggregate(id)]`, \
             or name the fields of a composite key in `id = (a, b)`",
        );
    }
    id
}

fn field_named<'a>(
    aggregate: &'a Aggregate<'a>,
    name: &Ident,
    errors: &mut Errors,
) -> Option<&'a Ident> {
    let found = aggregate
        .fields()
        .iter()
        .find(|field| field.ident == name)
        .map(|field| field.ident);
    if found.is_none() {
        let names: Vec<String> = aggregate
            .fields()
            .iter()
            .map(|field| field.ident.to_string())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = near_match(&name.to_string(), &names)
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        let names = list(names);
        errors.at(
            name.span(),
            format_args!(
                "`{}` has no field `{name}`: the fields are {names}{hint}",
                aggregate.head.ident
            ),
        );
    }
    found
}

/// The field marked `#[aggregate(version)]`.
fn version<'a>(
    aggregate: &'a Aggregate<'a>,
    id: &[&Ident],
    errors: &mut Errors,
) -> Option<&'a AggregateField<'a>> {
    let marked: Vec<_> = aggregate
        .fields()
        .iter()
        .filter(|field| field.marked_version.is_some())
        .collect();
    let (first, others) = marked.split_first()?;
    for field in others {
        errors.on(
            field.marked_version,
            "an aggregate has one version: remove this mark",
        );
    }
    if first.marked_id.is_some() || id.contains(&first.ident) {
        errors.on(
            first.marked_version,
            "the id cannot be the version: mark another field, as in `version: i64`",
        );
        return None;
    }
    if first.is_ignored {
        errors.on(
            first.marked_version,
            "the version is a column: remove `#[sea_orm(ignore)]` from this field",
        );
        return None;
    }
    Some(first)
}

/// Checks that an event-sourced aggregate has a version, and an id before its row is there.
fn check_event_sourced(aggregate: &Aggregate, id: &[&Ident], errors: &mut Errors) {
    if !aggregate.is_event_sourced() || aggregate.fields.is_none() {
        return;
    }
    if let Some(id) = id.iter().find(|id| aggregate.is_generated(id)) {
        errors.on(
            id,
            "the database makes this id when the row is inserted, and the events of an \
             event-sourced aggregate are stored under its id before: make the id in the \
             application, as in `Uuid::now_v7()`, and say so with `#[sea_orm(primary_key, \
             auto_increment = false)]`",
        );
    }
    let is_versioned = aggregate
        .fields()
        .iter()
        .any(|field| field.marked_version.is_some());
    let is_explained = aggregate.attribute.faulty.explains("version");
    if let Some(Keyed { key, .. }) = &aggregate.attribute.event_sourced
        && !is_versioned
        && !is_explained
    {
        errors.on(
            key,
            "an event-sourced aggregate counts its events: add a field \
             `#[aggregate(version)] version: i64`",
        );
    }
}

/// The field marked `#[aggregate(events)]`, else that of type `PendingEvents`.
fn pending<'a>(
    aggregate: &'a Aggregate<'a>,
    errors: &mut Errors,
) -> Option<&'a AggregateField<'a>> {
    let fields = aggregate.fields.as_ref()?;
    let pending: Vec<&AggregateField> =
        fields.iter().filter(|field| field.keeps_events()).collect();
    match pending.as_slice() {
        [field] => Some(field),
        [] => {
            errors.at(
                Span::call_site(),
                "an aggregate keeps the events it has raised: add a field `events: \
                 PendingEvents`, filled with `PendingEvents::default()`; under an alias of the \
                 type mark it `#[aggregate(events)]`",
            );
            None
        }
        [first, others @ ..] => {
            for field in others {
                errors.on(
                    field.ty,
                    "an aggregate has one field of type `PendingEvents`: remove this one",
                );
            }
            Some(first)
        }
    }
}

/// `name`, else the table of the model, else the struct's name in snake case.
fn aggregate_type(aggregate: &Aggregate, errors: &mut Errors) -> String {
    if let Some(name) = &aggregate.attribute.name {
        let text = name.value.value();
        let way_out = format!(
            "write `lower_snake`, as in `name = \"{}\"`",
            stable_name_like(&text)
        );
        check_type(&text, name.value.span(), &way_out, errors);
        return text;
    }
    let sea_orm = aggregate
        .head
        .attrs
        .iter()
        .filter(|attr| attr.path().is_ident("sea_orm"));
    if let Some(table) = sea_orm
        .filter_map(|attr| syntax::text_argument(attr, "table_name"))
        .next()
    {
        check_derived_type(&table.value(), table.span(), errors);
        return table.value();
    }
    let ident = aggregate.head.ident.unraw();
    let from_ident = snake(&ident.to_string());
    if aggregate.attribute.faulty.explains("name") {
        return from_ident;
    }
    if ident == "Model" {
        errors.on(
            aggregate.head.ident,
            "`Model` does not say what the aggregate is: add `name = \"order\"` to \
             `#[aggregate(…)]`, or `#[sea_orm(table_name = \"…\")]`",
        );
    } else {
        check_derived_type(&from_ident, ident.span(), errors);
    }
    from_ident
}

fn check_derived_type(name: &str, span: Span, errors: &mut Errors) {
    let like = stable_name_like(name);
    let way_out =
        format!("say what the aggregate is called with `#[aggregate(name = \"{like}\", …)]`");
    check_type(name, span, &way_out, errors);
}

fn check_type(name: &str, span: Span, way_out: &str, errors: &mut Errors) {
    if !is_lower_snake(name) {
        errors.at(
            span,
            format_args!("`{name}` cannot be the stable name of an aggregate type: {way_out}"),
        );
    } else if name.len() > TYPE_LENGTH_MAX {
        errors.at(
            span,
            format_args!(
                "an aggregate type has at most {TYPE_LENGTH_MAX} characters, this one has {}",
                name.len()
            ),
        );
    }
}

/// A stable name made of `name`, to be shown in a message.
fn stable_name_like(name: &str) -> String {
    let words = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let like = words.map(snake).collect::<Vec<_>>().join("_");
    if name.is_ascii() && is_lower_snake(&like) {
        like
    } else {
        "order".to_owned()
    }
}

/// `event_enum`, else the name of the struct, or of the aggregate, with `Event` behind it.
fn event_enum(
    aggregate: &Aggregate,
    aggregate_type: &str,
    events: &[Listed],
    errors: &mut Errors,
) -> Ident {
    let ident = aggregate.head.ident;
    let given = aggregate
        .attribute
        .event_enum
        .as_ref()
        .map(|event_enum| &event_enum.value);
    let event_enum = given.cloned().unwrap_or_else(|| {
        let name = if ident == "Model" {
            pascal(aggregate_type)
        } else {
            ident.unraw().to_string()
        };
        syn::parse_str(&format!("{name}Event"))
            .unwrap_or_else(|_| Ident::new("ModelEvent", ident.span()))
    });
    let event = events
        .iter()
        .find(|listed| listed.path.is_ident(&event_enum));
    if event.is_none() && *ident != event_enum {
        return event_enum;
    }
    let other = if event.is_some() {
        "an event"
    } else {
        "the aggregate"
    };
    let message = format!(
        "`{event_enum}` is {other}, and the enum of all events needs a name of its own: \
         choose one with `event_enum = …`"
    );
    match (given, event) {
        (None, Some(event)) => errors.on(event.path, message),
        _ => errors.at(event_enum.span(), message),
    }
    quote::format_ident!("__BentoEventsOf{}", ident.unraw())
}

fn events<'a>(aggregate: &'a Aggregate<'a>, errors: &mut Errors) -> Vec<Listed<'a>> {
    let Some(events) = &aggregate.attribute.events else {
        let is_elsewhere = aggregate.fields().iter().any(|field| field.lists_events);
        if !is_elsewhere && !aggregate.attribute.faulty.explains("events") {
            let message =
                "an aggregate says which events it raises: add `events(OrderCreated, OrderPaid)`";
            errors.at(Span::call_site(), message);
        }
        return Vec::new();
    };
    if events.value.is_empty() && !aggregate.attribute.lacks_events {
        errors.at(
            events.key.span(),
            "an aggregate raises events: name at least one in `events(…)`",
        );
    }
    let mut listed: Vec<Listed> = Vec::new();
    for NamedEvent { cfgs, path } in &events.value {
        let Some(variant) = path.segments.last().map(|segment| &segment.ident) else {
            continue;
        };
        // Of two under `#[cfg]` there may be one in each build.
        let is_rival = |other: &&Listed| {
            other.variant == variant && (cfgs.is_empty() || other.cfgs.is_empty())
        };
        match listed.iter().find(is_rival) {
            Some(other) if other.path == path => {
                errors.on(path, format_args!("`{variant}` is listed twice: keep one"))
            }
            Some(_) => errors.on(
                path,
                format_args!(
                    "two events are called `{variant}`: import one under another name \
                              with `use … as …`"
                ),
            ),
            None => listed.push(Listed {
                cfgs,
                path,
                variant,
                position: listed.len(),
            }),
        }
    }
    listed
}
