//! A shape is compared with serde: JSON of the shape is read, and the JSON that is written has the
//! shape.

use bento_core::shape::{
    Choice, Element, Field, Node, Object, Read, Scalar, Shape, Tagging, Variant, WireShape, Written,
};
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Reads JSON of the shape of `T` as a `T`, and checks what serde writes of it.
pub(crate) fn agrees_with_serde<T: WireShape + Serialize + DeserializeOwned>() {
    let shape = Shape::of::<T>();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let agrees = runner.run(&Sample(&shape).of(shape.root(), 4), |sample| {
        let read: T = serde_json::from_str(&sample.to_string())
            .map_err(|error| TestCaseError::fail(format!("{sample} is not read: {error}")))?;
        let written = match serde_json::to_string(&read) {
            Err(_) if has_unwritten_variants(shape.root()) => return Ok(()),
            written => written.unwrap(),
        };
        let written: Value = serde_json::from_str(&written).unwrap();
        prop_assert!(
            Wire(&shape).has(shape.root(), &written),
            "{written} is written"
        );
        if let Node::Object(object) = shape.root() {
            refuses_others::<T>(object, &sample)?;
        }
        Ok(())
    });
    agrees.unwrap_or_else(|error| panic!("{error}\n{shape}"));
}

fn has_unwritten_variants(root: &Node) -> bool {
    let Node::Choice(choice) = root else {
        return false;
    };
    choice.variants.iter().any(|variant| !variant.is_written)
}

/// Takes required fields out of an object that is read, and puts another one in.
fn refuses_others<T: DeserializeOwned>(
    object: &Object,
    sample: &Value,
) -> Result<(), TestCaseError> {
    let is_read = |value: Value| serde_json::from_str::<T>(&value.to_string()).is_ok();
    let required = object
        .fields
        .iter()
        .filter(|field| field.read == Read::Required);
    for field in required {
        let mut less = sample.clone();
        for name in field.aliases.iter().chain([&field.name]) {
            less.as_object_mut().unwrap().remove(name);
        }
        prop_assert!(!is_read(less), "{} is not required", field.name);
    }
    let mut more = sample.clone();
    more["k another field"] = json!(null);
    prop_assert_eq!(is_read(more), !object.is_closed, "another field");
    Ok(())
}

/// Makes JSON that has the shape.
struct Sample<'a>(&'a Shape);

impl Sample<'_> {
    fn of(&self, node: &Node, depth: usize) -> BoxedStrategy<Value> {
        match node {
            Node::Null | Node::Nothing => Just(Value::Null).boxed(),
            Node::Scalar(scalar) => scalar_sample(*scalar),
            // The types in the tests read a number in text.
            Node::Opaque(_) => (0..100_u8)
                .prop_map(|number| json!(number.to_string()))
                .boxed(),
            Node::Constant(text) => Just(json!(text)).boxed(),
            Node::Optional(_) if depth == 0 => Just(Value::Null).boxed(),
            Node::Optional(inner) => {
                prop_oneof![Just(Value::Null), self.of(inner, depth - 1)].boxed()
            }
            Node::List(_) if depth == 0 => Just(json!([])).boxed(),
            Node::List(item) => prop::collection::vec(self.of(item, depth - 1), 0..3)
                .prop_map(Value::Array)
                .boxed(),
            Node::Array { length, item } => prop::collection::vec(self.of(item, depth), *length)
                .prop_map(Value::Array)
                .boxed(),
            Node::Tuple(elements) => {
                let read = elements
                    .iter()
                    .filter(|element| element.read != Read::Never);
                let elements: Vec<_> = read.map(|element| self.of(&element.node, depth)).collect();
                elements.prop_map(Value::Array).boxed()
            }
            Node::Map { key, value } => {
                let key = self.of(key, depth).prop_map(|key| match key {
                    Value::String(text) => text,
                    other => other.to_string(),
                });
                prop::collection::vec((key, self.of(value, depth)), 0..3)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect()))
                    .boxed()
            }
            Node::Object(object) => self.object(object, depth),
            Node::Choice(choice) => self.choice(choice, depth),
            Node::Reference(definition) => {
                let node = &self.0.definitions()[definition.index()];
                self.of(node, depth.saturating_sub(1))
            }
        }
    }

    fn object(&self, object: &Object, depth: usize) -> BoxedStrategy<Value> {
        let fields: Vec<_> = object
            .fields
            .iter()
            .map(|field| self.field(field, depth))
            .collect();
        let flattened: Vec<_> = object
            .flattened
            .iter()
            .map(|node| self.of(node, depth))
            .collect();
        (flattened, fields)
            .prop_map(|(flattened, fields)| {
                let mut whole = Map::new();
                for part in flattened {
                    whole.extend(part.as_object().cloned().unwrap_or_default());
                }
                whole.extend(fields.into_iter().flatten());
                Value::Object(whole)
            })
            .boxed()
    }

    fn field(&self, field: &Field, depth: usize) -> BoxedStrategy<Option<(String, Value)>> {
        let names: Vec<String> = field.aliases.iter().chain([&field.name]).cloned().collect();
        let there = (prop::sample::select(names), self.of(&field.node, depth));
        match field.read {
            Read::Never => Just(None).boxed(),
            Read::Optional => prop::option::of(there).boxed(),
            Read::Required | Read::ByType => there.prop_map(Some).boxed(),
        }
    }

    fn choice(&self, choice: &Choice, depth: usize) -> BoxedStrategy<Value> {
        let read: Vec<&Variant> = choice
            .variants
            .iter()
            .filter(|variant| variant.is_read)
            .collect();
        let leaves = read
            .iter()
            .filter(|variant| !matches!(variant.content, Node::Reference(_)));
        let leaves: Vec<&Variant> = leaves.copied().collect();
        let variants = if depth == 0 { leaves } else { read };
        let samples = variants
            .into_iter()
            .map(|variant| self.variant(&choice.tagging, variant, depth.saturating_sub(1)));
        Union::new(samples).boxed()
    }

    fn variant(&self, tagging: &Tagging, variant: &Variant, depth: usize) -> BoxedStrategy<Value> {
        let mut names: Vec<String> = variant.aliases.clone();
        names.push(variant.name.clone());
        if variant.is_other {
            names.push("any other".to_owned());
        }
        let is_empty = variant.content == Node::Nothing;
        let is_untagged = variant.is_untagged;
        let tagging = tagging.clone();
        (
            prop::sample::select(names),
            self.of(&variant.content, depth),
        )
            .prop_map(move |(name, mut value)| match &tagging {
                _ if is_untagged => value,
                Tagging::External if is_empty => json!(name),
                Tagging::External => json!({ name: value }),
                Tagging::Internal { tag } if is_empty => json!({ tag.as_str(): name }),
                Tagging::Internal { tag } => {
                    value[tag] = json!(name);
                    value
                }
                Tagging::Adjacent { tag, .. } if is_empty => json!({ tag.as_str(): name }),
                Tagging::Adjacent { tag, content } => {
                    json!({ tag.as_str(): name, content.as_str(): value })
                }
                Tagging::Untagged => value,
            })
            .boxed()
    }
}

