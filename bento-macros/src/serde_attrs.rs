//! The `#[serde(…)]` attributes of a struct and its fields, as serde reads them.

use proc_macro2::{Ident, Span};
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Expr, ExprPath, LitStr, Token};

use crate::case;

/// The attributes of the struct.
#[derive(Default)]
pub(crate) struct StructAttrs {
    pub(crate) rename_all: Sides,
    /// True if serde fills in every field that a payload lacks.
    pub(crate) default: bool,
    pub(crate) denies_unknown: bool,
    /// The name of a field that holds the name of the struct.
    pub(crate) tag: Option<LitStr>,
    /// True if the struct names the path to serde itself.
    pub(crate) names_crate: bool,
    /// A key by which the payload is not an object of the fields.
    pub(crate) other_shape: Option<Ident>,
    pub(crate) refused: bool,
}

/// The attributes of a field.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) rename: Sides,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) default: bool,
    pub(crate) skip: Option<Ident>,
    pub(crate) skip_serializing: Option<Ident>,
    pub(crate) skip_deserializing: Option<Ident>,
    pub(crate) borrow: Option<Ident>,
    pub(crate) flatten: Option<Ident>,
    /// The key that gives the field a form of its own in the payload.
    pub(crate) written_with: Option<Ident>,
    /// The key by which the field is read from a form of its own.
    pub(crate) read_with: Option<Ident>,
    pub(crate) refused: bool,
}

/// A text for each direction.
#[derive(Default)]
pub(crate) struct Sides {
    pub(crate) serialize: Option<LitStr>,
    pub(crate) deserialize: Option<LitStr>,
}

impl Sides {
    /// The place of what was given.
    pub(crate) fn span(&self) -> Option<Span> {
        self.deserialize
            .as_ref()
            .or(self.serialize.as_ref())
            .map(LitStr::span)
    }

    pub(crate) fn values(&self) -> [Option<String>; 2] {
        [&self.serialize, &self.deserialize].map(|side| side.as_ref().map(LitStr::value))
    }

    /// Reads `= "…"` or `(serialize = "…", deserialize = "…")`, and returns the further names to
    /// read.
    pub(crate) fn read(&mut self, meta: &ParseNestedMeta) -> syn::Result<Vec<LitStr>> {
        if meta.input.peek(Token![=]) {
            let name: LitStr = meta.value()?.parse()?;
            once(&mut self.serialize, name.clone(), meta)?;
            once(&mut self.deserialize, name, meta)?;
            return Ok(Vec::new());
        }
        let mut more = Vec::new();
        meta.parse_nested_meta(|side| {
            let name: LitStr = side.value()?.parse()?;
            if side.path.is_ident("serialize") {
                once(&mut self.serialize, name, &side)
            } else if !side.path.is_ident("deserialize") {
                Err(side.error("neither side"))
            } else {
                if self.deserialize.is_none() {
                    self.deserialize = Some(name);
                } else {
                    more.push(name);
                }
                Ok(())
            }
        })?;
        Ok(more)
    }
}

impl StructAttrs {
    pub(crate) fn parse(attrs: &[Attribute]) -> Self {
        let mut parsed = Self::default();
        let refused = for_each(attrs, |key, meta| parsed.read(key, meta));
        let rules = parsed.rename_all.values();
        let unknown_rule = rules
            .iter()
            .flatten()
            .any(|rule| !case::RENAME_RULES.contains(&rule.as_str()));
        Self {
            refused: refused || unknown_rule,
            ..parsed
        }
    }

    fn read(&mut self, key: &Ident, meta: &ParseNestedMeta) -> syn::Result<()> {
        match key.to_string().as_str() {
            "rename" => Sides::default().read(meta).map(drop),
            "rename_all" => match self.rename_all.read(meta)?.as_slice() {
                [] => Ok(()),
                _ => Err(meta.error("given twice")),
            },
            "default" => flag_or_path(meta).map(|()| self.default = true),
            "deny_unknown_fields" => flag(&mut self.denies_unknown, meta),
            "tag" => {
                let tag = text(meta)?;
                once(&mut self.tag, tag, meta)
            }
            "crate" => text(meta).map(|_| self.names_crate = true),
            "transparent" => once(&mut self.other_shape, key.clone(), meta),
            "from" | "try_from" | "into" | "remote" => {
                self.other_shape.get_or_insert_with(|| key.clone());
                text(meta).map(drop)
            }
            "expecting" => text(meta).map(drop),
            "bound" => Sides::default().read(meta).map(drop),
            // What is for enums, and what serde does not know.
            _ => Err(meta.error("refused")),
        }
    }
}

impl FieldAttrs {
    pub(crate) fn parse(attrs: &[Attribute]) -> Self {
        let mut parsed = Self::default();
        let refused = for_each(attrs, |key, meta| parsed.read(key, meta));
        let skips = parsed.skip.is_some()
            || parsed.skip_serializing.is_some()
            || parsed.skip_deserializing.is_some();
        let flattened_in_vain = parsed.flatten.is_some() && skips;
        Self {
            refused: refused || flattened_in_vain,
            ..parsed
        }
    }

