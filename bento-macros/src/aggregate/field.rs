//! The fields of an aggregate, and what marks them.

use proc_macro2::Ident;
use syn::{Attribute, Token, Type};

use crate::diagnostics::{Errors, near_match};
use crate::keyed::{Grammar, for_each_key};
use crate::syntax;

/// The keys of the attribute above the struct.
pub(super) const KEYS_OF_THE_STRUCT: [&str; 7] = [
    "events",
    "event_sourced",
    "snapshots",
    "id",
    "name",
    "event_enum",
    "crate",
];

const GRAMMAR: Grammar = Grammar {
    attribute: "#[aggregate(…)]",
    keys: &["id", "version", "events"],
    form: "id",
    meant: &[],
};

/// The types of a primary key that SeaORM does not let the database count.
const NOT_COUNTED: [&str; 2] = ["String", "Uuid"];

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
    /// True if `event_sourced` stands here, which is an error.
    pub(super) is_event_sourced: bool,
    /// `#[sea_orm(primary_key)]`.
    pub(super) is_primary_key: bool,
    /// True if SeaORM lets the database count a primary key of this field alone.
    pub(super) is_counted: bool,
    /// `#[sea_orm(ignore)]`.
    pub(super) is_ignored: bool,
    /// The attribute of serde by which the field is not written, or not read.
    pub(super) serde_skips: Option<&'a Attribute>,
    /// True if the type is called `PendingEvents`.
    pub(super) is_pending: bool,
}

impl<'a> AggregateField<'a> {
    pub(super) fn parse(field: &'a syn::Field, errors: &mut Errors) -> Option<Self> {
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
            is_event_sourced: false,
            is_primary_key: says("primary_key"),
            is_counted: auto_increment.unwrap_or_else(|| !is_one_of(&field.ty, &NOT_COUNTED)),
            is_ignored: says("ignore"),
            serde_skips: field.attrs.iter().find(|attr| skips(attr)),
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
        let (mut means_version, mut means_snapshots) = (false, false);
        let faulty = for_each_key(arguments, &GRAMMAR, errors, |key, input, _| {
            let name = key.to_string();
            let is_of_the_struct = input.peek(syn::token::Paren) || input.peek(Token![=]);
            match name.as_str() {
                "events" if is_of_the_struct => {
                    (self.marked_events, self.lists_events) = (Some(attr), true);
                    Err(of_the_struct(key))
                }
                "event_sourced" => {
                    self.is_event_sourced = true;
                    Err(of_the_struct(key))
                }
                "snapshots" => {
                    means_snapshots = true;
                    Err(of_the_struct(key))
                }
                _ if is_of_the_struct && KEYS_OF_THE_STRUCT.contains(&name.as_str()) => {
                    Err(of_the_struct(key))
                }
                _ => {
                    let marked = match name.as_str() {
                        "id" => &mut self.marked_id,
                        "version" => &mut self.marked_version,
                        "events" => &mut self.marked_events,
                        _ => {
                            means_version = near_match(&name, GRAMMAR.keys) == Some("version");
                            return Err(GRAMMAR.unknown(key));
                        }
                    };
                    *marked = Some(attr);
                    Ok(())
                }
            }
        });
        let is_marked =
            [self.marked_id, self.marked_version, self.marked_events].contains(&Some(attr));
        if is_marked || faulty.is_empty() || self.is_event_sourced || means_snapshots {
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

fn skips(attr: &Attribute) -> bool {
    let says = |argument| syntax::has_argument(attr, argument);
    attr.path().is_ident("serde")
        && ["skip", "skip_serializing", "skip_deserializing"]
            .into_iter()
            .any(says)
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
