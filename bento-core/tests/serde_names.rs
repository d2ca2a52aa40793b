//! The macro knows of a payload what serde makes of it: its names, and the fields that are in it.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    uncommon_codepoints
)]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bento_core::codec;
use bento_core::{DomainEvent, domain_event};

/// The names in the payload of `event`, as serde writes them.
fn written<E: DomainEvent>(event: &E) -> BTreeSet<String> {
    let mut payload = Vec::new();
    codec::encode(event, &mut payload).unwrap();
    codec::decode::<E>(E::SCHEMA, E::VERSION, &payload).unwrap();
    let fields: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&payload).unwrap();
    fields.into_keys().collect()
}

/// The names in the payload of an `E`, as the macro knows them.
fn known<E: DomainEvent>() -> BTreeSet<String> {
    E::DESCRIPTOR
        .fields
        .iter()
        .map(|field| field.name.to_owned())
        .collect()
}

macro_rules! under_each_rule {
    ($($module:ident: $rule:literal, $schema:literal;)*) => {$(
        mod $module {
            use super::*;

            #[domain_event(schema = $schema, version = 2)]
            #[derive(Debug, Default, PartialEq)]
            #[serde(rename_all = $rule)]
            #[allow(non_snake_case)]
            pub struct Spelt {
                pub unit_price: u8,
                pub _leading: u8,
                pub trailing_: u8,
                pub double__under: u8,
                pub x1_y2: u8,
                pub r#type: u8,
                pub orderRef: u8,
                pub URL: u8,
                pub größe_ß: u8,
                #[serde(rename = "own_Name")]
                pub renamed: u8,
                #[event(since = 2, default = 7)]
                pub anzahl_äpfel: u8,
                #[event(renamed_from = "Vor-her", since = 2)]
                pub preis_ändert: u8,
            }

            #[test]
            fn names_are_those_of_serde() {
                assert_eq!(written(&Spelt::default()), known::<Spelt>());
            }

            #[test]
            fn an_older_payload_gets_them() {
                let names = known::<Spelt>();
                let fields = Spelt::DESCRIPTOR.fields;
                let [added, renamed] = [10, 11].map(|at| fields[at].name.to_owned());
                let others = names.into_iter().filter(|name| *name != added && *name != renamed);
                let mut older: BTreeMap<String, u8> = others.map(|name| (name, 0)).collect();
                older.insert("Vor-her".to_owned(), 9);
                let older = serde_json::to_vec(&older).unwrap();
                let read: Spelt = codec::decode($schema, 1, &older).unwrap();
                assert_eq!(read, Spelt { anzahl_äpfel: 7, preis_ändert: 9, ..Spelt::default() });
            }
        }
    )*};
}

under_each_rule! {
    lowercase: "lowercase", "rule.lowercase_told";
    uppercase: "UPPERCASE", "rule.uppercase_told";
    pascal_case: "PascalCase", "rule.pascal_told";
    camel_case: "camelCase", "rule.camel_told";
    snake_case: "snake_case", "rule.snake_told";
    screaming_snake_case: "SCREAMING_SNAKE_CASE", "rule.screaming_snake_told";
    kebab_case: "kebab-case", "rule.kebab_told";
    screaming_kebab_case: "SCREAMING-KEBAB-CASE", "rule.screaming_kebab_told";
}

/// Both sides agree, though each is given alone.
#[domain_event(schema = "sides.agreed", version = 1)]
#[derive(Debug, Default)]
#[serde(rename_all(serialize = "camelCase", deserialize = "camelCase"))]
pub struct SidesAgreed {
    #[serde(rename(serialize = "a"))]
    #[serde(rename(deserialize = "a"))]
    pub first: u8,
    #[serde(rename(serialize = "secondOne"))]
    pub second_one: u8,
    #[serde(rename(serialize = "c", deserialize = "c", deserialize = "older"))]
    pub third: u8,
}

#[test]
fn names_given_for_each_side_are_one_name_where_they_agree() {
    assert_eq!(written(&SidesAgreed::default()), known::<SidesAgreed>());
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Address {
    pub street: String,
}

/// Every attribute by which a field is somewhere else than under its name.
#[domain_event(schema = "shape.told", version = 1)]
#[derive(Debug)]
#[serde(tag = "kind", rename = "Told")]
pub struct ShapeTold {
    pub plain: u8,
    #[serde(skip)]
    pub skipped: u8,
    #[serde(skip_serializing, default)]
    pub not_written: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seldom: Option<u8>,
    #[serde(skip_deserializing)]
    pub not_read: u8,
    #[serde(alias = "old_name", default)]
    pub aliased: u8,
    #[serde(flatten)]
    pub address: Address,
    #[serde(default = "Default::default", bound = "")]
    pub text: Cow<'static, str>,
}

#[test]
fn the_fields_of_a_payload_are_known_as_they_are_written() {
    let told = ShapeTold {
        plain: 1,
        skipped: 2,
        not_written: 3,
        seldom: Some(4),
        not_read: 5,
        aliased: 6,
        address: Address {
            street: "A 1".into(),
        },
        text: "x".into(),
    };
    let mut names = known::<ShapeTold>();
    assert!(
        names.remove("address")
            && ShapeTold::DESCRIPTOR
                .fields
                .iter()
                .any(|field| field.is_flattened)
    );
    assert!(names.remove("not_written"), "it is read where it is there");
    names.extend(["street".to_owned(), "kind".to_owned()]);
    assert_eq!(written(&told), names);
}

/// The rule came with version 2.
#[domain_event(
    schema = "rule.introduced",
    version = 3,
    removed("fax_number", since = 2),
    removed("telexNumber", since = 3)
)]
#[derive(Debug)]
#[serde(rename_all = "camelCase")]
pub struct RuleIntroduced {
    #[event(renamed_from = "order_ref", since = 2)]
    pub order_ref: u8,
    #[event(renamed_from = "unit_cost", since = 2)]
    pub unit_price: u8,
    #[serde(rename = "URL")]
    #[event(renamed_from = "address_of", since = 2)]
    pub address_of: u8,
}

