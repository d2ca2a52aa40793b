//! `key = value`, `key(…)` and bare `key` in an attribute, with the key kept for the errors.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::Token;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};

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
        *slot = Some(Keyed { key: key.clone(), value });
    }
}

/// Keys that were given but not understood. Nothing more is said about them.
#[derive(Default)]
pub(crate) struct Faulty {
    keys: Vec<String>,
    ends_early: bool,
}

impl Faulty {
    /// Whether there has been an error that may be why `key` is missing.
    pub(crate) fn explains(&self, key: &str) -> bool {
        self.ends_early || self.keys.iter().any(|faulty| faulty == key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.ends_early
    }
}

/// Walks over the keys of an attribute, of which `known` are understood. After an error it goes on behind the next
/// comma.
pub(crate) fn for_each_key(
    tokens: TokenStream,
    known: &[&str],
    errors: &mut Errors,
    mut one: impl FnMut(&Ident, ParseStream, &mut Errors) -> syn::Result<()>,
) -> Faulty {
    let mut faulty = Faulty::default();
    let walk = |input: ParseStream| {
        while !input.is_empty() {
            let parsed = input.call(Ident::parse_any).and_then(|key| {
                one(&key, input, errors).inspect_err(|_| faulty.keys.push(meant(&key.to_string(), known)))?;
                expect_comma(&key, input).inspect_err(|_| faulty.ends_early = true)
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

/// The known key that was probably meant.
fn meant(key: &str, known: &[&str]) -> String {
    if known.contains(&key) { key } else { near_match(key, known).unwrap_or(key) }.to_owned()
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

/// What stands behind `key =`. `form` shows the user what was expected.
pub(crate) fn value<T: Parse>(key: &Ident, input: ParseStream, form: &str) -> syn::Result<T> {
    let wrong = |span| syn::Error::new(span, format_args!("expected `{form}`"));
    if !input.peek(Token![=]) {
        return Err(wrong(key.span()));
    }
    input.parse::<Token![=]>()?;
    let span = if input.is_empty() { key.span() } else { input.span() };
    input.parse().map_err(|_| wrong(span))
}

/// What stands in the parentheses behind `key`.
pub(crate) fn parenthesised(key: &Ident, input: ParseStream, form: &str) -> syn::Result<TokenStream> {
    if !input.peek(syn::token::Paren) {
        return Err(syn::Error::new(key.span(), format_args!("expected `{form}`")));
    }
    let content;
    syn::parenthesized!(content in input);
    content.parse()
}

/// The error for a key that no attribute of this kind has.
pub(crate) fn unknown(key: &Ident, attribute: &str, known: &[&str]) -> syn::Error {
    let name = key.to_string();
    let hint = near_match(&name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let known = list(known.iter().copied());
    syn::Error::new(key.span(), format_args!("unknown key `{name}` in `{attribute}`: the keys are {known}{hint}"))
}

/// A schema version as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) span: Span,
}

impl Parse for Version {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let literal: syn::LitInt = input.parse()?;
        Ok(Self { number: literal.base10_parse()?, span: literal.span() })
    }
}
