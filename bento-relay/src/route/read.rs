//! Rules out of a file: every fault with its path, all of them at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_core::names::{Hint, Listed};
use serde::de::{Deserialize, Deserializer, Error as _};

use super::HeadOfLine;
use super::condition::{Condition, Literal, Test};
use super::config::RouterConfig;
use super::error::{Faults, RouterError, RouterErrors, RouterFault};
use super::kinds::Kinds;
use super::rule::{Rule, Strategy, Transform};
use super::tree::{Fields, Tree};
use super::typed::typed;
use crate::publish::Destination;
use crate::reading::KeyPath;

const CONFIG: &[&str] = &[
    "version",
    "destinations",
    "rules",
    "fallback",
    "retry_policies",
];
const DESTINATION: &[&str] = &[
    "publisher",
    "topic",
    "routing_key",
    "partition_key",
    "versioned",
];
const RULE: &[&str] = &[
    "name",
    "events",
    "kind",
    "when",
    "to",
    "strategy",
    "transform",
    "sample",
    "delay",
    "keeps_order",
    "expires_after",
    "retry",
    "head_of_line",
    "fallback",
    "stop",
    "copy",
];
const TRANSFORM: &[&str] = &[
    "include",
    "exclude",
    "rename",
    "add",
    "event_type",
    "version",
];
const OPERATORS: &[&str] = &["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "exists"];

impl RouterConfig {
    /// Reads the rules from a format.
    ///
    /// # Errors
    /// Everything that cannot be read as rules, each with its path.
    pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, RouterErrors> {
        from_tree(Tree::deserialize(deserializer).map_err(|error| syntax(&error))?)
    }

    /// Reads the rules from JSON.
    ///
    /// # Errors
    /// Everything that cannot be read as rules, each with its path.
    pub fn from_json(text: &str) -> Result<Self, RouterErrors> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let tree =
            Tree::deserialize(&mut deserializer).and_then(|tree| deserializer.end().map(|()| tree));
        from_tree(tree.map_err(|error| syntax(&error))?)
    }
}

