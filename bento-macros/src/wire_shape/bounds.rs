//! The bounds of a generic type: each parameter in a field has a shape.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Generics, Type};

/// The predicates of the implementation: `T: WireShape` for a parameter that one of `types`
/// mentions, `T::Item: WireShape` for what is taken from it, else `T: 'static`.
pub(super) fn bounds(shape: &TokenStream, generics: &Generics, types: &[Type]) -> Vec<TokenStream> {
    let parameters: Vec<String> = generics
        .type_params()
        .map(|parameter| parameter.ident.to_string())
        .collect();
    let mut bounds: Vec<TokenStream> = parameters
        .iter()
        .map(|parameter| {
            let parameter = quote::format_ident!("{parameter}");
            quote!(#parameter: 'static)
        })
        .collect();
    if parameters.is_empty() {
        return bounds;
    }
    let mut seen: Vec<String> = Vec::new();
    for ty in types {
        for mentioned in mentioned(ty.to_token_stream(), &parameters) {
            let text = mentioned.to_string();
            if !seen.contains(&text) {
                seen.push(text);
                bounds.push(quote!(#mentioned: #shape::WireShape));
            }
        }
    }
    bounds
}

/// The parameters in a type, each with the path behind it. Parameters of `PhantomData` are not
/// written.
fn mentioned(tokens: TokenStream, parameters: &[String]) -> Vec<TokenStream> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Group(group) => found.extend(mentioned(group.stream(), parameters)),
            TokenTree::Ident(ident) if ident == "PhantomData" => at = behind_angles(&tokens, at),
            TokenTree::Ident(ident) if parameters.iter().any(|known| ident == known) => {
                let end = path_end(&tokens, at);
                if !is_behind_colons(&tokens, at) {
                    found.push(tokens[at..=end].iter().cloned().collect());
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The place of the last token of the path that begins at `at`.
fn path_end(tokens: &[TokenTree], mut at: usize) -> usize {
    while let [
        TokenTree::Punct(first),
        TokenTree::Punct(second),
        TokenTree::Ident(_),
        ..,
    ] = &tokens[at + 1..]
        && first.as_char() == ':'
        && second.as_char() == ':'
    {
        at += 3;
    }
    at
}

fn is_behind_colons(tokens: &[TokenTree], at: usize) -> bool {
    at.checked_sub(1).is_some_and(
        |before| matches!(&tokens[before], TokenTree::Punct(punct) if punct.as_char() == ':'),
    )
}

/// The place of the `>` that closes the `<` behind `at`, or `at` itself.
fn behind_angles(tokens: &[TokenTree], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut is_arrow = false;
    for (place, token) in tokens.iter().enumerate().skip(at + 1) {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' && !is_arrow => depth -= 1,
            _ if depth == 0 => return at,
            _ => {}
        }
        if depth == 0 {
            return place;
        }
        is_arrow = matches!(token, TokenTree::Punct(punct) if punct.as_char() == '-');
    }
    at
}

#[cfg(test)]
mod tests {
    use quote::quote;
    use syn::{Generics, Type, parse_quote};

    use super::bounds;

    fn bounds_of(generics: &Generics, ty: Type) -> Vec<String> {
        let bounds = bounds(&quote!(shape), generics, &[ty]);
        bounds.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_parameter_in_a_field_has_a_shape() {
        let generics = parse_quote!(<T, U>);
        let all = bounds_of(&generics, parse_quote!(HashMap<u8, Vec<[T; 2]>>));
        assert_eq!(
            all,
            ["T : 'static", "U : 'static", "T : shape :: WireShape"]
        );
    }

    #[test]
    fn what_is_taken_from_a_parameter_has_a_shape_in_its_place() {
        let all = bounds_of(&parse_quote!(<T>), parse_quote!((T::Key, other::T)));
        assert_eq!(all, ["T : 'static", "T :: Key : shape :: WireShape"]);
    }

    #[test]
    fn phantom_data_needs_no_shape() {
        let ty = parse_quote!((std::marker::PhantomData<fn(Vec<T>) -> T>, U, PhantomData));
        let all = bounds_of(&parse_quote!(<T, U>), ty);
        assert_eq!(
            all,
            ["T : 'static", "U : 'static", "U : shape :: WireShape"]
        );
    }
}
