//! The canonical text of a shape. It is stored and hashed: a change of it changes every
//! fingerprint.

use std::fmt::{self, Formatter};

use super::{Choice, Element, Field, Node, Object, Read, Scalar, Shape, Tagging, Variant, Written};

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = Text { f, depth: 0 };
        text.whole(self)
    }
}

struct Text<'a, 'f> {
    f: &'a mut Formatter<'f>,
    depth: usize,
}

impl Text<'_, '_> {
    fn whole(mut self, shape: &Shape) -> fmt::Result {
        self.line("", &shape.root, &[])?;
        for (at, definition) in shape.definitions.iter().enumerate() {
            self.line(&format!("#{at}: "), definition, &[])?;
        }
        Ok(())
    }

    /// Writes a line for the node, and those below it.
    fn line(&mut self, label: &str, node: &Node, marks: &[String]) -> fmt::Result {
        self.indent()?;
        self.f.write_str(label)?;
        self.head(node)?;
        self.end(marks)?;
        self.depth += 1;
        self.body(node)?;
        self.depth -= 1;
        Ok(())
    }

    fn indent(&mut self) -> fmt::Result {
        (0..self.depth).try_for_each(|_| self.f.write_str("  "))
    }

    fn end(&mut self, marks: &[String]) -> fmt::Result {
        if marks.is_empty() {
            self.f.write_str("\n")
        } else {
            writeln!(self.f, " ({})", marks.join(", "))
        }
    }

    fn head(&mut self, node: &Node) -> fmt::Result {
        match node {
            Node::Null => self.f.write_str("null"),
            Node::Nothing => self.f.write_str("nothing"),
            Node::Scalar(scalar) => self.f.write_str(scalar_name(*scalar)),
            Node::Opaque(opaque) => write!(self.f, "opaque {}", quoted(opaque)),
            Node::Constant(text) => self.f.write_str(&quoted(text)),
            Node::Optional(inner) => {
                self.f.write_str("optional ")?;
                self.head(inner)
            }
            Node::List(item) => {
                self.f.write_str("list of ")?;
                self.head(item)
            }
            Node::Array { length, item } => {
                write!(self.f, "array of {length} ")?;
                self.head(item)
            }
            Node::Tuple(_) => self.f.write_str("tuple"),
            Node::Map { key, value } if is_one_line(key) => {
                self.f.write_str("map of ")?;
                self.head(key)?;
                self.f.write_str(" to ")?;
                self.head(value)
            }
            Node::Map { .. } => self.f.write_str("map"),
            Node::Object(object) => {
                self.f.write_str("object")?;
                self.closed(object.is_closed)
            }
            Node::Choice(choice) => {
                self.tagging(&choice.tagging)?;
                self.closed(choice.is_closed)
            }
            Node::Reference(definition) => write!(self.f, "#{}", definition.index()),
        }
    }

    fn tagging(&mut self, tagging: &Tagging) -> fmt::Result {
        match tagging {
            Tagging::External => self.f.write_str("one of, by name"),
            Tagging::Internal { tag } => write!(self.f, "one of, by {}", name(tag)),
            Tagging::Adjacent { tag, content } => write!(
                self.f,
                "one of, by {} with content in {}",
                name(tag),
                name(content)
            ),
            Tagging::Untagged => self.f.write_str("one of, untagged"),
        }
    }

    fn closed(&mut self, is_closed: bool) -> fmt::Result {
        if is_closed {
            self.f.write_str(" without other fields")
        } else {
            Ok(())
        }
    }

    fn body(&mut self, node: &Node) -> fmt::Result {
        match node {
            Node::Null
            | Node::Nothing
            | Node::Scalar(_)
            | Node::Opaque(_)
            | Node::Constant(_)
            | Node::Reference(_) => Ok(()),
            Node::Optional(inner) | Node::List(inner) | Node::Array { item: inner, .. } => {
                self.body(inner)
            }
            Node::Tuple(elements) => elements.iter().try_for_each(|element| {
                let Element { node, .. } = element;
                self.line("- ", node, &marks(element.written, element.read, &[]))
            }),
            Node::Map { key, value } if is_one_line(key) => self.body(value),
            Node::Map { key, value } => {
                self.line("key: ", key, &[])?;
                self.line("value: ", value, &[])
            }
            Node::Object(object) => self.object(object),
            Node::Choice(choice) => self.choice(choice),
        }
    }

