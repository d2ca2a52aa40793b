//! The type and its `#[shape(…)]` attributes, as our model.

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Data, DeriveInput, Field, Fields, LitStr, Path, Token, Type, Variant};

use super::attrs::{ContainerAttrs, VariantAttrs};
use crate::diagnostics::Errors;
use crate::door;
use crate::keyed::{Grammar, Keyed, for_each_key, set, value};
use crate::serde_attrs::{FieldAttrs, Sides};
use crate::syntax;

const TYPE_GRAMMAR: Grammar = Grammar {
    attribute: "#[shape(…)]",
    keys: &["as", "opaque", "crate"],
    form: "opaque = \"decimal\"",
    meant: &[],
};

const PART_GRAMMAR: Grammar = Grammar {
    attribute: "#[shape(…)]",
    keys: &["as", "opaque"],
    form: "opaque = \"decimal\"",
    meant: &[],
};

/// The keys of the type that are not serde's.
pub(super) struct Krate {
    /// The path to the module that the expansion names.
    pub(super) private: TokenStream,
    pub(super) word: Option<Keyed<Word>>,
}

/// The user's word for a shape that serde's attributes and the types do not tell.
pub(super) enum Word {
    /// `as = Type`.
    As(Box<Type>),
    /// `opaque = "name"`.
    Opaque(LitStr),
}

/// The type.
pub(super) struct Input<'a> {
    pub(super) item: &'a DeriveInput,
    pub(super) word: Option<Keyed<Word>>,
    pub(super) serde: ContainerAttrs,
    pub(super) body: Body<'a>,
}

/// The inside of the type.
pub(super) enum Body<'a> {
    Struct(Parts<'a>),
    Enum(Vec<Alternative<'a>>),
    Union(Token![union]),
}

/// The fields of a struct or of a variant.
pub(super) struct Parts<'a> {
    pub(super) style: Style,
    pub(super) fields: Vec<Part<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Unit,
    /// One field without a name.
    Newtype,
    Tuple,
    Named,
}

/// A field.
pub(super) struct Part<'a> {
    pub(super) field: &'a Field,
    pub(super) serde: FieldAttrs,
    pub(super) word: Option<Keyed<Word>>,
}

/// A variant.
pub(super) struct Alternative<'a> {
    pub(super) variant: &'a Variant,
    pub(super) serde: VariantAttrs,
    pub(super) word: Option<Keyed<Word>>,
    pub(super) parts: Parts<'a>,
}

impl Krate {
    pub(super) fn parse(item: &DeriveInput, errors: &mut Errors) -> Self {
        let mut krate: Option<Keyed<Path>> = None;
        let mut word = None;
        for attr in own(&item.attrs) {
            for_each_key(
                syntax::arguments(attr),
                &TYPE_GRAMMAR,
                errors,
                |key, input, errors| {
                    if key == "crate" {
                        let path = value(key, input, "crate = path::to::bento_core")?;
                        set(&mut krate, key, path, errors);
                        return Ok(());
                    }
                    note_word(&mut word, key, input, &TYPE_GRAMMAR, errors)
                },
            );
        }
        Self {
            private: door::private(krate.as_ref(), errors),
            word,
        }
    }
}

impl<'a> Input<'a> {
    pub(super) fn parse(
        item: &'a DeriveInput,
        word: Option<Keyed<Word>>,
        errors: &mut Errors,
    ) -> Self {
        let body = match &item.data {
            Data::Struct(data) => Body::Struct(Parts::parse(&data.fields, errors)),
            Data::Enum(data) => Body::Enum(
                data.variants
                    .iter()
                    .map(|variant| Alternative::parse(variant, errors))
                    .collect(),
            ),
            Data::Union(data) => Body::Union(data.union_token),
        };
        Self {
            item,
            word,
            serde: ContainerAttrs::parse(&item.attrs),
            body,
        }
    }

