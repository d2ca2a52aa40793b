//! The tokens of a shape.

use std::cell::RefCell;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{LitStr, Type};

use super::bounds::bounds;
use super::input::{Alternative, Body, Input, Part, Parts, Style, Word};
use crate::keyed::Keyed;
use crate::serde_attrs::Sides;

/// The implementation. Behind errors, its body is never run. A type that borrows has none.
pub(super) fn expand(
    input: &Input,
    private: &TokenStream,
    errors: Option<TokenStream>,
) -> TokenStream {
    if input.item.generics.lifetimes().next().is_some() {
        return quote!(#errors);
    }
    let expansion = Expansion {
        input,
        shape: quote!(#private::shape),
        private,
        types: RefCell::default(),
    };
    let body = if errors.is_some() {
        quote!(#private::unreachable!())
    } else if input.is_refused_by_serde() {
        quote!(const { #private::panic!("an attribute of serde is unknown to `WireShape`") })
    } else {
        let node = expansion.node();
        let define = expansion.define();
        quote!(__bento_shapes.#define::<Self>(|__bento_shapes| #node))
    };
    let shape = &expansion.shape;
    let ident = &input.item.ident;
    let (impl_generics, ty_generics, where_clause) = input.item.generics.split_for_impl();
    let predicates = where_clause
        .map(|clause| &clause.predicates)
        .into_iter()
        .flatten();
    let bounds = bounds(shape, &input.item.generics, &expansion.types.borrow());
    quote! {
        #errors
        #[automatically_derived]
        impl #impl_generics #shape::WireShape for #ident #ty_generics
        where
            #(#predicates,)*
            #(#bounds,)*
        {
            #[allow(unused_variables, deprecated)]
            fn wire_shape(__bento_shapes: &mut #shape::Shapes) -> #shape::Node {
                #body
            }
        }
    }
}

struct Expansion<'a> {
    input: &'a Input<'a>,
    private: &'a TokenStream,
    /// The path to the module of shapes.
    shape: TokenStream,
    /// The types whose shapes are asked for.
    types: RefCell<Vec<Type>>,
}

impl Expansion<'_> {
    fn node(&self) -> TokenStream {
        let input = self.input;
        if let Some(word) = &input.word {
            return self.by_word(word);
        }
        if let Some(ty) = input.converted() {
            return self.of_type(&ty);
        }
        match &input.body {
            Body::Struct(_) if input.serde.is_transparent => input
                .transparent()
                .map_or_else(|| self.unreachable(), |part| self.part(part)),
            Body::Struct(parts) => self.whole_struct(parts),
            Body::Enum(variants) => self.choice(variants),
            Body::Union(_) => self.unreachable(),
        }
    }

    /// The method that notes the type.
    fn define(&self) -> TokenStream {
        let input = self.input;
        let is_other = input.word.is_some() || input.converted().is_some();
        match &input.body {
            Body::Struct(parts)
                if parts.style == Style::Newtype && !is_other && !input.serde.is_transparent =>
            {
                quote!(define_newtype)
            }
            _ => quote!(define),
        }
    }

    fn unreachable(&self) -> TokenStream {
        let private = self.private;
        quote!(#private::unreachable!())
    }

    fn by_word(&self, word: &Keyed<Word>) -> TokenStream {
        let shape = &self.shape;
        match &word.value {
            Word::As(ty) => self.of_type(ty),
            Word::Opaque(name) => quote!(#shape::Node::opaque(#name)),
        }
    }

    /// The shape of a type. One without a shape is reported at the type.
    fn of_type(&self, ty: &Type) -> TokenStream {
        let shape = &self.shape;
        self.types.borrow_mut().push(ty.clone());
        let call = quote_spanned!(ty.span()=> <#ty as #shape::WireShape>::wire_shape);
        quote!(#call(__bento_shapes))
    }

    fn part(&self, part: &Part) -> TokenStream {
        match &part.word {
            Some(word) => self.by_word(word),
            None => self.of_type(&part.field.ty),
        }
    }

    fn whole_struct(&self, parts: &Parts) -> TokenStream {
        let (shape, private) = (&self.shape, self.private);
        let serde = &self.input.serde;
        if parts.style == Style::Unit {
            return quote!(#shape::Node::Null);
        }
        let tag = serde.tag.as_ref().map(|tag| {
            let ident = syn::ext::IdentExt::unraw(&self.input.item.ident).to_string();
            let [written, _] = serde.rename.values();
            let name = written.unwrap_or(ident);
            let read = quote!(#shape::Read::Optional);
            field(
                shape,
                &tag.value(),
                &quote!(#shape::Node::Constant(#private::From::from(#name))),
                &read,
            )
        });
        self.parts(parts, &[&serde.rename_all], serde.denies_unknown, tag)
    }

    /// The content of a struct or of a variant.
    fn parts(
        &self,
        parts: &Parts,
        rules: &[&Sides],
        is_closed: bool,
        tag: Option<TokenStream>,
    ) -> TokenStream {
        let (shape, private) = (&self.shape, self.private);
        let kept: Vec<&Part> = parts
            .fields
            .iter()
            .filter(|part| !part.is_skipped())
            .collect();
        match parts.style {
            Style::Unit => quote!(#shape::Node::Nothing),
            Style::Newtype => match kept.first() {
                Some(part) => self.part(part),
                None => quote!(#shape::Node::Nothing),
            },
            Style::Tuple => {
                let elements = kept.iter().map(|part| self.element(part));
                quote!(#shape::Node::Tuple(#private::Vec::from([#(#elements),*])))
            }
            Style::Named => {
                let (flattened, named): (Vec<&Part>, Vec<&Part>) =
                    kept.iter().partition(|part| part.serde.flatten.is_some());
                let fields = named.iter().map(|part| self.field(part, rules));
                let fields = tag.into_iter().chain(fields);
                let flattened = flattened.iter().map(|part| self.part(part));
                quote! {
                    #shape::Node::Object(#shape::Object {
                        fields: #private::Vec::from([#(#fields),*]),
                        flattened: #private::Vec::from([#(#flattened),*]),
                        is_closed: #is_closed,
                    })
                }
            }
        }
    }

    fn field(&self, part: &Part, rules: &[&Sides]) -> TokenStream {
        let (shape, private) = (&self.shape, self.private);
        let names = field_names(part, rules);
        let is_used = [!part.is_never_written(), !part.is_never_read()];
        let (name, aliases) = name_and_aliases(names, is_used, &part.serde.aliases);
        let node = self.part(part);
        let (written, read) = (self.written(part), self.read(part));
        quote! {
            #shape::Field {
                name: #private::From::from(#name),
                aliases: #private::Vec::from([#(#private::From::from(#aliases)),*]),
                node: #node,
                written: #written,
                read: #read,
            }
        }
    }

    fn element(&self, part: &Part) -> TokenStream {
        let shape = &self.shape;
        let node = self.part(part);
        let (written, read) = (self.written(part), self.read(part));
        quote!(#shape::Element { node: #node, written: #written, read: #read })
    }

    fn written(&self, part: &Part) -> TokenStream {
        let shape = &self.shape;
        if part.is_never_written() {
            quote!(#shape::Written::Never)
        } else if part.serde.skip_serializing.is_some() {
            quote!(#shape::Written::Sometimes)
        } else {
            quote!(#shape::Written::Always)
        }
    }

    fn read(&self, part: &Part) -> TokenStream {
        let shape = &self.shape;
        let is_named = part.field.ident.is_some();
        // `default` above the type is of its own fields, not of those of a flattened one.
        let of_type = self.input.serde.default && matches!(self.input.body, Body::Struct(_));
        if part.is_never_read() {
            quote!(#shape::Read::Never)
        } else if part.serde.default || of_type {
            quote!(#shape::Read::Optional)
        } else if is_named && part.serde.read_with.is_none() {
            quote!(#shape::Read::ByType)
        } else {
            quote!(#shape::Read::Required)
        }
    }

    fn choice(&self, variants: &[Alternative]) -> TokenStream {
        let (shape, private) = (&self.shape, self.private);
        let tagging = self.tagging();
        let is_closed = self.input.serde.denies_unknown;
        let variants = variants
            .iter()
            .filter(|variant| !variant.serde.is_skipped())
            .map(|variant| self.variant(variant));
        quote! {
            #shape::Node::Choice(#shape::Choice {
                tagging: #tagging,
                variants: #private::Vec::from([#(#variants),*]),
                is_closed: #is_closed,
            })
        }
    }

    fn tagging(&self) -> TokenStream {
        let (shape, private) = (&self.shape, self.private);
        let serde = &self.input.serde;
        match (&serde.tag, &serde.content) {
            _ if serde.is_untagged => quote!(#shape::Tagging::Untagged),
            (Some(tag), Some(content)) => quote! {
                           #shape::Tagging::Adjacent { tag: #private::From::from(#tag),
            content: #private::From::from(#content) }
                       },
            (Some(tag), None) => {
                quote!(#shape::Tagging::Internal { tag: #private::From::from(#tag) })
            }
            (None, _) => quote!(#shape::Tagging::External),
        }
    }

    fn variant(&self, variant: &Alternative) -> TokenStream {
        let (shape, private) = (&self.shape, self.private);
        let serde = &variant.serde;
        let names = serde.names(&variant.ident(), &self.input.serde.rename_all);
        let is_used = [!serde.skips_serializing, !serde.skips_deserializing];
        let (name, aliases) = name_and_aliases(names, is_used, &serde.aliases);
        let content = match &variant.word {
            Some(word) => self.by_word(word),
            None => self.parts(
                &variant.parts,
                &self.input.rules_within(variant),
                false,
                None,
            ),
        };
        let [is_written, is_read] = is_used;
        let (is_other, is_untagged) = (serde.is_other, serde.is_untagged);
        quote! {
            #shape::Variant {
                name: #private::From::from(#name),
                aliases: #private::Vec::from([#(#private::From::from(#aliases)),*]),
                content: #content,
                is_written: #is_written,
                is_read: #is_read,
                is_other: #is_other,
                is_untagged: #is_untagged,
            }
        }
    }
}

/// A field that serde adds.
fn field(shape: &TokenStream, name: &str, node: &TokenStream, read: &TokenStream) -> TokenStream {
    quote!(#shape::Field { read: #read, ..#shape::Field::new(#name, #node) })
}

/// The name that is written, if any, and those that are read beside it.
fn name_and_aliases(
    [written, read]: [String; 2],
    [is_written, is_read]: [bool; 2],
    aliases: &[LitStr],
) -> (String, Vec<String>) {
    let mut aliases: Vec<String> = aliases.iter().map(LitStr::value).collect();
    if !is_written {
        return (read, aliases);
    }
    if !is_read {
        return (written, Vec::new());
    }
    if read != written {
        aliases.push(read);
    }
    (written, aliases)
}

/// The names of a field for writing and for reading. The first rules that are given for a direction
/// hold.
pub(super) fn field_names(part: &Part, rules: &[&Sides]) -> [String; 2] {
    part.serde.names(&part.ident(), &first_given(rules))
}

fn first_given(rules: &[&Sides]) -> Sides {
    Sides {
        serialize: rules.iter().find_map(|rules| rules.serialize.clone()),
        deserialize: rules.iter().find_map(|rules| rules.deserialize.clone()),
    }
}
