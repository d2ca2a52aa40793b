//! The signature of a handler: which types it has, and what is wrong with it.

use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{FnArg, PatType, Receiver, ReturnType, Safety, Signature, Type};

use crate::diagnostics::Errors;
use crate::syntax::{as_written, is_type, mentions, ungrouped_type};

/// Parameters that come after the event.
const EXTRACTORS: [&str; 4] = [
    "State",
    "IdempotencyKey",
    "EventContext",
    "CancellationToken",
];

/// The types in the signature of a handler.
pub(super) struct Types<'a> {
    pub(super) input: &'a Type,
    pub(super) parameters: Vec<&'a Type>,
    pub(super) output: &'a Type,
}

/// The types of a signature. `None` if there is an error about it.
pub(super) fn types<'a>(signature: &'a Signature, errors: &mut Errors) -> Option<Types<'a>> {
    // A method is not such a function; what else is wrong with it matters after that.
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        refuse_receiver(receiver, errors);
        return None;
    }
    let is_fit = [
        check_qualifiers(signature, errors),
        check_generics(signature, errors),
    ];
    let parameters = parameters(signature, errors);
    let output = output(signature, errors);
    let (mut parameters, output) = (parameters?, output?);
    is_fit.iter().all(|is_fit| *is_fit).then(|| Types {
        input: parameters.remove(0),
        parameters,
        output,
    })
}

fn refuse_receiver(receiver: &Receiver, errors: &mut Errors) {
    errors.on(
        receiver,
        "a handler is a free function, and this is a method: move it out of the `impl`, and take \
         the struct as `State(this): State<TheStruct>` after the event",
    );
}

fn check_qualifiers(signature: &Signature, errors: &mut Errors) -> bool {
    let Signature {
        constness,
        asyncness,
        safety,
        abi,
        fn_token,
        ident,
        variadic,
        ..
    } = signature;
    let mut is_fit = true;
    let mut refuse = |tokens: &dyn ToTokens, message: String| {
        errors.on(tokens, message);
        is_fit = false;
    };
    match (constness, asyncness) {
        (Some(constness), Some(_)) => refuse(
            constness,
            "a handler cannot be `const`: remove the word".to_owned(),
        ),
        (_, None) => refuse(
            &quote!(#constness #fn_token),
            format!("a handler is an `async fn`: write `async fn {ident}(…)`"),
        ),
        (None, Some(_)) => {}
    }
    if let Safety::Unsafe(_) = safety {
        refuse(
            safety,
            "a handler cannot be `unsafe`, because the dispatcher calls it for any event: remove \
             the word, and write an `unsafe` block where it is needed"
                .to_owned(),
        );
    }
    if let Some(abi) = abi {
        refuse(
            abi,
            format!("a handler is a Rust function: remove `{}`", as_written(abi)),
        );
    }
    if let Some(variadic) = variadic {
        refuse(
            variadic,
            "a handler has a fixed list of parameters: remove `...`".to_owned(),
        );
    }
    is_fit
}

fn check_generics(signature: &Signature, errors: &mut Errors) -> bool {
    let generics = &signature.generics;
    if generics.params.is_empty() {
        return true;
    }
    let is_lifetimes_alone = generics.lifetimes().count() == generics.params.len();
    let message = if is_lifetimes_alone {
        "a handler has no lifetime parameters: leave them out, as in `tx: &OutboxTransaction`"
    } else {
        "a handler has no generic parameters, because the dispatcher calls it without saying their \
         types: name the types"
    };
    errors.on(&generics.params, message);
    false
}

/// The types of the parameters, at least one.
fn parameters<'a>(signature: &'a Signature, errors: &mut Errors) -> Option<Vec<&'a Type>> {
    let parameters = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(parameter) => Some(parameter),
        FnArg::Receiver(_) => None,
    });
    let mut types = Vec::new();
    let mut is_fit = true;
    for (at, parameter) in parameters.enumerate() {
        is_fit &= check_parameter(at, parameter, errors);
        types.push(&*parameter.ty);
    }
    if types.is_empty() {
        errors.on(
            &signature.ident,
            "a handler takes an event first: write `event: OrderConfirmed` in the parentheses",
        );
        return None;
    }
    is_fit.then_some(types)
}

fn check_parameter(at: usize, parameter: &PatType, errors: &mut Errors) -> bool {
    let ty = ungrouped_type(&parameter.ty);
    if let Some(cfg) = parameter
        .attrs
        .iter()
        .find(|attr| attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr"))
    {
        errors.on(
            cfg,
            "a parameter of a handler has no `#[cfg]`: write two handlers, each with its own",
        );
        return false;
    }
    if mentions(ty.to_token_stream(), &["impl"]) {
        errors.on(
            ty,
            "the dispatcher has to know the type of each parameter: name it instead of `impl`",
        );
        return false;
    }
    let Type::Reference(reference) = ty else {
        if at == 0 && is_extractor(ty) {
            errors.on(ty, event_first(ty));
            return false;
        }
        return true;
    };
    let elem = ungrouped_type(&reference.elem);
    let is_elided = reference
        .lifetime
        .as_ref()
        .is_none_or(|lifetime| lifetime.ident == "_");
    let message = match at {
        0 if is_type(elem, "OutboxTransaction") => event_first(ty),
        0 => format!(
            "a handler takes its event by value: write `{}`",
            as_written(elem)
        ),
        _ if is_extractor(elem) => format!(
            "a handler takes `{elem}` by value: write `{elem}`",
            elem = as_written(elem)
        ),
        _ if reference.mutability.is_some() => {
            let elem = as_written(elem);
            format!("a handler has no `&mut` parameter: write `&{elem}`")
        }
        _ if !is_elided => format!(
            "a handler borrows for the time of its call: write `&{}` without a lifetime",
            as_written(elem)
        ),
        _ => return true,
    };
    errors.on(ty, message);
    false
}

fn event_first(ty: &Type) -> String {
    format!(
        "the first parameter of a handler is its event: write `event: OrderConfirmed` before `{}`",
        as_written(ty)
    )
}

/// True for the name of a parameter that comes after the event.
fn is_extractor(ty: &Type) -> bool {
    let Type::Path(path) = ty else {
        return false;
    };
    let last = path.path.segments.last();
    last.is_some_and(|last| EXTRACTORS.iter().any(|name| last.ident == name))
}

fn output<'a>(signature: &'a Signature, errors: &mut Errors) -> Option<&'a Type> {
    let ReturnType::Type(_, output) = &signature.output else {
        errors.at(
            signature.paren_token.span.close(),
            "a handler says whether it has worked: add `-> Result<(), HandleError>`",
        );
        return None;
    };
    if mentions(output.to_token_stream(), &["impl"]) {
        errors.at(
            output.span(),
            "the dispatcher has to know the type of the result: name it instead of `impl`",
        );
        return None;
    }
    Some(output)
}