impl<'de> Deserialize<'de> for RouterConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_tree(Tree::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Condition {
    /// Reads a condition from a format, as the `when` of a rule is written.
    ///
    /// # Errors
    /// Everything that cannot be read as a condition, each with its path.
    pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, RouterErrors> {
        let tree = Tree::deserialize(deserializer).map_err(|error| syntax(&error))?;
        let mut faults = Faults::default();
        let read = condition(tree, &mut faults);
        faults.into_result().map(|()| read)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut faults = Faults::default();
        let read = condition(Tree::deserialize(deserializer)?, &mut faults);
        faults.into_result().map_err(D::Error::custom)?;
        Ok(read)
    }
}

fn syntax(error: &impl std::fmt::Display) -> RouterErrors {
    let fault = RouterFault::Syntax {
        message: error.to_string(),
    };
    RouterErrors(vec![RouterError {
        path: KeyPath::default(),
        fault,
    }])
}

fn from_tree(tree: Tree) -> Result<RouterConfig, RouterErrors> {
    let mut faults = Faults::default();
    let faults_of = &mut faults;
    let is_table = matches!(tree, Tree::Map(_));
    let mut fields = tree.fields(CONFIG, faults_of);
    if is_table {
        version(&mut fields, faults_of);
    }
    let config = RouterConfig {
        destinations: fields
            .read("destinations", faults_of, destinations)
            .unwrap_or_default(),
        rules: fields
            .read("rules", faults_of, |tree, faults| {
                tree.each(faults, |tree, faults| Some(rule(tree, faults)))
            })
            .unwrap_or_default(),
        fallback: fields.read("fallback", faults_of, Tree::text).flatten(),
        retry_policies: fields
            .read("retry_policies", faults_of, |tree, faults| {
                table(tree, faults, typed)
            })
            .unwrap_or_default(),
    };
    faults.into_result().map(|()| config)
}

fn version(fields: &mut Fields, faults: &mut Faults) {
    if !fields.has("version") {
        return faults.add(RouterFault::Missing { key: "version" });
    }
    fields.read("version", faults, |tree, faults| {
        if let Some(version) = tree
            .integer(faults)
            .filter(|version| u64::from(*version) != RouterConfig::VERSION)
        {
            faults.add(RouterFault::Version {
                found: version.to_string(),
            });
        }
    });
}

fn destinations(tree: Tree, faults: &mut Faults) -> Vec<Destination> {
    let entries = tree.entries(faults).into_iter();
    entries
        .map(|(name, tree)| faults.at(&name, |faults| destination(&name, tree, faults)))
        .collect()
}

fn destination(name: &str, tree: Tree, faults: &mut Faults) -> Destination {
    let mut fields = tree.fields(DESTINATION, faults);
    let mut text = |key| {
        fields
            .read(key, faults, Tree::text)
            .flatten()
            .map(Arc::from)
    };
    let mut destination = Destination::new(name);
    destination.publisher = text("publisher");
    destination.topic = text("topic");
    destination.routing_key = text("routing_key");
    destination.partition_key = text("partition_key");
    destination.versioned = fields
        .read("versioned", faults, Tree::bool)
        .flatten()
        .unwrap_or_default();
    destination
}

fn rule(tree: Tree, faults: &mut Faults) -> Rule {
    let is_table = matches!(tree, Tree::Map(_));
    let mut fields = tree.fields(RULE, faults);
    for key in ["name", "to"] {
        if is_table && !fields.has(key) {
            faults.add(RouterFault::Missing { key });
        }
    }
    let default = Rule::new(
        fields
            .read("name", faults, Tree::text)
            .flatten()
            .unwrap_or_default(),
    );
    Rule {
        events: fields
            .read("events", faults, Tree::texts)
            .unwrap_or(default.events),
        kind: fields.read("kind", faults, kinds).flatten(),
        when: fields.read("when", faults, condition),
        to: fields.read("to", faults, Tree::texts).unwrap_or_default(),
        strategy: fields
            .read("strategy", faults, strategy)
            .unwrap_or_default(),
        transform: fields.read("transform", faults, transform),
        sample: fields.read("sample", faults, Tree::float).flatten(),
        delay: fields.read("delay", faults, Tree::duration).flatten(),
        keeps_order: fields
            .read("keeps_order", faults, Tree::bool)
            .flatten()
            .unwrap_or_default(),
        expires_after: fields
            .read("expires_after", faults, Tree::duration)
            .flatten(),
        retry: fields.read("retry", faults, Tree::text).flatten(),
        head_of_line: fields
            .read("head_of_line", faults, head_of_line)
            .unwrap_or_default(),
        fallback: fields.read("fallback", faults, Tree::text).flatten(),
        stop: fields
            .read("stop", faults, Tree::bool)
            .flatten()
            .unwrap_or_default(),
        copy: fields
            .read("copy", faults, Tree::bool)
            .flatten()
            .unwrap_or_default(),
        ..default
    }
}

fn kinds(tree: Tree, faults: &mut Faults) -> Option<Kinds> {
    let text = tree.text(faults)?;
    let names = Kinds::NAMES;
    let found = names.into_iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let known = names.map(|(name, _)| name);
        faults.invalid(format!(
            "unknown kind `{text}`: the kinds are {}{}",
            Listed(&known),
            Hint::among(&text, &known)
        ));
    }
    found.map(|(_, kinds)| kinds)
}

fn strategy(tree: Tree, faults: &mut Faults) -> Strategy {
    one_of(
        tree,
        [
            ("best-effort", Strategy::BestEffort),
            ("all-or-nothing", Strategy::AllOrNothing),
        ],
        faults,
    )
}

fn head_of_line(tree: Tree, faults: &mut Faults) -> HeadOfLine {
    one_of(
        tree,
        [
            ("hold", HeadOfLine::Hold),
            ("continue", HeadOfLine::Continue),
        ],
        faults,
    )
}

fn one_of<T: Copy + Default>(tree: Tree, [a, b]: [(&str, T); 2], faults: &mut Faults) -> T {
    let Some(text) = tree.text(faults) else {
        return T::default();
    };
    let found = [a, b].into_iter().find(|(name, _)| *name == text);
    if found.is_none() {
        faults.invalid(format!("`{text}` is neither `{}` nor `{}`", a.0, b.0));
    }
    found.map(|(_, value)| value).unwrap_or_default()
}