    /// The fields of the struct or of all variants.
    pub(super) fn parts(&self) -> Vec<&Part<'a>> {
        match &self.body {
            Body::Struct(parts) => parts.fields.iter().collect(),
            Body::Enum(variants) => variants
                .iter()
                .flat_map(|variant| &variant.parts.fields)
                .collect(),
            Body::Union(_) => Vec::new(),
        }
    }

    /// The rules for the names of a variant's fields.
    pub(super) fn rules_within<'r>(&'r self, variant: &'r Alternative<'a>) -> [&'r Sides; 2] {
        [&variant.serde.rename_all, &self.serde.rename_all_fields]
    }

    /// True if serde refuses one of its attributes, which serde itself reports.
    pub(super) fn is_refused_by_serde(&self) -> bool {
        let of_variants = match &self.body {
            Body::Enum(variants) => variants.iter().any(|variant| variant.serde.is_refused),
            _ => false,
        };
        let of_fields = self.parts().iter().any(|part| part.serde.refused);
        self.serde.is_refused || of_variants || of_fields
    }

    /// The type in whose form this one is read and written, if `into` and `from` name one type.
    pub(super) fn converted(&self) -> Option<Type> {
        let (into, from) = (self.serde.into.as_ref()?, self.serde.from.as_ref()?);
        let [into, from]: [Type; 2] = [into.ty.parse().ok()?, from.ty.parse().ok()?];
        (into == from).then_some(into)
    }

    /// The one field that a `transparent` struct is.
    pub(super) fn transparent(&self) -> Option<&Part<'a>> {
        let Body::Struct(parts) = &self.body else {
            return None;
        };
        let mut inner = parts
            .fields
            .iter()
            .filter(|part| !part.is_skipped() && !syntax::is_type(&part.field.ty, "PhantomData"));
        inner.next().filter(|_| inner.next().is_none())
    }
}

impl<'a> Parts<'a> {
    fn parse(fields: &'a Fields, errors: &mut Errors) -> Self {
        let style = match fields {
            Fields::Unit => Style::Unit,
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Style::Newtype,
            Fields::Unnamed(_) => Style::Tuple,
            Fields::Named(_) => Style::Named,
        };
        let fields = fields.iter().map(|field| Part {
            field,
            serde: FieldAttrs::parse(&field.attrs),
            word: word(&field.attrs, errors),
        });
        Self {
            style,
            fields: fields.collect(),
        }
    }
}

impl Part<'_> {
    /// The name in Rust; empty for a field without one.
    pub(super) fn ident(&self) -> String {
        let ident = self.field.ident.as_ref();
        ident.map_or_else(String::new, |ident| ident.unraw().to_string())
    }

    pub(super) fn is_never_written(&self) -> bool {
        let key = self.serde.skip_serializing.as_ref();
        self.serde.skip.is_some() || key.is_some_and(|key| key == "skip_serializing")
    }

    pub(super) fn is_never_read(&self) -> bool {
        self.serde.skip.is_some() || self.serde.skip_deserializing.is_some()
    }

    /// True if the field is neither read nor written.
    pub(super) fn is_skipped(&self) -> bool {
        self.is_never_written() && self.is_never_read()
    }

    /// The key that gives the field a form of its own.
    pub(super) fn with(&self) -> Option<&Ident> {
        self.serde
            .written_with
            .as_ref()
            .or(self.serde.read_with.as_ref())
    }
}

impl<'a> Alternative<'a> {
    fn parse(variant: &'a Variant, errors: &mut Errors) -> Self {
        Self {
            variant,
            serde: VariantAttrs::parse(&variant.attrs),
            word: word(&variant.attrs, errors),
            parts: Parts::parse(&variant.fields, errors),
        }
    }

    pub(super) fn ident(&self) -> String {
        self.variant.ident.unraw().to_string()
    }
}

fn own(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("shape"))
}

fn word(attrs: &[Attribute], errors: &mut Errors) -> Option<Keyed<Word>> {
    let mut word = None;
    for attr in own(attrs) {
        for_each_key(
            syntax::arguments(attr),
            &PART_GRAMMAR,
            errors,
            |key, input, errors| note_word(&mut word, key, input, &PART_GRAMMAR, errors),
        );
    }
    word
}

fn note_word(
    slot: &mut Option<Keyed<Word>>,
    key: &Ident,
    input: ParseStream,
    grammar: &Grammar,
    errors: &mut Errors,
) -> syn::Result<()> {
    let word = match key.to_string().as_str() {
        "as" => Word::As(Box::new(value(key, input, "as = Type")?)),
        "opaque" => Word::Opaque(value(key, input, "opaque = \"decimal\"")?),
        _ => return Err(grammar.unknown(key)),
    };
    match slot {
        Some(first) if first.key != *key => errors.at(
            key.span(),
            format_args!(
                "`{}` gives the shape already: keep one of the two",
                first.key
            ),
        ),
        _ => set(slot, key, word, errors),
    }
    Ok(())
}
