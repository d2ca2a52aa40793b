//! Checks: nothing that a shape cannot tell is left to guess, and nothing contradicts itself.

use std::fmt::Display;

use proc_macro2::{Ident, Span};
use syn::LitStr;

use super::expand::field_names;
use super::input::{Alternative, Body, Input, Part, Parts, Style, Word};
use crate::diagnostics::Errors;
use crate::keyed::Keyed;
use crate::serde_attrs::Sides;

pub(super) fn check(input: &Input, errors: &mut Errors) {
    let mut check = Check {
        input,
        errors,
        reported_rules: Vec::new(),
    };
    check.whole();
}

struct Check<'a> {
    input: &'a Input<'a>,
    errors: &'a mut Errors,
    /// The rules that give two names: one rule is one mistake, at the first name that it makes.
    reported_rules: Vec<LitStr>,
}

impl Check<'_> {
    fn whole(&mut self) {
        self.owned();
        if self.input.word.is_some() {
            self.word(self.input.word.as_ref());
            self.one_word();
            return;
        }
        self.conversion();
        if self.input.converted().is_some() {
            return;
        }
        match &self.input.body {
            Body::Union(token) => self.errors.on(
                token,
                "a union has no wire shape: derive it on a struct or an enum",
            ),
            Body::Struct(parts) => self.fields(parts),
            Body::Enum(variants) => variants
                .iter()
                .filter(|variant| !variant.serde.is_skipped())
                .for_each(|variant| self.variant(variant)),
        }
    }

    /// Refuses types that borrow: what is read back has to own its data.
    fn owned(&mut self) {
        if let Some(lifetime) = self.input.item.generics.lifetimes().next() {
            self.errors.on(
                lifetime,
                format_args!(
                    "a type with a wire shape owns its data: remove `{}`",
                    lifetime.lifetime
                ),
            );
        }
    }

    fn word(&mut self, word: Option<&Keyed<Word>>) {
        if let Some(Keyed {
            value: Word::Opaque(name),
            ..
        }) = word
            && name.value().is_empty()
        {
            self.errors.at(
                name.span(),
                "an opaque shape is told from others by its name: write one",
            );
        }
    }

    /// Refuses words on parts of a type whose whole shape is given.
    fn one_word(&mut self) {
        let of_variants = match &self.input.body {
            Body::Enum(variants) => variants.as_slice(),
            _ => &[],
        };
        let of_variants = of_variants.iter().map(|variant| &variant.word);
        let of_parts = self.input.parts().into_iter().map(|part| &part.word);
        self.refuse_words(of_parts.chain(of_variants), "type");
    }

    fn refuse_words<'w>(
        &mut self,
        words: impl IntoIterator<Item = &'w Option<Keyed<Word>>>,
        whole: &str,
    ) {
        for word in words.into_iter().flatten() {
            self.errors.at(
                word.key.span(),
                format_args!("the shape of the whole {whole} is given above: keep one of the two"),
            );
        }
    }

    /// Checks that a type which is read or written as another names its shape.
    fn conversion(&mut self) {
        let serde = &self.input.serde;
        let conversion = serde.into.as_ref().or(serde.from.as_ref());
        let key = conversion
            .map(|conversion| &conversion.key)
            .or(serde.identifier.as_ref());
        if let Some(key) = key
            && self.input.converted().is_none()
        {
            self.untold(key, "the type", "its fields do", "above the type");
        }
    }

    /// The error where the user has to name the shape.
    fn untold(&mut self, key: &Ident, what: impl Display, from: &str, place: &str) {
        self.errors.at(
            key.span(),
            format_args!(
                "`{key}` gives {what} a form that {from} not tell: name it with `#[shape(as = \
                 Type)]` or `#[shape(opaque = \"name\")]` {place}"
            ),
        );
    }

    fn fields(&mut self, parts: &Parts) {
        let serde = &self.input.serde;
        if parts.style == Style::Newtype
            && !serde.is_transparent
            && let Some(key) = skipping(parts)
        {
            self.errors.at(
                key.span(),
                format_args!(
                    "`{key}` has no effect on the only field of a tuple struct: remove it"
                ),
            );
        }
        self.parts(parts, &[&serde.rename_all]);
    }

    fn variant(&mut self, variant: &Alternative) {
        let (serde, ident) = (&variant.serde, &variant.variant.ident);
        if !serde.skips_serializing && !serde.skips_deserializing {
            let rules = &self.input.serde.rename_all;
            let names = serde.names(&variant.ident(), rules);
            self.names(names, &serde.aliases, &serde.rename, &[rules], ident.span());
        }
        if variant.word.is_some() {
            self.word(variant.word.as_ref());
            self.refuse_words(
                variant.parts.fields.iter().map(|part| &part.word),
                "variant",
            );
        } else if let Some(key) = &serde.with {
            let content = format_args!("the content of `{ident}`");
            self.untold(key, content, "its fields do", "above the variant");
        } else {
            self.content(variant);
        }
    }

    fn content(&mut self, variant: &Alternative) {
        if variant.parts.style == Style::Newtype
            && let Some(key) = skipping(&variant.parts)
            && !variant.parts.fields.iter().all(Part::is_skipped)
        {
            self.errors.at(
                key.span(),
                "the variant has a content in one direction only: write `skip`, or remove it",
            );
        }
        self.parts(&variant.parts, &self.input.rules_within(variant));
    }

    fn parts(&mut self, parts: &Parts, rules: &[&Sides]) {
        for part in &parts.fields {
            self.word(part.word.as_ref());
            if !part.is_skipped() {
                self.part(part, rules);
            } else if let Some(word) = &part.word {
                self.errors.at(
                    word.key.span(),
                    "the field is skipped, and has no shape: remove one of the two",
                );
            }
        }
    }

    fn part(&mut self, part: &Part, rules: &[&Sides]) {
        let ident = part.field.ident.as_ref();
        if let (Some(key), None) = (part.with(), &part.word) {
            let field = ident.map_or_else(|| "the field".to_owned(), |ident| format!("`{ident}`"));
            self.untold(key, field, "its type does", "beside it");
        }
        if let Some(ident) = ident
            && part.serde.has_name()
            && !part.is_never_read()
            && !part.is_never_written()
        {
            let serde = &part.serde;
            let names = field_names(part, rules);
            self.names(names, &serde.aliases, &serde.rename, rules, ident.span());
        }
    }

    /// Checks that the name which is written is read.
    fn names(
        &mut self,
        [written, read]: [String; 2],
        aliases: &[LitStr],
        own: &Sides,
        rules: &[&Sides],
        fallback: Span,
    ) {
        if written == read || aliases.iter().any(|alias| alias.value() == written) {
            return;
        }
        let rule = rules
            .iter()
            .find_map(|rules| rules.deserialize.as_ref().or(rules.serialize.as_ref()));
        let span = match (own.span(), rule) {
            (Some(own), _) => own,
            (None, Some(rule)) if self.reported_rules.contains(rule) => return,
            (None, Some(rule)) => {
                self.reported_rules.push(rule.clone());
                rule.span()
            }
            (None, None) => fallback,
        };
        self.errors.at(
            span,
            format_args!(
                "`{written}` is written, and `{read}` is read: let `serialize` and `deserialize` \
                 agree, or add `#[serde(alias = \"{written}\")]`"
            ),
        );
    }
}

/// The key by which the first field is skipped in one direction or both.
fn skipping<'a>(parts: &'a Parts) -> Option<&'a Ident> {
    let serde = &parts.fields.first()?.serde;
    let always = serde
        .skip_serializing
        .as_ref()
        .filter(|key| *key == "skip_serializing");
    let key = serde.skip.as_ref().or(always);
    key.or(serde.skip_deserializing.as_ref())
}
