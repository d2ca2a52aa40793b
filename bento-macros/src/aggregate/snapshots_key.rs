//! `snapshots`, or `snapshots(every = 100, version = 1)`.

use proc_macro2::Ident;
use syn::LitInt;
use syn::parse::ParseStream;

use crate::diagnostics::Errors;
use crate::keyed::{Grammar, for_each_key, parenthesised, set, value};

const FORM: &str = "snapshots(every = 100, version = 1)";

const GRAMMAR: Grammar = Grammar {
    attribute: "snapshots(…)",
    keys: &["every", "version"],
    form: "every = 100",
    meant: &[],
};

/// The events between two snapshots, where the aggregate does not say.
const EVERY: u32 = 100;

/// The parts of the key.
#[derive(Clone, Copy)]
pub(super) struct SnapshotsKey {
    /// The number of events from one snapshot to the next, at least 1.
    pub(super) every: u32,
    /// The number that is raised by hand.
    pub(super) version: u32,
}

impl SnapshotsKey {
    pub(super) fn parse(key: &Ident, input: ParseStream, errors: &mut Errors) -> syn::Result<Self> {
        let (mut every, mut version) = (None, None);
        if !input.is_empty() && !input.peek(syn::Token![,]) {
            let tokens = parenthesised(key, input, FORM)?;
            for_each_key(tokens, &GRAMMAR, errors, |key, input, errors| {
                let slot = match key.to_string().as_str() {
                    "every" => &mut every,
                    "version" => &mut version,
                    _ => return Err(GRAMMAR.unknown(key)),
                };
                let number = number(key, input, errors)?;
                set(slot, key, number, errors);
                Ok(())
            });
        }
        Ok(Self {
            every: every.map_or(EVERY, |every| every.value),
            version: version.map_or(1, |version| version.value),
        })
    }
}

/// A number from 1 to `u32::MAX`; 1 where there is an error about it.
fn number(key: &Ident, input: ParseStream, errors: &mut Errors) -> syn::Result<u32> {
    let literal: LitInt = value(key, input, &format!("{key} = 1"))?;
    let number = literal.base10_parse().unwrap_or(0);
    if number == 0 {
        errors.at(
            literal.span(),
            format_args!("`{key}` is a number from 1 to {}", u32::MAX),
        );
    }
    Ok(number.max(1))
}
