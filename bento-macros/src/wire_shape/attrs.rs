//! The `#[serde(…)]` attributes of a type and its variants, as serde reads them.

use proc_macro2::Ident;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, LitStr};

use crate::case;
use crate::serde_attrs::{Sides, flag, flag_or_path, for_each, names, once, path, text};

/// The attributes of the type.
#[derive(Default)]
pub(super) struct ContainerAttrs {
    pub(super) rename: Sides,
    /// The rules for the fields of a struct, or for the variants of an enum.
    pub(super) rename_all: Sides,
    /// The rules for the fields of an enum's variants.
    pub(super) rename_all_fields: Sides,
    /// True if serde fills in every field that is missing.
    pub(super) default: bool,
    pub(super) denies_unknown: bool,
    pub(super) tag: Option<LitStr>,
    pub(super) content: Option<LitStr>,
    pub(super) is_untagged: bool,
    pub(super) is_transparent: bool,
    /// The type that is written in place of this one.
    pub(super) into: Option<Conversion>,
    /// The type that is read in place of this one.
    pub(super) from: Option<Conversion>,
    /// `field_identifier` or `variant_identifier`, which are read and never written.
    pub(super) identifier: Option<Ident>,
    pub(super) is_refused: bool,
}

/// A key by which the type is read or written as another.
pub(super) struct Conversion {
    pub(super) key: Ident,
    pub(super) ty: LitStr,
}

/// The attributes of a variant.
#[derive(Default)]
pub(super) struct VariantAttrs {
    pub(super) rename: Sides,
    pub(super) rename_all: Sides,
    pub(super) aliases: Vec<LitStr>,
    pub(super) skips_serializing: bool,
    pub(super) skips_deserializing: bool,
    pub(super) is_other: bool,
    pub(super) is_untagged: bool,
    /// The key that gives the content a form of its own.
    pub(super) with: Option<Ident>,
    pub(super) is_refused: bool,
}

impl ContainerAttrs {
    pub(super) fn parse(attrs: &[Attribute]) -> Self {
        let mut parsed = Self::default();
        let is_refused = for_each(attrs, |key, meta| parsed.read(key, meta));
        let is_unknown = [&parsed.rename_all, &parsed.rename_all_fields]
            .into_iter()
            .any(is_unknown_rule);
        Self {
            is_refused: is_refused || is_unknown,
            ..parsed
        }
    }

    fn read(&mut self, key: &Ident, meta: &ParseNestedMeta) -> syn::Result<()> {
        match key.to_string().as_str() {
            "rename" => self.rename.read(meta).map(drop),
            "rename_all" => self.rename_all.read(meta).map(drop),
            "rename_all_fields" => self.rename_all_fields.read(meta).map(drop),
            "default" => flag_or_path(meta).map(|()| self.default = true),
            "deny_unknown_fields" => flag(&mut self.denies_unknown, meta),
            "tag" => once(&mut self.tag, text(meta)?, meta),
            "content" => once(&mut self.content, text(meta)?, meta),
            "untagged" => flag(&mut self.is_untagged, meta),
            "transparent" => flag(&mut self.is_transparent, meta),
            "into" => once(&mut self.into, Conversion::read(key, meta)?, meta),
            "from" | "try_from" => once(&mut self.from, Conversion::read(key, meta)?, meta),
            "field_identifier" | "variant_identifier" => {
                once(&mut self.identifier, key.clone(), meta)
            }
            // The fields of a `remote` type are written here as those of the other are.
            "remote" | "crate" | "expecting" => text(meta).map(drop),
            "bound" => Sides::default().read(meta).map(drop),
            _ => Err(meta.error("refused")),
        }
    }
}

impl Conversion {
    fn read(key: &Ident, meta: &ParseNestedMeta) -> syn::Result<Self> {
        Ok(Self {
            key: key.clone(),
            ty: text(meta)?,
        })
    }
}

impl VariantAttrs {
    pub(super) fn parse(attrs: &[Attribute]) -> Self {
        let mut parsed = Self::default();
        let is_refused = for_each(attrs, |key, meta| parsed.read(key, meta));
        Self {
            is_refused: is_refused || is_unknown_rule(&parsed.rename_all),
            ..parsed
        }
    }

    fn read(&mut self, key: &Ident, meta: &ParseNestedMeta) -> syn::Result<()> {
        match key.to_string().as_str() {
            "rename" => {
                let more = self.rename.read(meta)?;
                self.aliases.extend(more);
                Ok(())
            }
            "rename_all" => self.rename_all.read(meta).map(drop),
            "alias" => {
                self.aliases.push(text(meta)?);
                Ok(())
            }
            "skip" => {
                flag(&mut self.skips_serializing, meta)?;
                flag(&mut self.skips_deserializing, meta)
            }
            "skip_serializing" => flag(&mut self.skips_serializing, meta),
            "skip_deserializing" => flag(&mut self.skips_deserializing, meta),
            "other" => flag(&mut self.is_other, meta),
            "untagged" => flag(&mut self.is_untagged, meta),
            "with" | "serialize_with" | "deserialize_with" => {
                path(meta)?;
                self.with.get_or_insert_with(|| key.clone());
                Ok(())
            }
            "borrow" => flag_or_path(meta),
            "bound" => Sides::default().read(meta).map(drop),
            _ => Err(meta.error("refused")),
        }
    }

    /// The names for writing and for reading. `rules` are those of the enum's `rename_all`.
    pub(super) fn names(&self, ident: &str, rules: &Sides) -> [String; 2] {
        names(&self.rename, rules, ident, case::rename_variant)
    }

    /// True if the variant is neither read nor written.
    pub(super) fn is_skipped(&self) -> bool {
        self.skips_serializing && self.skips_deserializing
    }
}

fn is_unknown_rule(rules: &Sides) -> bool {
    rules
        .values()
        .iter()
        .flatten()
        .any(|rule| !case::RENAME_RULES.contains(&rule.as_str()))
}
