//! A field of an event and its history, as `#[event(…)]` tells it.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::{Attribute, Expr, LitStr, Type};

use crate::diagnostics::Errors;
use crate::keyed::{Grammar, Keyed, Version, for_each_key, set, value};
use crate::serde_attrs::{FieldAttrs, Sides, StructAttrs};
use crate::syntax;

const FIELD_GRAMMAR: Grammar = Grammar {
    attribute: "#[event(…)]",
    keys: &["since", "default", "renamed_from"],
    form: "since = 2",
    meant: &[],
};

/// A field and its history.
pub(super) struct EventField<'a> {
    pub(super) original: &'a syn::Field,
    pub(super) ident: &'a Ident,
    pub(super) ty: &'a Type,
    pub(super) serde: FieldAttrs,
    /// The name in the payload, of this version.
    pub(super) name: String,
    pub(super) added: Option<Added>,
    /// The renames, oldest first.
    pub(super) renamed: Vec<Renamed>,
}

/// `#[event(since = 2, default = …)]`.
pub(super) struct Added {
    pub(super) since: Version,
    pub(super) default: Option<Expr>,
}

/// `#[event(renamed_from = "old", since = 3)]`.
pub(super) struct Renamed {
    pub(super) since: Version,
    pub(super) from: LitStr,
}

/// The keys of one `#[event(…)]`.
#[derive(Default)]
struct Change {
    since: Option<Keyed<Version>>,
    default: Option<Keyed<Expr>>,
    renamed_from: Option<Keyed<LitStr>>,
}

impl<'a> EventField<'a> {
    pub(super) fn parse(
        original: &'a syn::Field,
        of_struct: &StructAttrs,
        errors: &mut Errors,
    ) -> Option<Self> {
        refuse_cfg(original, errors);
        refuse_other_attributes(original, errors);
        let ident = original.ident.as_ref()?;
        let serde = FieldAttrs::parse(&original.attrs);
        let [_, name] = serde.names(&ident.unraw().to_string(), &of_struct.rename_all);
        let mut field = Self {
            original,
            ident,
            ty: &original.ty,
            serde,
            name,
            added: None,
            renamed: Vec::new(),
        };
        for attr in original
            .attrs
            .iter()
            .filter(|attr| attr.path().is_ident("event"))
        {
            field.parse_attribute(attr, errors);
        }
        field.renamed.sort_by_key(|renamed| renamed.since.number);
        Some(field)
    }

    fn parse_attribute(&mut self, attr: &Attribute, errors: &mut Errors) {
        let mut change = Change::default();
        let faulty = for_each_key(
            syntax::arguments(attr),
            &FIELD_GRAMMAR,
            errors,
            |key, input, errors| {
                match key.to_string().as_str() {
                    "since" => set(
                        &mut change.since,
                        key,
                        value(key, input, "since = 2")?,
                        errors,
                    ),
                    "default" => set(
                        &mut change.default,
                        key,
                        value(key, input, "default = expression")?,
                        errors,
                    ),
                    "renamed_from" => {
                        set(
                            &mut change.renamed_from,
                            key,
                            value(key, input, "renamed_from = \"old_name\"")?,
                            errors,
                        );
                    }
                    _ => return Err(FIELD_GRAMMAR.unknown(key)),
                }
                Ok(())
            },
        );
        if faulty.is_empty() {
            self.note(change, attr, errors);
        }
    }

    fn note(&mut self, change: Change, attr: &Attribute, errors: &mut Errors) {
        match (change.since, change.default, change.renamed_from) {
            (Some(since), _, None) if self.added.is_some() => {
                errors.at(
                    since.key.span(),
                    "a field is added once: keep one `#[event(since = \
                                             …)]`",
                );
            }
            (Some(since), default, None) => {
                self.added = Some(Added {
                    since: since.value,
                    default: default.map(|default| default.value),
                });
            }
            (Some(since), None, Some(from)) => self.renamed.push(Renamed {
                since: since.value,
                from: from.value,
            }),
            (_, Some(default), Some(_)) => errors.at(
                default.key.span(),
                "a renamed field keeps its value: write a `#[event(since = …, default = …)]` of \
                 its own for the version that added it",
            ),
            (None, Some(Keyed { key, .. }), None) | (None, None, Some(Keyed { key, .. })) => {
                errors.at(
                    key.span(),
                    format_args!(
                        "`{key}` does not say since when: write `since \
                                                    = 2` beside it"
                    ),
                );
            }
            (None, None, None) => {
                errors.on(
                    attr,
                    "this attribute says nothing: write `#[event(since = 2, default = \
                                 …)]`, or remove it",
                );
            }
        }
    }

    /// The name in payloads of `version`; `None` before the field was added.
    pub(super) fn name_at(&self, version: u32) -> Option<String> {
        if self
            .added
            .as_ref()
            .is_some_and(|added| version < added.since.number)
        {
            return None;
        }
        let later = self
            .renamed
            .iter()
            .find(|renamed| renamed.since.number > version);
        Some(later.map_or_else(|| self.name.clone(), |renamed| renamed.from.value()))
    }

    /// The name where serde knows the attributes of the field and not those of the struct.
    pub(super) fn name_in_holder(&self) -> String {
        let [name, _] = self
            .serde
            .names(&self.ident.unraw().to_string(), &Sides::default());
        name
    }

    /// Every version in this field's history.
    pub(super) fn versions(&self) -> impl Iterator<Item = Version> {
        let added = self.added.iter().map(|added| added.since);
        added.chain(self.renamed.iter().map(|renamed| renamed.since))
    }
}

/// Refuses the attributes of a struct on a field.
fn refuse_other_attributes(field: &syn::Field, errors: &mut Errors) {
    for attr in &field.attrs {
        if syntax::last_ident(attr.path(), "domain_event") {
            errors.on(
                attr,
                "on a field it is `#[event(…)]`: write `#[event(since = 2, default = …)]`",
            );
        }
        if syntax::last_ident(attr.path(), "aggregate") {
            errors.on(
                attr,
                "`#[aggregate(…)]` marks a field of an aggregate: an event has no id \
                             of its own to mark",
            );
        }
    }
}

/// Refuses `#[cfg]` on a field, which would give one version two payloads.
fn refuse_cfg(field: &syn::Field, errors: &mut Errors) {
    for attr in &field.attrs {
        if attr.path().is_ident("cfg") {
            errors.on(
                attr,
                "a field of an event cannot depend on `#[cfg]`: one version has one payload, so \
                 make it an `Option`",
            );
        }
        if attr.path().is_ident("cfg_attr")
            && syntax::mentions(syntax::arguments(attr), &["serde", "event"])
        {
            errors.on(
                attr,
                "the payload of an event cannot depend on `#[cfg_attr]`: one version \
                             has one payload",
            );
        }
    }
}