    fn object(&mut self, object: &Object) -> fmt::Result {
        for field in &object.fields {
            let Field { node, aliases, .. } = field;
            let label = format!("{}: ", name(&field.name));
            self.line(&label, node, &marks(field.written, field.read, aliases))?;
        }
        object
            .flattened
            .iter()
            .try_for_each(|node| self.line("..", node, &[]))
    }

    fn choice(&mut self, choice: &Choice) -> fmt::Result {
        choice
            .variants
            .iter()
            .try_for_each(|variant| self.variant(variant))
    }

    fn variant(&mut self, variant: &Variant) -> fmt::Result {
        let marks = variant_marks(variant);
        if variant.is_untagged {
            let content = match &variant.content {
                Node::Nothing => &Node::Null,
                content => content,
            };
            return self.line("- ", content, &marks);
        }
        if variant.content == Node::Nothing {
            self.indent()?;
            self.f.write_str(&name(&variant.name))?;
            return self.end(&marks);
        }
        self.line(
            &format!("{}: ", name(&variant.name)),
            &variant.content,
            &marks,
        )
    }
}

fn marks(written: Written, read: Read, aliases: &[String]) -> Vec<String> {
    let written = match written {
        Written::Always => None,
        Written::Sometimes => Some("may be left out"),
        Written::Never => Some("never written"),
    };
    let read = match read {
        Read::ByType | Read::Required => None,
        Read::Optional => Some("may be missing"),
        Read::Never => Some("never read"),
    };
    let presence = [written, read].into_iter().flatten().map(str::to_owned);
    presence.chain(also_read(aliases)).collect()
}

fn variant_marks(variant: &Variant) -> Vec<String> {
    let presence = [
        (!variant.is_written).then_some("never written"),
        (!variant.is_read).then_some("never read"),
        variant.is_other.then_some("any other name"),
    ];
    let presence = presence.into_iter().flatten().map(str::to_owned);
    let aliases: &[String] = if variant.is_untagged {
        &[]
    } else {
        &variant.aliases
    };
    presence.chain(also_read(aliases)).collect()
}

fn also_read(aliases: &[String]) -> Option<String> {
    let names: Vec<String> = aliases.iter().map(|alias| name(alias)).collect();
    (!names.is_empty()).then(|| format!("also read as {}", names.join(" and ")))
}

/// True if nothing of the node is below its line.
fn is_one_line(node: &Node) -> bool {
    match node {
        Node::Optional(inner) | Node::List(inner) | Node::Array { item: inner, .. } => {
            is_one_line(inner)
        }
        Node::Tuple(_) | Node::Map { .. } | Node::Object(_) | Node::Choice(_) => false,
        _ => true,
    }
}

/// A name, in quotes unless it is made of ASCII letters, digits, `_` and `-`.
fn name(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(is_plain)
    {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// The text as a JSON string, whose form never changes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn scalar_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Bool => "bool",
        Scalar::I8 => "i8",
        Scalar::I16 => "i16",
        Scalar::I32 => "i32",
        Scalar::I64 => "i64",
        Scalar::I128 => "i128",
        Scalar::U8 => "u8",
        Scalar::U16 => "u16",
        Scalar::U32 => "u32",
        Scalar::U64 => "u64",
        Scalar::U128 => "u128",
        Scalar::F32 => "f32",
        Scalar::F64 => "f64",
        Scalar::Char => "char",
        Scalar::Text => "string",
        Scalar::Bytes => "bytes",
        Scalar::Uuid => "uuid",
        Scalar::DateTime => "date-time",
        Scalar::LocalDateTime => "local-date-time",
        Scalar::Date => "date",
        Scalar::Time => "time",
        Scalar::Number => "number",
        Scalar::Json => "json",
    }
}