fn transform(tree: Tree, faults: &mut Faults) -> Transform {
    let mut fields = tree.fields(TRANSFORM, faults);
    Transform {
        include: fields
            .read("include", faults, Tree::texts)
            .unwrap_or_default(),
        exclude: fields
            .read("exclude", faults, Tree::texts)
            .unwrap_or_default(),
        rename: fields
            .read("rename", faults, |tree, faults| {
                table(tree, faults, Tree::text)
            })
            .unwrap_or_default(),
        add: fields
            .read("add", faults, |tree, faults| {
                table(tree, faults, Tree::json)
            })
            .unwrap_or_default(),
        event_type: fields.read("event_type", faults, Tree::text).flatten(),
        version: fields.read("version", faults, Tree::integer).flatten(),
    }
}

fn table<T>(
    tree: Tree,
    faults: &mut Faults,
    read: impl Fn(Tree, &mut Faults) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut entries = BTreeMap::new();
    for (key, tree) in tree.entries(faults) {
        if let Some(value) = faults.at(&key, |faults| read(tree, faults)) {
            entries.insert(key, value);
        }
    }
    entries
}

/// A table of `all`, `any`, `not` and paths; several entries hold together.
fn condition(tree: Tree, faults: &mut Faults) -> Condition {
    let is_table = matches!(tree, Tree::Map(_));
    let entries = tree.entries(faults);
    if is_table && entries.is_empty() {
        faults.invalid(
            "a condition says something: write `all`, `any`, `not` or a path as in \
                        \"payload.total\"",
        );
    }
    let mut parts = Vec::new();
    for (key, tree) in entries {
        faults.at(&key, |faults| match key.as_str() {
            "all" => parts.push(Condition::All(conditions(tree, faults))),
            "any" => parts.push(Condition::Any(conditions(tree, faults))),
            "not" => parts.push(Condition::Not(Box::new(condition(tree, faults)))),
            path => parts.extend(tests(path, tree, faults)),
        });
    }
    together(parts)
}

fn conditions(tree: Tree, faults: &mut Faults) -> Vec<Condition> {
    tree.each(faults, |tree, faults| Some(condition(tree, faults)))
}

fn together(mut parts: Vec<Condition>) -> Condition {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            Condition::All(parts)
        }
    }
}

/// The tests of one path: a table of operators, or a bare value to be equal to.
fn tests(path: &str, tree: Tree, faults: &mut Faults) -> Vec<Condition> {
    let of_path = |test| Condition::Test {
        path: path.to_owned(),
        test,
    };
    if !matches!(tree, Tree::Map(_)) {
        return tree
            .literal(faults)
            .map(|value| of_path(Test::Eq(value)))
            .into_iter()
            .collect();
    }
    let entries = tree.entries(faults);
    if entries.is_empty() {
        faults.invalid("a test says something: write a value, or an operator as in `{ gt = 5 }`");
    }
    let mut found = Vec::new();
    for (operator, tree) in entries {
        faults.at(&operator, |faults| {
            found.extend(test(&operator, tree, faults).map(of_path))
        });
    }
    found
}

fn test(operator: &str, tree: Tree, faults: &mut Faults) -> Option<Test> {
    let build: fn(Literal) -> Test = match operator {
        "eq" => Test::Eq,
        "ne" => Test::Ne,
        "gt" => Test::Gt,
        "gte" => Test::Gte,
        "lt" => Test::Lt,
        "lte" => Test::Lte,
        "in" => return Some(Test::In(tree.each(faults, Tree::literal))),
        "nin" => return Some(Test::Nin(tree.each(faults, Tree::literal))),
        "exists" => return tree.bool(faults).map(Test::Exists),
        _ => {
            let hint = if matches!(tree, Tree::Map(_)) {
                "; a path is one key, in TOML in quotes"
            } else {
                ""
            };
            let known = OPERATORS.join("`, `");
            faults.invalid(format!(
                "unknown operator `{operator}`: the operators are `{known}`{hint}"
            ));
            return None;
        }
    };
    tree.literal(faults).map(build)
}
