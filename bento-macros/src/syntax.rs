//! Reading of the user's item: its derives, its documentation, its types as text.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Item, Lit, Meta, Path, Token, Type};

use crate::diagnostics::Errors;

/// The doc comment, its lines joined by `\n`, without the margin.
pub(crate) fn docs(attrs: &[Attribute]) -> String {
    let lines = attrs.iter().filter_map(|attr| match &attr.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match ungrouped(&doc.value) {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let without_margin = lines.map(|line| {
        line.strip_prefix(' ')
            .unwrap_or(&line)
            .trim_end()
            .to_owned()
    });
    without_margin
        .collect::<Vec<_>>()
        .join("\n")
        .trim_matches('\n')
        .to_owned()
}

/// True if the item derives a trait whose path ends in `name`.
pub(crate) fn derives(attrs: &[Attribute], name: &str) -> bool {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident("derive"))
        .any(|attr| {
            let paths = attr.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated);
            paths.is_ok_and(|paths| paths.iter().any(|path| last_ident(path, name)))
        })
}

/// The expression without the parentheses around it, and without the groups that a `macro_rules!`
/// leaves around a fragment.
pub(crate) fn ungrouped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => ungrouped(&group.expr),
        Expr::Paren(paren) => ungrouped(&paren.expr),
        other => other,
    }
}

/// The type without the parentheses around it, and without the groups that a `macro_rules!` leaves
/// around a fragment.
pub(crate) fn ungrouped_type(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped_type(&group.elem),
        Type::Paren(paren) => ungrouped_type(&paren.elem),
        other => other,
    }
}

/// True if the path of a type ends in `name`.
pub(crate) fn is_type(ty: &Type, name: &str) -> bool {
    matches!(ungrouped_type(ty), Type::Path(path) if last_ident(&path.path, name))
}

/// Takes the attributes off the item that end in `name`: the macro of this name is at work already.
pub(crate) fn refuse_repeated(item: &mut Item, name: &str, errors: &mut Errors) {
    for repeated in take_attrs(item, |path| last_ident(path, name)) {
        errors.on(
            repeated,
            format_args!("`#[{name}]` is given twice: keep one"),
        );
    }
}

/// Takes the attributes off the item whose path is `unwanted`.
pub(crate) fn take_attrs(item: &mut Item, unwanted: impl Fn(&Path) -> bool) -> Vec<Attribute> {
    let attrs = match item {
        Item::Struct(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        Item::Union(item) => &mut item.attrs,
        Item::Fn(item) => &mut item.attrs,
        _ => return Vec::new(),
    };
    attrs.extract_if(.., |attr| unwanted(attr.path())).collect()
}

/// The keyword of an item, for the span of an error.
pub(crate) fn keyword(item: &Item) -> Span {
    match item {
        Item::Fn(item) => item.sig.fn_token.span,
        Item::Struct(item) => item.struct_token.span,
        Item::Enum(item) => item.enum_token.span,
        Item::Union(item) => item.union_token.span,
        Item::Mod(item) => item.mod_token.span,
        Item::Impl(item) => item.impl_token.span,
        Item::Trait(item) => item.trait_token.span,
        other => other.span(),
    }
}

/// True if `path` ends in `name`.
pub(crate) fn last_ident(path: &Path, name: &str) -> bool {
    path.segments
        .last()
        .is_some_and(|segment| segment.ident == name)
}

/// The tokens in the parentheses of an attribute; none for any other form.
pub(crate) fn arguments(attr: &Attribute) -> TokenStream {
    match &attr.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    }
}

/// True if an identifier occurs anywhere in `tokens`.
pub(crate) fn mentions(tokens: TokenStream, names: &[&str]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => names.iter().any(|name| ident == name),
        TokenTree::Group(group) => mentions(group.stream(), names),
        _ => false,
    })
}

/// True if one of the comma-separated arguments of an attribute begins with `name`.
pub(crate) fn has_argument(attr: &Attribute, name: &str) -> bool {
    let mut begins = true;
    flat(arguments(attr)).any(|token| {
        let found = begins && matches!(&token, TokenTree::Ident(ident) if ident == name);
        begins = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
        found
    })
}

/// The tokens, and in place of each group that a `macro_rules!` left around a fragment what is in
/// it.
fn flat(tokens: TokenStream) -> impl Iterator<Item = TokenTree> {
    tokens.into_iter().flat_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            flat(group.stream()).collect::<Vec<_>>()
        }
        other => vec![other],
    })
}

/// The text in `name = "text"` among the arguments of an attribute.
pub(crate) fn text_argument(attr: &Attribute, name: &str) -> Option<syn::LitStr> {
    let tokens: Vec<TokenTree> = flat(arguments(attr)).collect();
    tokens.windows(3).find_map(|window| match window {
        [
            TokenTree::Ident(ident),
            TokenTree::Punct(equals),
            TokenTree::Literal(literal),
        ] if ident == name && equals.as_char() == '=' => {
            syn::parse2(literal.to_token_stream()).ok()
        }
        _ => None,
    })
}

/// The flag in `name = true` or `name = false` among the arguments of an attribute.
pub(crate) fn flag_argument(attr: &Attribute, name: &str) -> Option<bool> {
    let tokens: Vec<TokenTree> = flat(arguments(attr)).collect();
    tokens.windows(3).find_map(|window| match window {
        [
            TokenTree::Ident(ident),
            TokenTree::Punct(equals),
            TokenTree::Ident(flag),
        ] if ident == name && equals.as_char() == '=' => Some(flag == "true"),
        _ => None,
    })
}

/// The same tokens at another place, for the error the compiler may have about them. A `$crate`
/// goes on naming the crate of its macro.
pub(crate) fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    let respanned = tokens.into_iter().map(|mut token| {
        if let TokenTree::Group(group) = &token {
            token = Group::new(group.delimiter(), respan(group.stream(), span)).into();
        }
        let is_macro_crate = matches!(&token, TokenTree::Ident(ident) if ident == MACRO_CRATE);
        token.set_span(if is_macro_crate {
            token.span().located_at(span)
        } else {
            span
        });
        token
    });
    respanned.collect()
}

/// The places of the first and the last token, between which the compiler underlines.
pub(crate) fn ends(syntax: impl ToTokens) -> (Span, Span) {
    let mut tokens = syntax.to_token_stream().into_iter();
    let first = tokens
        .next()
        .map_or_else(Span::call_site, |token| token.span());
    let last = tokens.last().map_or(first, |token| token.span());
    (first, last)
}

/// `$crate` in what a `macro_rules!` has written.
pub(crate) const MACRO_CRATE: &str = "$crate";

/// Some syntax as a person would write it: `Option<Vec<u8>>`.
pub(crate) fn as_written(syntax: impl ToTokens) -> String {
    let mut text = String::new();
    write(syntax.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                separator @ (',' | ';') => text.extend([separator, ' ']),
                sign @ ('+' | '=') => text.extend([' ', sign, ' ']),
                other => text.push(other),
            },
            word => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::as_written;

    #[test]
    fn a_type_reads_as_it_was_written() {
        assert_eq!(as_written(quote!(Option<Vec<u8>>)), "Option<Vec<u8>>");
        assert_eq!(
            as_written(quote!(std::collections::BTreeMap<String, [i128; 2]>)),
            "std::collections::BTreeMap<String, [i128; 2]>"
        );
        assert_eq!(
            as_written(quote!(Box<dyn Fn(u8) + Send>)),
            "Box<dyn Fn(u8) + Send>"
        );
    }
}
