//! From the types that were met to one tree: nested types expanded, fields in one order.

use super::{Choice, Defined, Definition, Element, Field, Node, Object, Read, Tagging, Variant};

/// The tree and the types in it that contain themselves.
pub(super) fn resolve(root: &Node, defined: &[Defined]) -> (Node, Vec<Node>) {
    let mut resolver = Resolver {
        defined,
        contain_themselves: contain_themselves(defined),
        recursive: Vec::new(),
    };
    let root = resolver.expand(root);
    let mut definitions = Vec::new();
    while let Some(next) = resolver.recursive.get(definitions.len()) {
        let node = &defined[next.0].node;
        definitions.push(resolver.expand(node));
    }
    (root, definitions)
}

struct Resolver<'a> {
    defined: &'a [Defined],
    contain_themselves: Vec<bool>,
    /// The types that the tree refers to. Their places here are their new numbers.
    recursive: Vec<Definition>,
}

impl Resolver<'_> {
    fn expand(&mut self, node: &Node) -> Node {
        match node {
            Node::Optional(inner) => self.expand(inner).optional(),
            Node::List(item) => self.expand(item).list(),
            Node::Array { length, item } => Node::Array {
                length: *length,
                item: Box::new(self.expand(item)),
            },
            Node::Map { key, value } => {
                let key = self.expand(key);
                self.expand(value).by(key)
            }
            Node::Tuple(elements) => Node::Tuple(self.elements(elements)),
            Node::Object(object) => Node::Object(self.object(object)),
            Node::Choice(choice) => Node::Choice(self.choice(choice)),
            Node::Reference(definition) if self.contain_themselves[definition.0] => {
                Node::Reference(self.number(*definition))
            }
            Node::Reference(definition) => {
                let defined = self.defined;
                self.expand(&defined[definition.0].node)
            }
            Node::Null | Node::Nothing | Node::Scalar(_) | Node::Opaque(_) | Node::Constant(_) => {
                node.clone()
            }
        }
    }

    fn number(&mut self, definition: Definition) -> Definition {
        let known = self.recursive.iter().position(|known| *known == definition);
        Definition(known.unwrap_or_else(|| {
            self.recursive.push(definition);
            self.recursive.len() - 1
        }))
    }

    fn elements(&mut self, elements: &[Element]) -> Vec<Element> {
        let expanded = elements.iter().map(|element| Element {
            node: self.expand(&element.node),
            ..element.clone()
        });
        expanded.collect()
    }

    fn object(&mut self, object: &Object) -> Object {
        let mut whole = Object {
            is_closed: object.is_closed,
            ..Object::default()
        };
        self.gather(object, &mut whole);
        whole
            .fields
            .sort_by(|left, right| left.name.cmp(&right.name));
        let fields = whole.fields.into_iter().map(|field| self.field(field));
        whole.fields = fields.filter(|field| field.node != Node::Nothing).collect();
        let flattened = whole.flattened.iter().map(|node| self.expand(node));
        whole.flattened = flattened.filter(|node| *node != Node::Nothing).collect();
        whole
    }

    /// Adds the fields of an object and of the objects that are flattened into it.
    fn gather(&self, object: &Object, whole: &mut Object) {
        whole.fields.extend(object.fields.iter().cloned());
        for flattened in &object.flattened {
            match self.behind(flattened) {
                Node::Object(inner) => self.gather(inner, whole),
                other => whole.flattened.push(other.clone()),
            }
        }
    }

    /// The node that a reference leads to, unless that type contains itself.
    fn behind<'a>(&'a self, node: &'a Node) -> &'a Node {
        match node {
            Node::Reference(definition) if !self.contain_themselves[definition.0] => {
                self.behind(&self.defined[definition.0].node)
            }
            other => other,
        }
    }

    fn field(&mut self, mut field: Field) -> Field {
        field.read = match field.read {
            Read::ByType if self.reads_absence(&field.node) => Read::Optional,
            Read::ByType => Read::Required,
            known => known,
        };
        field.node = self.expand(&field.node);
        tidy_aliases(&mut field.aliases, &field.name);
        field
    }

    /// True if serde reads a missing field of this shape as `None`.
    fn reads_absence(&self, node: &Node) -> bool {
        match node {
            Node::Optional(_) => true,
            Node::Reference(definition) => {
                let Defined { node, is_newtype } = &self.defined[definition.0];
                !is_newtype && self.reads_absence(node)
            }
            _ => false,
        }
    }

    fn choice(&mut self, choice: &Choice) -> Choice {
        let mut variants = choice.variants.clone();
        for variant in &mut variants {
            variant.is_untagged |= choice.tagging == Tagging::Untagged;
        }
        // The sort is stable: variants without a tag are tried in their order.
        variants.sort_by(|left, right| order(left).cmp(&order(right)));
        for variant in &mut variants {
            variant.content = self.expand(&variant.content);
            tidy_aliases(&mut variant.aliases, &variant.name);
        }
        Choice {
            variants,
            ..choice.clone()
        }
    }
}

/// Variants with a tag come first, by their names.
fn order(variant: &Variant) -> (bool, Option<&str>) {
    let name = (!variant.is_untagged).then_some(variant.name.as_str());
    (variant.is_untagged, name)
}

fn tidy_aliases(aliases: &mut Vec<String>, name: &str) {
    aliases.retain(|alias| alias != name);
    aliases.sort_unstable();
    aliases.dedup();
}

/// Says of each type if it can contain a value of itself.
fn contain_themselves(defined: &[Defined]) -> Vec<bool> {
    let parts: Vec<Vec<Definition>> = defined
        .iter()
        .map(|defined| {
            let mut parts = Vec::new();
            references(&defined.node, &mut parts);
            parts
        })
        .collect();
    (0..parts.len())
        .map(|at| reaches(Definition(at), &parts))
        .collect()
}

fn reaches(from: Definition, parts: &[Vec<Definition>]) -> bool {
    let mut seen = vec![false; parts.len()];
    let mut next = parts[from.0].clone();
    while let Some(definition) = next.pop() {
        if definition == from {
            return true;
        }
        if !std::mem::replace(&mut seen[definition.0], true) {
            next.extend(&parts[definition.0]);
        }
    }
    false
}

fn references(node: &Node, found: &mut Vec<Definition>) {
    match node {
        Node::Null | Node::Nothing | Node::Scalar(_) | Node::Opaque(_) | Node::Constant(_) => {}
        Node::Optional(inner) | Node::List(inner) | Node::Array { item: inner, .. } => {
            references(inner, found);
        }
        Node::Tuple(elements) => elements
            .iter()
            .for_each(|element| references(&element.node, found)),
        Node::Map { key, value } => {
            references(key, found);
            references(value, found);
        }
        Node::Object(object) => {
            let fields = object.fields.iter().map(|field| &field.node);
            fields
                .chain(&object.flattened)
                .for_each(|part| references(part, found));
        }
        Node::Choice(choice) => choice
            .variants
            .iter()
            .for_each(|variant| references(&variant.content, found)),
        Node::Reference(definition) => found.push(*definition),
    }
}
