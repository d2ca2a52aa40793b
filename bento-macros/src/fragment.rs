//! Fragments that a `macro_rules!` has put into the tokens of a macro of ours.
//!
//! The compiler takes the invisible groups around them apart again where a macro writes them, so
//! that of `$e * 2` with `1 + 1` for `$e` there would be left `1 + 1 * 2`.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::Expr;

/// The same expression with parentheses around each fragment that may not be taken apart.
pub(crate) fn parenthesised(tokens: TokenStream) -> TokenStream {
    tokens.into_iter().map(parenthesised_tree).collect()
}

fn parenthesised_tree(token: TokenTree) -> TokenTree {
    let TokenTree::Group(group) = token else {
        return token;
    };
    let content = parenthesised(group.stream());
    let is_fragment = group.delimiter() == Delimiter::None && binds_loosely(&content);
    let delimiter = if is_fragment {
        Delimiter::Parenthesis
    } else {
        group.delimiter()
    };
    let mut whole = Group::new(delimiter, content);
    whole.set_span(group.span());
    whole.into()
}

/// True if an operator beside the fragment could take a part of it alone. Patterns and types that
/// look like such an expression may have parentheses as well.
fn binds_loosely(fragment: &TokenStream) -> bool {
    let expression = syn::parse2::<Expr>(fragment.clone());
    expression.is_ok_and(|expression| {
        matches!(
            expression,
            Expr::Binary(_)
                | Expr::Cast(_)
                | Expr::Closure(_)
                | Expr::If(_)
                | Expr::Match(_)
                | Expr::Range(_)
                | Expr::Reference(_)
                | Expr::Unary(_)
        )
    })
}

#[cfg(test)]
mod tests {
    use proc_macro2::{Delimiter, Group, TokenStream};
    use quote::quote;

    use super::parenthesised;

    fn fragment(content: TokenStream) -> Group {
        Group::new(Delimiter::None, content)
    }

    #[test]
    fn a_fragment_stays_whole_between_operators() {
        let sum = fragment(quote!(1 + 1));
        assert_eq!(
            parenthesised(quote!(#sum * 2)).to_string(),
            quote!((1 + 1) * 2).to_string()
        );
        assert_eq!(
            parenthesised(quote!(vec![#sum * 2])).to_string(),
            quote!(vec![(1 + 1) * 2]).to_string()
        );
        let negative = fragment(quote!(-1i64));
        assert_eq!(
            parenthesised(quote!(#negative.abs())).to_string(),
            quote!((-1i64).abs()).to_string()
        );
    }

    #[test]
    fn a_fragment_that_no_operator_divides_stays_as_it_is() {
        let ty = fragment(quote!(Vec<u8>));
        let call = fragment(quote!(zero()));
        let expression = quote!(<#ty>::with_capacity(#call));
        assert_eq!(
            parenthesised(expression.clone()).to_string(),
            expression.to_string()
        );
    }
}