#[test]
fn names_of_before_the_rule_are_spelt_as_they_were() {
    let stored = br#"{"order_ref":1,"unit_cost":2,"address_of":3,"fax_number":4}"#;
    let read: RuleIntroduced = codec::decode("rule.introduced", 1, stored).unwrap();
    assert_eq!(
        (read.order_ref, read.unit_price, read.address_of),
        (1, 2, 3)
    );
}

mod fragments {
    use super::*;

    macro_rules! declare {
        (
            $(#[$meta:meta])* $name:ident, $schema:literal, $version:literal, $text:literal,
            $sum:expr, $ty:ty, $step:path
        ) => {
            #[domain_event(schema = $schema, version = $version)]
            $(#[$meta])*
            #[derive(Debug)]
            pub struct $name {
                #[event(since = $version, default = $text)]
                pub text: String,
                #[event(since = 2, default = $sum)]
                pub sum: u64,
                #[event(since = 2)]
                pub optional_field: $ty,
                #[event(since = 2, default = ("in parentheses"))]
                pub parenthesised: String,
                #[event(since = 2, default = $step())]
                pub made: u64,
                #[event(since = 2, default = $sum * 2)]
                pub product: u64,
                #[event(
                    since = 2,
                    default = vec![
                        $sum * 2,
                        ($sum as u8).pow(2).into(),
                        if true { $sum * 2 } else { 0 },
                    ]
                )]
                pub products: Vec<u64>,
            }
        };
    }

    declare!(
        /// Declared of fragments.
        #[serde(rename_all = "camelCase")]
        FragmentsUsed, "fragments.used", 2, "words", 1 + 2, Option<u8>, made
    );

    fn made() -> u64 {
        9
    }

    #[test]
    fn what_a_macro_passes_on_is_looked_into() {
        let read: FragmentsUsed = codec::decode("fragments.used", 1, b"{}").unwrap();
        assert_eq!(
            (read.text.as_str(), read.sum, read.optional_field),
            ("words", 3, None)
        );
        assert_eq!(
            (read.parenthesised.as_str(), read.made),
            ("in parentheses", 9)
        );
        assert_eq!(
            (read.product, read.products),
            (6, vec![6, 9, 6]),
            "a fragment is one operand"
        );
        assert_eq!(FragmentsUsed::DESCRIPTOR.docs, "Declared of fragments.");
        assert_eq!(FragmentsUsed::DESCRIPTOR.fields[2].name, "optionalField");
    }

    macro_rules! pass_on {
        ($item:item) => {
            #[domain_event(schema = "item.passed_on", version = 1)]
            $item
        };
    }

    pass_on! {
        #[derive(Debug)]
        pub struct ItemPassedOn {
            pub value: u8,
        }
    }

    #[test]
    fn a_whole_item_may_be_a_fragment() {
        assert_eq!(
            known::<ItemPassedOn>(),
            BTreeSet::from(["value".to_owned()])
        );
    }
}

pub mod reexport {
    pub use bento_core;
}

mod path_of_a_macro {
    use super::*;

    mod doubled {
        use serde::{Deserialize as _, Deserializer, Serializer};

        pub(crate) fn serialize<S: Serializer>(
            value: &u8,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.serialize_u8(value * 2)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<u8, D::Error> {
            u8::deserialize(deserializer).map(|value| value / 2)
        }
    }

    macro_rules! declare {
        ($name:ident, $default:literal) => {
            #[domain_event(schema = "by.macro", version = 2, crate = $crate::reexport::bento_core)]
            #[derive(Debug)]
            pub struct $name {
                #[event(since = 2, default = $default)]
                pub text: String,
                #[event(since = 2, default = 4)]
                #[serde(with = "doubled")]
                pub number: u8,
            }
        };
    }

    declare!(AtTheTop, "x");

    #[test]
    fn an_exported_macro_names_the_framework_by_its_own_crate() {
        let read: AtTheTop = codec::decode("by.macro", 1, b"{}").unwrap();
        assert_eq!((read.text.as_str(), read.number), ("x", 4));
    }

    #[test]
    fn it_may_do_so_in_a_function() {
        declare!(Within, "y");
        let read: Within = codec::decode("by.macro", 1, b"{}").unwrap();
        assert_eq!((read.text.as_str(), read.number), ("y", 4));
    }
}

#[allow(non_upper_case_globals, dead_code)]
mod names_in_use {
    use super::*;

    pub const event: u8 = 1;
    pub static version: u8 = 1;
    pub const payload: u8 = 1;
    pub static value: u8 = 1;
    pub const history: u8 = 1;
    pub const name: u8 = 1;
    pub static error: u8 = 1;

    #[domain_event(schema = "names.in_use", version = 2)]
    #[derive(Debug)]
    pub struct NamesInUse {
        #[event(since = 2, default = 3)]
        pub number: u8,
        #[event(since = 2, default = "x")]
        pub text: String,
    }

    #[test]
    fn an_event_compiles_beside_constants_of_any_name() {
        let read: NamesInUse = codec::decode("names.in_use", 1, b"{}").unwrap();
        assert_eq!((read.number, read.text.as_str()), (3, "x"));
    }
}
