//! `#[integration_event]`: an event by the parser, the checks and the expansion of
//! `#[domain_event]`, with the way from its domain event.

use proc_macro2::TokenStream;

use crate::domain_event::{self, Declares};

/// Expands `#[integration_event]`.
pub(crate) fn integration_event(attribute: TokenStream, item: TokenStream) -> TokenStream {
    match domain_event::parse(item) {
        Ok(item) => domain_event::declare(Declares::Integration, attribute, item),
        Err(refused) => refused,
    }
}

#[cfg(test)]
mod tests;