    fn read(&mut self, key: &Ident, meta: &ParseNestedMeta) -> syn::Result<()> {
        let name = key.clone();
        match key.to_string().as_str() {
            "rename" => {
                let more = self.rename.read(meta)?;
                self.aliases.extend(more);
                Ok(())
            }
            "alias" => {
                self.aliases.push(text(meta)?);
                Ok(())
            }
            "default" => flag_or_path(meta).map(|()| self.default = true),
            "skip" => once(&mut self.skip, name, meta),
            "skip_serializing" => once(&mut self.skip_serializing, name, meta),
            "skip_deserializing" => once(&mut self.skip_deserializing, name, meta),
            "skip_serializing_if" => {
                path(meta)?;
                self.skip_serializing.get_or_insert(name);
                Ok(())
            }
            "with" => {
                path(meta)?;
                once(&mut self.written_with, name.clone(), meta)?;
                once(&mut self.read_with, name, meta)
            }
            "serialize_with" => {
                path(meta)?;
                once(&mut self.written_with, name, meta)
            }
            "deserialize_with" => {
                path(meta)?;
                once(&mut self.read_with, name, meta)
            }
            "flatten" => once(&mut self.flatten, name, meta),
            "borrow" => {
                if meta.input.peek(Token![=]) {
                    text(meta)?;
                }
                once(&mut self.borrow, name, meta)
            }
            "bound" => Sides::default().read(meta).map(drop),
            "getter" => text(meta).map(drop),
            _ => Err(meta.error("refused")),
        }
    }

    /// True if the field is in the payload under a name of its own.
    pub(crate) fn has_name(&self) -> bool {
        self.skip.is_none() && self.flatten.is_none()
    }

    /// The names in the payload for writing and for reading. `rules` are those of `rename_all`.
    pub(crate) fn names(&self, ident: &str, rules: &Sides) -> [String; 2] {
        names(&self.rename, rules, ident, case::rename_field)
    }
}

/// The names for writing and for reading: the item's own, else by the rules of `rename_all`.
pub(crate) fn names(
    own: &Sides,
    rules: &Sides,
    ident: &str,
    renamed: fn(&str, &str) -> String,
) -> [String; 2] {
    let [own_written, own_read] = own.values();
    let [rule_written, rule_read] = rules.values();
    let name = |own: Option<String>, rule: Option<String>| {
        own.or_else(|| rule.map(|rule| renamed(&rule, ident)))
            .unwrap_or_else(|| ident.to_owned())
    };
    [name(own_written, rule_written), name(own_read, rule_read)]
}

/// The `#[serde(…)]` among the attributes.
pub(crate) fn serde(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("serde"))
}

/// Reads every key. Returns `true` if serde refuses one of them, which serde itself reports.
pub(crate) fn for_each(
    attrs: &[Attribute],
    mut read: impl FnMut(&Ident, &ParseNestedMeta) -> syn::Result<()>,
) -> bool {
    let mut refused = false;
    for attr in serde(attrs) {
        let parsed = attr.parse_nested_meta(|meta| {
            let key = meta.path.get_ident().cloned();
            let known = key.is_some_and(|key| read(&key, &meta).is_ok());
            if !known {
                refused = true;
                skip(&meta)?;
            }
            Ok(())
        });
        refused |= parsed.is_err();
    }
    refused
}

pub(crate) fn once<T>(slot: &mut Option<T>, value: T, meta: &ParseNestedMeta) -> syn::Result<()> {
    match slot.replace(value) {
        Some(_) => Err(meta.error("given twice")),
        None => Ok(()),
    }
}

pub(crate) fn flag(slot: &mut bool, meta: &ParseNestedMeta) -> syn::Result<()> {
    if std::mem::replace(slot, true) {
        Err(meta.error("given twice"))
    } else {
        Ok(())
    }
}

pub(crate) fn text(meta: &ParseNestedMeta) -> syn::Result<LitStr> {
    meta.value()?.parse()
}

/// `= "a::path"`.
pub(crate) fn path(meta: &ParseNestedMeta) -> syn::Result<ExprPath> {
    let text = text(meta)?;
    text.parse()
        .map_err(|_| syn::Error::new(text.span(), "no path"))
}

pub(crate) fn flag_or_path(meta: &ParseNestedMeta) -> syn::Result<()> {
    if meta.input.peek(Token![=]) {
        path(meta).map(drop)
    } else {
        Ok(())
    }
}

/// Skips the value of a key that was not understood, as far as possible.
fn skip(meta: &ParseNestedMeta) -> syn::Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        meta.parse_nested_meta(|inner| skip(&inner))?;
    }
    Ok(())
}
