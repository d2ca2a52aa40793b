//! Checks of the keys.

use proc_macro2::Span;
use syn::LitStr;

use super::input::HandlerAttribute;
use crate::case::is_lower_dotted_snake;
use crate::diagnostics::{Errors, list, near_match};

/// The retry policies that have a name, as `bento_relay::retry::RetryPolicies::NAMES`.
const RETRY_POLICIES: [&str; 4] = ["default", "aggressive", "patient", "once"];

/// The most characters of the columns that carry the name of a handler.
const NAME_LENGTH_MAX: usize = 128;

/// Checks the keys.
pub(super) fn check(attribute: &HandlerAttribute, errors: &mut Errors) {
    check_name(attribute, errors);
    if let Some(timeout) = &attribute.timeout
        && timeout.value.duration.is_zero()
    {
        errors.at(
            timeout.value.span,
            "`timeout` must be greater than 0: leave it out for the timeout of the relay",
        );
    }
    if let Some(concurrency) = &attribute.concurrency
        && concurrency.value.number == 0
    {
        errors.at(
            concurrency.value.span,
            "`concurrency` must be greater than 0: pause a handler that should not run",
        );
    }
    if let Some(retry) = &attribute.retry {
        check_retry(&retry.value, errors);
    }
    if let Some(events) = &attribute.events {
        events.value.check(errors);
    }
}

/// Checks the name of the retry policy.
fn check_retry(policy: &LitStr, errors: &mut Errors) {
    let name = policy.value();
    if !RETRY_POLICIES.contains(&name.as_str()) {
        let known = list(RETRY_POLICIES);
        let hint = near_match(&name, &RETRY_POLICIES)
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        errors.at(
            policy.span(),
            format_args!("unknown retry policy `{name}`: the policies are {known}{hint}"),
        );
    }
}

/// Checks the form of the name: it is stored, configured by, and part of idempotency keys.
fn check_name(attribute: &HandlerAttribute, errors: &mut Errors) {
    let Some(name) = &attribute.name else {
        if !attribute.faulty.explains("name") {
            errors.at(
                Span::call_site(),
                "a handler needs a stable name, which is stored beside what it has handled: add \
                 `name = \"stock.reserve\"`",
            );
        }
        return;
    };
    let text = name.value.value();
    if !is_lower_dotted_snake(&text) {
        errors.at(
            name.value.span(),
            format_args!(
                "invalid handler name `{text}`: write `lower.dotted_snake`, whose handler it is \
                 and what it does, as in `stock.reserve`"
            ),
        );
    } else if text.len() > NAME_LENGTH_MAX {
        errors.at(
            name.value.span(),
            format_args!(
                "the name of a handler has at most {NAME_LENGTH_MAX} characters, this one has {}: \
                 shorten it",
                text.len()
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use bento_relay::retry::RetryPolicies;

    #[test]
    fn the_policies_are_those_of_the_relay() {
        assert_eq!(super::RETRY_POLICIES, RetryPolicies::NAMES);
    }
}
