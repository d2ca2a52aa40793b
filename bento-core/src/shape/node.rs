//! The parts of a shape.

/// A part of a [`Shape`](super::Shape): what serde writes of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// `null`: of `()`, a unit struct or a `PhantomData`.
    Null,
    /// Nothing that is read or written: the content of a variant without fields, and pending
    /// events. An object has no field for it.
    Nothing,
    /// One value without parts.
    Scalar(Scalar),
    /// A value whose form is known by its name alone.
    Opaque(String),
    /// This text and no other: the tag of a struct.
    Constant(String),
    /// The value, or `null`.
    Optional(Box<Self>),
    /// Any number of values.
    List(Box<Self>),
    /// A fixed number of values.
    Array {
        /// The number of values.
        length: usize,
        /// Each of them.
        item: Box<Self>,
    },
    /// Values of different types at fixed places: a tuple, or a struct without names.
    Tuple(Vec<Element>),
    /// An object whose names are data.
    Map {
        /// The names.
        key: Box<Self>,
        /// The values.
        value: Box<Self>,
    },
    /// An object with these fields.
    Object(Object),
    /// One of several variants.
    Choice(Choice),
    /// A type that is defined elsewhere, because it contains itself.
    Reference(Definition),
}

/// The index of a type in [`Shape::definitions`](super::Shape::definitions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Definition(pub(super) usize);

impl Definition {
    /// The index.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A value without parts. `isize` and `usize` are 64 bits wide, as serde writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is called like the Rust type")]
pub enum Scalar {
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Text,
    /// Bytes as serde's `serialize_bytes` writes them.
    Bytes,
    Uuid,
    /// A moment with its offset from UTC.
    DateTime,
    /// Date and time without an offset.
    LocalDateTime,
    Date,
    Time,
    /// Any JSON number.
    Number,
    /// Any JSON.
    Json,
}

/// An object of named fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// The fields. Those of a flattened struct are among them.
    pub fields: Vec<Field>,
    /// The parts that are flattened into the object and are no struct: a map, an enum, an `Option`.
    pub flattened: Vec<Node>,
    /// True if reading refuses other fields: `deny_unknown_fields`.
    pub is_closed: bool,
}

/// A field of an [`Object`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name that is written, and read.
    pub name: String,
    /// Other names that are read.
    pub aliases: Vec<String>,
    /// The value.
    pub node: Node,
    /// Says if the field is written.
    pub written: Written,
    /// Says if the field is read.
    pub read: Read,
}

/// A place in a tuple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The value.
    pub node: Node,
    /// Says if the element is written.
    pub written: Written,
    /// Says if the element is read.
    pub read: Read,
}

/// Says if a part is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Written {
    /// Always.
    #[default]
    Always,
    /// Not always: `skip_serializing_if`.
    Sometimes,
    /// Not at all: `skip_serializing`.
    Never,
}

/// Says if a part is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Read {
    /// The part may be missing if it is an `Option`. In a [`Shape`](super::Shape) it is one of the
    /// others.
    #[default]
    ByType,
    /// The part must be there.
    Required,
    /// The part may be missing: an `Option`, or `default`.
    Optional,
    /// The part is not read: `skip_deserializing`.
    Never,
}

/// One of several variants: an enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The way in which the variant is told.
    pub tagging: Tagging,
    /// The variants.
    pub variants: Vec<Variant>,
    /// True if reading refuses other fields: `deny_unknown_fields`.
    pub is_closed: bool,
}

/// The way in which the JSON of an enum tells its variant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tagging {
    /// `"Name"`, or `{"Name": content}`.
    External,
    /// `{"tag": "Name", …}` with the fields of the content.
    Internal {
        /// The name of the field that holds the name of the variant.
        tag: String,
    },
    /// `{"tag": "Name", "content": content}`.
    Adjacent {
        /// The name of the field that holds the name of the variant.
        tag: String,
        /// The name of the field that holds the content.
        content: String,
    },
    /// The content alone. The first variant that can be read is the one.
    Untagged,
}

/// A variant of a [`Choice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The name that is written, and read.
    pub name: String,
    /// Other names that are read.
    pub aliases: Vec<String>,
    /// The content; [`Node::Nothing`] if the variant has no fields.
    pub content: Node,
    /// False for `skip_serializing`.
    pub is_written: bool,
    /// False for `skip_deserializing`.
    pub is_read: bool,
    /// True if any other name is read as this variant: `other`.
    pub is_other: bool,
    /// True if the variant has no tag, though those before it may have one.
    pub is_untagged: bool,
}

impl Node {
    /// A value whose form is known by its name alone, such as `decimal`.
    pub fn opaque(name: impl Into<String>) -> Self {
        Self::Opaque(name.into())
    }

    /// The value, or `null`.
    #[must_use]
    pub fn optional(self) -> Self {
        Self::Optional(Box::new(self))
    }

    /// Any number of these values.
    #[must_use]
    pub fn list(self) -> Self {
        Self::List(Box::new(self))
    }

    /// A map to these values.
    #[must_use]
    pub fn by(self, key: Self) -> Self {
        Self::Map {
            key: Box::new(key),
            value: Box::new(self),
        }
    }

    /// An object with these fields.
    pub fn object(fields: impl IntoIterator<Item = Field>) -> Self {
        Self::Object(Object {
            fields: fields.into_iter().collect(),
            ..Object::default()
        })
    }

    /// These values at fixed places.
    pub fn tuple(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::Tuple(elements.into_iter().map(Element::new).collect())
    }
}

impl Field {
    /// A field that is always written. It may be missing where it is an `Option`.
    pub fn new(name: impl Into<String>, node: Node) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            node,
            written: Written::default(),
            read: Read::default(),
        }
    }
}

impl Element {
    /// An element that is always written and read.
    pub fn new(node: Node) -> Self {
        Self {
            node,
            written: Written::default(),
            read: Read::Required,
        }
    }
}

impl Variant {
    /// A variant that is written and read under this name.
    pub fn new(name: impl Into<String>, content: Node) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            content,
            is_written: true,
            is_read: true,
            is_other: false,
            is_untagged: false,
        }
    }
}