fn scalar_sample(scalar: Scalar) -> BoxedStrategy<Value> {
    match scalar {
        Scalar::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Scalar::I8 => (i8::MIN..=i8::MAX).prop_map(Value::from).boxed(),
        Scalar::I16 => any::<i16>().prop_map(Value::from).boxed(),
        Scalar::I32 => any::<i32>().prop_map(Value::from).boxed(),
        Scalar::I64 | Scalar::I128 => any::<i64>().prop_map(Value::from).boxed(),
        // Zero is no `NonZero`.
        Scalar::U8 => (1..=u8::MAX).prop_map(Value::from).boxed(),
        Scalar::U16 => any::<u16>().prop_map(Value::from).boxed(),
        Scalar::U32 => any::<u32>().prop_map(Value::from).boxed(),
        Scalar::U64 | Scalar::U128 => any::<u64>().prop_map(Value::from).boxed(),
        Scalar::F32 | Scalar::F64 | Scalar::Number => (-100..100_i8)
            .prop_map(|half| json!(f64::from(half) / 2.0))
            .boxed(),
        Scalar::Char => any::<char>()
            .prop_map(|letter| json!(letter.to_string()))
            .boxed(),
        Scalar::Text => "k[a-z]{0,3}".prop_map(Value::from).boxed(),
        Scalar::Bytes => prop::collection::vec(any::<u8>(), 0..3)
            .prop_map(Value::from)
            .boxed(),
        Scalar::Uuid => any::<u128>()
            .prop_map(|id| json!(uuid::Uuid::from_u128(id).to_string()))
            .boxed(),
        Scalar::DateTime => Just(json!("2026-05-06T07:08:09.5Z")).boxed(),
        Scalar::LocalDateTime => Just(json!("2026-05-06T07:08:09")).boxed(),
        Scalar::Date => Just(json!("2026-05-06")).boxed(),
        Scalar::Time => Just(json!("07:08:09")).boxed(),
        Scalar::Json => prop_oneof![Just(json!(null)), Just(json!([1, "a"]))].boxed(),
    }
}

/// Says if JSON that serde has written has the shape.
struct Wire<'a>(&'a Shape);

