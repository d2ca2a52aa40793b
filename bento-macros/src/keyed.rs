//! `key = value`, `key(…)` and bare `key` in an attribute, with the key kept for the errors.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{LitStr, Token, parenthesized};

use crate::diagnostics::{Errors, list, near_match};

/// A value and the key it was given under.
pub(crate) struct Keyed<T> {
    pub(crate) key: Ident,
    pub(crate) value: T,
}

/// Fills `slot`, unless the key was there before.
pub(crate) fn set<T>(slot: &mut Option<Keyed<T>>, key: &Ident, value: T, errors: &mut Errors) {
    if slot.is_some() {
        errors.at(key.span(), format_args!("`{key}` is given twice: keep one"));
    } else {
        *slot = Some(Keyed {
            key: key.clone(),
            value,
        });
    }
}

/// An attribute as the user writes it, for the errors about it.
pub(crate) struct Grammar {
    /// The attribute, `#[domain_event(…)]`.
    pub(crate) attribute: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [&'static str],
    /// An example of its content, for the message about anything but a key.
    pub(crate) form: &'static str,
    /// Keys of other attributes, and why this one has none of them.
    pub(crate) meant: &'static [(&'static str, &'static str)],
}

impl Grammar {
    /// The error for a key that the attribute does not have.
    pub(crate) fn unknown(&self, key: &Ident) -> syn::Error {
        let Self {
            attribute, keys, ..
        } = self;
        let name = key.to_string();
        if let Some((_, why)) = self.meant.iter().find(|(meant, _)| *meant == name) {
            return syn::Error::new(key.span(), why);
        }
        let hint = near_match(&name, keys)
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        let known = list(keys.iter().copied());
        syn::Error::new(
            key.span(),
            format_args!("unknown key `{name}` in `{attribute}`: the keys are {known}{hint}"),
        )
    }

    fn expected(&self, span: Span) -> syn::Error {
        syn::Error::new(span, format_args!("expected `{}`", self.form))
    }
}

/// A value that was given and not understood. The mistake is reported elsewhere.
#[derive(Default)]
pub(crate) struct Faulty {
    keys: Vec<String>,
    /// True if the faulty value may have been meant for any key.
    any: bool,
}

impl Faulty {
    /// True if an earlier error may explain why `key` is missing.
    pub(crate) fn explains(&self, key: &str) -> bool {
        self.any || self.keys.iter().any(|faulty| faulty == key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.any
    }

    /// Notes an error behind `key`, by the key that was probably meant.
    fn note(&mut self, key: &str, known: &[&str]) {
        match known
            .iter()
            .copied()
            .find(|known| *known == key)
            .or_else(|| near_match(key, known))
        {
            Some(meant) => self.keys.push(meant.to_owned()),
            None => self.any = true,
        }
    }
}

/// Walks over the keys of an attribute. After an error it goes on behind the next comma.
pub(crate) fn for_each_key(
    tokens: TokenStream,
    grammar: &Grammar,
    errors: &mut Errors,
    mut one: impl FnMut(&Ident, ParseStream, &mut Errors) -> syn::Result<()>,
) -> Faulty {
    let mut faulty = Faulty::default();
    let walk = |input: ParseStream| {
        while !input.is_empty() {
            let key = input
                .call(Ident::parse_any)
                .map_err(|_| grammar.expected(input.span()));
            let parsed = key.inspect_err(|_| faulty.any = true).and_then(|key| {
                one(&key, input, errors)
                    .inspect_err(|_| faulty.note(&key.to_string(), grammar.keys))?;
                expect_comma(&key, input).inspect_err(|_| faulty.any = true)
            });
            if let Err(error) = parsed {
                errors.push(error);
                skip_to_comma(input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    if let Err(error) = walk.parse2(tokens) {
        errors.push(error);
    }
    faulty
}

fn expect_comma(key: &Ident, input: ParseStream) -> syn::Result<()> {
    if input.is_empty() || input.peek(Token![,]) {
        Ok(())
    } else {
        Err(input.error(format_args!("expected `,` after `{key}`")))
    }
}

fn skip_to_comma(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// Parses the value behind `key =`. `form` is the expected form, for the message.
pub(crate) fn value<T: Parse>(key: &Ident, input: ParseStream, form: &str) -> syn::Result<T> {
    let wrong = |span| syn::Error::new(span, format_args!("expected `{form}`"));
    if !input.peek(Token![=]) {
        return Err(wrong(key.span()));
    }
    input.parse::<Token![=]>()?;
    let span = if input.is_empty() {
        key.span()
    } else {
        input.span()
    };
    input.parse().map_err(|_| wrong(span))
}

/// Parses the value behind `key =`, whose own error says what is wrong with it.
pub(crate) fn value_saying_why<T: Parse>(
    key: &Ident,
    input: ParseStream,
    form: &str,
) -> syn::Result<T> {
    let absent = || syn::Error::new(key.span(), format_args!("expected `{form}`"));
    if !input.peek(Token![=]) {
        return Err(absent());
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() {
        return Err(absent());
    }
    input.parse()
}

/// Parses a text, or several in parentheses.
pub(crate) fn texts(input: ParseStream, expected: &str) -> syn::Result<Vec<LitStr>> {
    let wrong = |span| syn::Error::new(span, expected);
    if !input.peek(syn::token::Paren) {
        let text = input
            .parse()
            .map_err(|error: syn::Error| wrong(error.span()))?;
        return Ok(vec![text]);
    }
    let list;
    let parenthesis = parenthesized!(list in input);
    let texts = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)
        .map_err(|error| wrong(error.span()))?;
    if texts.is_empty() {
        return Err(wrong(parenthesis.span.join()));
    }
    Ok(texts.into_iter().collect())
}

/// The tokens in the parentheses behind `key`.
pub(crate) fn parenthesised(
    key: &Ident,
    input: ParseStream,
    form: &str,
) -> syn::Result<TokenStream> {
    if !input.peek(syn::token::Paren) {
        return Err(syn::Error::new(
            key.span(),
            format_args!("expected `{form}`"),
        ));
    }
    let content;
    parenthesized!(content in input);
    content.parse()
}

/// A schema version as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) span: Span,
}

impl Parse for Version {
    /// Parses a version. A number that is too large becomes the largest `u32`, which the check of
    /// its size refuses.
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let literal: syn::LitInt = input.parse()?;
        let number = literal.base10_digits().parse().unwrap_or(u32::MAX);
        Ok(Self {
            number,
            span: literal.span(),
        })
    }
}
