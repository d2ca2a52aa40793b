//! `#[derive(AggregateId)]`: the id of an aggregate, as text.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DataEnum, DataStruct, DeriveInput, Fields, LitStr, Member, Path, Type, Variant,
};

use crate::diagnostics::Errors;
use crate::door::private;
use crate::keyed::{Grammar, Keyed, for_each_key, set, value};
use crate::syntax;

const GRAMMAR: Grammar = Grammar {
    attribute: "#[aggregate_id(…)]",
    keys: &["crate"],
    form: "crate = path::to::bento_core",
    meant: &[],
};

const VARIANT_GRAMMAR: Grammar = Grammar {
    attribute: "#[aggregate_id(…)]",
    keys: &["rename"],
    form: "rename = \"SE\"",
    meant: &[],
};

/// The implementation. Where there are errors they come first, and the implementation never runs.
pub(crate) fn aggregate_id(input: TokenStream) -> TokenStream {
    let input = match syn::parse2::<DeriveInput>(input) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::new();
    let krate = path_to_the_crate(&input.attrs, &mut errors);
    let private = private(krate.as_ref(), &mut errors);
    let body = match &input.data {
        Data::Struct(data) => fields(&private, data, &mut errors),
        Data::Enum(data) => variants(&private, data, &mut errors),
        Data::Union(data) => {
            errors.on(
                data.union_token,
                "a union cannot identify an aggregate: derive it on a struct or an enum",
            );
            None
        }
    };
    let body = body.unwrap_or_else(|| quote!(#private::unreachable!()));
    let errors = errors.check().err().map(syn::Error::into_compile_error);
    let bounds = bounds(&private, &input);
    let ident = &input.ident;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let predicates = where_clause
        .map(|clause| clause.predicates.iter())
        .into_iter()
        .flatten();
    quote! {
        #errors
        #[automatically_derived]
        impl #impl_generics #private::AggregateId for #ident #ty_generics
        where
            #(#predicates,)*
            #(#bounds,)*
        {
            fn append_to(&self, __bento_key: &mut #private::AggregateKey) {
                #body
            }
        }
    }
}

/// Appends every field as a part, in their order.
fn fields(private: &TokenStream, data: &DataStruct, errors: &mut Errors) -> Option<TokenStream> {
    let parts = data
        .fields
        .members()
        .zip(&data.fields)
        .filter(|(_, field)| !is_phantom(&field.ty));
    let parts: Vec<_> = parts
        .map(|(member, field)| part(private, &member, &field.ty))
        .collect();
    if parts.is_empty() {
        errors.at(
            Span::call_site(),
            "nothing in this struct tells one aggregate from another: an id has a field",
        );
        return None;
    }
    Some(quote!(#(#parts)*))
}

/// Appends one field. A type that cannot be a part is reported at the field.
fn part(private: &TokenStream, member: &Member, ty: &Type) -> TokenStream {
    let append = quote_spanned!(ty.span()=> <#ty as #private::AggregateId>::append_to);
    quote!(#append(&self.#member, __bento_key);)
}

/// True for `PhantomData`, which has no value.
fn is_phantom(ty: &Type) -> bool {
    syntax::is_type(ty, "PhantomData")
}

/// Appends the name of the variant as the part.
fn variants(private: &TokenStream, data: &DataEnum, errors: &mut Errors) -> Option<TokenStream> {
    if data.variants.is_empty() {
        errors.at(
            Span::call_site(),
            "an enum without variants identifies nothing",
        );
        return None;
    }
    let mut seen: Vec<String> = Vec::new();
    let arms: Vec<_> = data
        .variants
        .iter()
        .filter_map(|variant| arm(variant, &mut seen, errors))
        .collect();
    let is_whole = arms.len() == data.variants.len();
    is_whole.then(
        || quote!(#private::AggregateKey::append_text(__bento_key, match *self { #(#arms),* });),
    )
}

fn arm(variant: &Variant, seen: &mut Vec<String>, errors: &mut Errors) -> Option<TokenStream> {
    let ident = &variant.ident;
    if !matches!(variant.fields, Fields::Unit) {
        errors.on(
            variant,
            format_args!(
                "`{ident}` has fields, and a variant identifies an aggregate by its name: \
                 implement `AggregateId` by hand"
            ),
        );
        return None;
    }
    let name = name(variant, errors);
    let (text, span) = (name.value(), name.span());
    if text.is_empty() {
        errors.at(span, "an empty text identifies nothing: write one");
    } else if seen.contains(&text) {
        errors.at(
            span,
            format_args!(
                "two variants are called `{text}`: one aggregate would be taken for another"
            ),
        );
    }
    seen.push(text);
    Some(quote!(Self::#ident => #name))
}

/// `#[aggregate_id(rename = "SE")]`, else the name in Rust.
fn name(variant: &Variant, errors: &mut Errors) -> LitStr {
    let mut rename: Option<Keyed<LitStr>> = None;
    for attr in own(&variant.attrs) {
        for_each_key(
            syntax::arguments(attr),
            &VARIANT_GRAMMAR,
            errors,
            |key, input, errors| {
                if key != "rename" {
                    return Err(VARIANT_GRAMMAR.unknown(key));
                }
                set(
                    &mut rename,
                    key,
                    value(key, input, "rename = \"SE\"")?,
                    errors,
                );
                Ok(())
            },
        );
    }
    let in_rust = || {
        LitStr::new(
            &syn::ext::IdentExt::unraw(&variant.ident).to_string(),
            variant.ident.span(),
        )
    };
    rename.map_or_else(in_rust, |rename| rename.value)
}

fn path_to_the_crate(attrs: &[Attribute], errors: &mut Errors) -> Option<Keyed<Path>> {
    let mut krate = None;
    for attr in own(attrs) {
        for_each_key(
            syntax::arguments(attr),
            &GRAMMAR,
            errors,
            |key, input, errors| {
                if key != "crate" {
                    return Err(GRAMMAR.unknown(key));
                }
                set(
                    &mut krate,
                    key,
                    value(key, input, "crate = path::to::bento_core")?,
                    errors,
                );
                Ok(())
            },
        );
    }
    krate
}

fn own(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident("aggregate_id"))
}

/// Fields whose type depends on a parameter can be parts if that type can.
fn bounds<'a>(
    private: &'a TokenStream,
    input: &'a DeriveInput,
) -> impl Iterator<Item = TokenStream> + 'a {
    let parameters: Vec<String> = input
        .generics
        .type_params()
        .map(|parameter| parameter.ident.to_string())
        .collect();
    let types: Vec<&Type> = match &input.data {
        Data::Struct(data) => data
            .fields
            .iter()
            .map(|field| &field.ty)
            .filter(|ty| !is_phantom(ty))
            .collect(),
        _ => Vec::new(),
    };
    types.into_iter().filter_map(move |ty| {
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
        syntax::mentions(quote!(#ty), &parameters).then(|| quote!(#ty: #private::AggregateId))
    })
}