impl Wire<'_> {
    fn has(&self, node: &Node, value: &Value) -> bool {
        match node {
            Node::Null | Node::Nothing => value.is_null(),
            Node::Scalar(scalar) => is_scalar(*scalar, value),
            Node::Opaque(_) => value.is_string(),
            Node::Constant(text) => value == text,
            Node::Optional(inner) => value.is_null() || self.has(inner, value),
            Node::List(item) => self.all(item, value, |_| true),
            Node::Array { length, item } => self.all(item, value, |found| found == *length),
            Node::Tuple(elements) => self.tuple(elements, value),
            Node::Map { value: each, .. } => value
                .as_object()
                .is_some_and(|entries| entries.values().all(|value| self.has(each, value))),
            Node::Object(object) => self.object(object, value, !object.flattened.is_empty()),
            Node::Choice(choice) => choice
                .variants
                .iter()
                .filter(|variant| variant.is_written)
                .any(|variant| self.variant(&choice.tagging, variant, value)),
            Node::Reference(definition) => {
                self.has(&self.0.definitions()[definition.index()], value)
            }
        }
    }

    fn all(&self, item: &Node, value: &Value, has_length: impl Fn(usize) -> bool) -> bool {
        value.as_array().is_some_and(|values| {
            has_length(values.len()) && values.iter().all(|value| self.has(item, value))
        })
    }

    fn tuple(&self, elements: &[Element], value: &Value) -> bool {
        let written = elements
            .iter()
            .filter(|element| element.written != Written::Never);
        let written: Vec<&Element> = written.collect();
        value.as_array().is_some_and(|values| {
            let mut both = written.iter().zip(values);
            values.len() == written.len()
                && both.all(|(element, value)| self.has(&element.node, value))
        })
    }

    /// `is_open` says that other fields may be there, as those of flattened maps.
    fn object(&self, object: &Object, value: &Value, is_open: bool) -> bool {
        let Value::Object(entries) = value else {
            return false;
        };
        let is_known = |name: &String| object.fields.iter().any(|field| field.name == *name);
        let fields = object
            .fields
            .iter()
            .all(|field| match entries.get(&field.name) {
                Some(value) => field.written != Written::Never && self.has(&field.node, value),
                None => field.written != Written::Always,
            });
        let others = is_open || entries.keys().all(is_known);
        let others_value = Value::Object(
            entries
                .iter()
                .filter(|(name, _)| !is_known(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        );
        let mut flattened = object.flattened.iter();
        fields && others && flattened.all(|node| self.flattened(node, &others_value))
    }

    /// Several flattened parts share the fields: each finds its own, and maps are not asked.
    fn flattened(&self, node: &Node, others: &Value) -> bool {
        match node {
            Node::Choice(choice) => {
                let Tagging::Internal { tag } = &choice.tagging else {
                    panic!("the tests flatten enums with a tag");
                };
                choice.variants.iter().any(|variant| {
                    others[tag] == variant.name.as_str()
                        && match &variant.content {
                            Node::Object(object) => self.object(object, others, true),
                            _ => true,
                        }
                })
            }
            _ => true,
        }
    }

    fn variant(&self, tagging: &Tagging, variant: &Variant, value: &Value) -> bool {
        let Variant { name, content, .. } = variant;
        let is_empty = *content == Node::Nothing;
        match tagging {
            _ if variant.is_untagged => self.has(content, value),
            Tagging::External if is_empty => value == name,
            Tagging::External => value.as_object().is_some_and(|entries| {
                entries.len() == 1
                    && entries
                        .get(name)
                        .is_some_and(|value| self.has(content, value))
            }),
            Tagging::Internal { tag } => {
                let mut rest = value.clone();
                let found = rest.as_object_mut().and_then(|entries| entries.remove(tag));
                found == Some(json!(name))
                    && (is_empty && rest == json!({}) || self.has(content, &rest))
            }
            Tagging::Adjacent {
                tag,
                content: inner,
            } => value[tag] == name.as_str() && (is_empty || self.has(content, &value[inner])),
            Tagging::Untagged => unreachable!("each variant is untagged"),
        }
    }
}

fn is_scalar(scalar: Scalar, value: &Value) -> bool {
    let text = value.as_str();
    match scalar {
        Scalar::Bool => value.is_boolean(),
        Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64 | Scalar::I128 => value.is_i64(),
        Scalar::U8 | Scalar::U16 | Scalar::U32 | Scalar::U64 | Scalar::U128 => value.is_u64(),
        Scalar::F32 | Scalar::F64 | Scalar::Number => value.is_number(),
        Scalar::Char => text.is_some_and(|text| text.chars().count() == 1),
        Scalar::Text => text.is_some(),
        Scalar::Bytes => value.is_array(),
        Scalar::Uuid => text.is_some_and(|text| text.parse::<uuid::Uuid>().is_ok()),
        Scalar::DateTime => text.is_some_and(|text| text.ends_with('Z')),
        Scalar::LocalDateTime => text.is_some_and(|text| text.contains('T')),
        Scalar::Date => text.is_some_and(|text| text.len() == 10),
        Scalar::Time => text.is_some_and(|text| text.contains(':')),
        Scalar::Json => true,
    }
}
