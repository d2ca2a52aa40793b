//! The wire shape of a type: the JSON that serde writes of its values, as data.
//!
//! Two types have the same [`Shape`] if each reads what the other writes. So a stored value is kept
//! beside the [`fingerprint`](Shape::fingerprint) of the shape that wrote it, and a program with
//! another shape does not read it.

mod foreign;
mod node;
mod resolve;
mod standard;
mod text;

use std::any::TypeId;
use std::collections::HashMap;

pub use self::node::{
    Choice, Definition, Element, Field, Node, Object, Read, Scalar, Tagging, Variant, Written,
};

/// A type whose JSON is known: made by `#[derive(WireShape)]`, beside serde's derives.
///
/// Implemented for the types of the standard library that serde knows, for `Uuid`, the dates and
/// times of `chrono`, and JSON values.
///
/// ```
/// use bento_core::shape::Shape;
/// use bento_core::WireShape;
///
/// #[derive(WireShape)]
/// # #[derive(serde::Serialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Line {
///     article_number: String,
///     quantity: u32,
/// }
///
/// #[derive(WireShape)]
/// # #[derive(serde::Serialize)]
/// struct Order {
///     lines: Vec<Line>,
///     note: Option<String>,
/// }
///
/// assert_eq!(
///     Shape::of::<Order>().to_string(),
///     "\
/// object
///   lines: list of object
///     articleNumber: string
///     quantity: u32
///   note: optional string (may be missing)
/// "
/// );
/// ```
///
/// A type with a hand-written `Serialize` implements the trait by hand:
///
/// ```
/// use bento_core::shape::{Node, Shapes, WireShape};
///
/// /// Written as text, `12.50 EUR`.
/// struct Money { cents: i64 }
///
/// impl WireShape for Money {
///     fn wire_shape(_: &mut Shapes) -> Node {
///         Node::opaque("money")
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the wire shape of `{Self}` is unknown",
    label = "`{Self}` does not implement `WireShape`",
    note = "a type of your own derives it, with `#[derive(WireShape)]`; for a type of another \
            crate write `#[shape(as = Type)]` or `#[shape(opaque = \"name\")]` above the field"
)]
pub trait WireShape: 'static {
    /// Returns the shape of the type. Types that it consists of are noted in `shapes`.
    ///
    /// A type that can contain itself passes its shape through [`Shapes::define`].
    fn wire_shape(shapes: &mut Shapes) -> Node;
}

/// The types that were met while a [`Shape`] is made, each once.
#[derive(Debug, Default)]
pub struct Shapes {
    known: HashMap<TypeId, Definition>,
    defined: Vec<Defined>,
}

/// The shape of a type that was met.
#[derive(Debug)]
struct Defined {
    node: Node,
    /// True for a struct of one field without a name. Where it holds an `Option`, a field of it may
    /// not be missing.
    is_newtype: bool,
}

impl Shapes {
    /// Returns a reference to the shape of `T`, which `shape` makes when the type is met first.
    ///
    /// Within `shape` the type is known already, so that a type may contain itself.
    pub fn define<T: ?Sized + 'static>(&mut self, shape: impl FnOnce(&mut Self) -> Node) -> Node {
        self.define_as::<T>(false, shape)
    }

    /// [`define`](Self::define) for a struct of one field without a name.
    #[doc(hidden)]
    pub fn define_newtype<T: ?Sized + 'static>(
        &mut self,
        shape: impl FnOnce(&mut Self) -> Node,
    ) -> Node {
        self.define_as::<T>(true, shape)
    }

    fn define_as<T: ?Sized + 'static>(
        &mut self,
        is_newtype: bool,
        shape: impl FnOnce(&mut Self) -> Node,
    ) -> Node {
        let id = TypeId::of::<T>();
        if let Some(known) = self.known.get(&id) {
            return Node::Reference(*known);
        }
        let definition = Definition(self.defined.len());
        self.known.insert(id, definition);
        self.defined.push(Defined {
            node: Node::Nothing,
            is_newtype,
        });
        self.defined[definition.0].node = shape(self);
        Node::Reference(definition)
    }
}

/// The wire shape of a type: a tree in which nested types are expanded.
///
/// A type that contains itself is in [`definitions`](Self::definitions) once, and the tree refers
/// to it. Rust names are not part of a shape, unless serde writes them. Neither is the order of
/// fields, nor that of named variants: JSON objects are read in any order, and a shape has them in
/// alphabetical order. What the shape does not know is the code behind the attributes: a default
/// value, a condition of `skip_serializing_if`, a conversion.
///
/// Its `Display` is the canonical text, which is the same on every platform and in every version
/// of Rust: one line for a field, nested types indented below it.
///
/// [`Shape::of`] walks over all types: keep the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    root: Node,
    definitions: Vec<Node>,
}

impl Shape {
    /// Returns the shape of `T`.
    pub fn of<T: WireShape + ?Sized>() -> Self {
        let mut shapes = Shapes::default();
        let root = T::wire_shape(&mut shapes);
        let (root, definitions) = resolve::resolve(&root, &shapes.defined);
        Self { root, definitions }
    }

    /// The tree of the type itself.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The types that contain themselves, in the order in which the tree first refers to them. A
    /// [`Definition`] is an index of this list.
    pub fn definitions(&self) -> &[Node] {
        &self.definitions
    }

    /// The hash of the canonical text, which is the same on every platform and in every version of
    /// Rust.
    ///
    /// ```
    /// use bento_core::shape::Shape;
    ///
    /// assert_eq!(Shape::of::<Vec<u8>>().fingerprint(), Shape::of::<Box<[u8]>>().fingerprint());
    /// assert_ne!(Shape::of::<Vec<u8>>().fingerprint(), Shape::of::<Vec<u16>>().fingerprint());
    /// ```
    pub fn fingerprint(&self) -> u64 {
        xxhash_rust::xxh64::xxh64(self.to_string().as_bytes(), 0)
    }
}
