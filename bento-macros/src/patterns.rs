//! Patterns of event types, as `events = "order.*"` names them.

use syn::LitStr;
use syn::parse::{Parse, ParseStream};

use crate::diagnostics::Errors;
use crate::keyed::texts;

/// `"order.*"`, or several in parentheses.
pub(crate) struct Patterns(pub(crate) Vec<LitStr>);

impl Patterns {
    /// Checks that each could be an event type.
    pub(crate) fn check(&self, errors: &mut Errors) {
        for pattern in &self.0 {
            let text = pattern.value();
            if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                errors.at(
                    pattern.span(),
                    format_args!(
                        "invalid pattern `{}`: write an event type, in which `*` stands for any \
                         characters, as in `order.*`",
                        text.escape_debug()
                    ),
                );
            }
        }
    }
}

impl Parse for Patterns {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let expected = "expected `events = \"order.*\"`, or several: `events = (\"order.*\", \
                        \"invoice.paid\")`";
        Ok(Self(texts(input, expected)?))
    }
}
