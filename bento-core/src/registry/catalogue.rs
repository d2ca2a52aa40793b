//! The events and aggregates of a binary as something to read.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;

use super::Registry;
use crate::event::{EventDescriptor, EventRole, FieldChange, FieldDescriptor};

/// Every event with its versions, and every aggregate, for people and programs.
///
/// The texts are stable: sorted by name, without places in the source, so that a committed copy
/// shows what a change did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Catalogue {
    /// Sorted by schema.
    pub events: Vec<CatalogueEvent>,
    /// Sorted by type name.
    pub aggregates: Vec<CatalogueAggregate>,
}

/// One declaration of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueEvent {
    /// The stable name.
    pub schema: &'static str,
    /// The version of the payload described here.
    pub version: u32,
    /// The oldest version that can still be decoded.
    pub oldest: u32,
    /// `current`, `superseded`, `consumes` or `integration`.
    pub role: &'static str,
    /// The path of the struct.
    pub rust_name: String,
    /// The doc comment.
    pub docs: &'static str,
    /// The schema of the domain event that an integration event is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_from: Option<&'static str>,
    /// The way out for consumers of a deprecated integration event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<&'static str>,
    /// The topic, unless it is the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<&'static str>,
    /// The broker's routing key, unless it is the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<&'static str>,
    /// The fields of this version.
    pub fields: Vec<CatalogueField>,
    /// The changes, newest version first; the first version is not listed.
    pub versions: Vec<CatalogueVersion>,
}

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueField {
    /// The name in the JSON payload.
    pub name: &'static str,
    /// The Rust type as written.
    pub rust_type: &'static str,
    /// The doc comment.
    pub docs: &'static str,
    /// True if the payload holds the fields of the value in place of one field of this name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_flattened: bool,
}

impl CatalogueField {
    /// The text in front of the type, for a person.
    fn role(&self) -> &'static str {
        if self.is_flattened {
            "the fields of "
        } else {
            ""
        }
    }
}

/// The changes of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueVersion {
    /// The version.
    pub version: u32,
    /// One sentence for each change: ``added `currency` ``.
    pub changes: Vec<String>,
}

/// An aggregate and the events it raises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueAggregate {
    /// The stable name of the type.
    pub aggregate_type: &'static str,
    /// The path of the struct.
    pub rust_name: String,
    /// The doc comment.
    pub docs: &'static str,
    /// The schemas it raises, in the order of the declaration.
    pub events: Vec<&'static str>,
}

impl Catalogue {
    pub(super) fn of(registry: &Registry) -> Self {
        let mut events: Vec<_> = registry.events().map(CatalogueEvent::of).collect();
        events.sort_by(|left, right| {
            left.schema
                .cmp(right.schema)
                .then(right.version.cmp(&left.version))
        });
        let aggregates = registry.aggregates().map(|aggregate| CatalogueAggregate {
            aggregate_type: aggregate.aggregate_type,
            rust_name: format!(
                "{}::{}",
                aggregate.declared.module_path, aggregate.rust_name
            ),
            docs: aggregate.docs,
            events: aggregate.events.iter().map(|event| event.schema).collect(),
        });
        Self {
            events,
            aggregates: aggregates.collect(),
        }
    }

    /// The catalogue as text for a terminal.
    #[must_use]
    pub fn to_text(&self) -> String {
        Text(self).to_string()
    }

    /// The catalogue as Markdown, for a committed document.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        Markdown(self).to_string()
    }

    /// The catalogue as indented JSON, for a program.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .expect("the catalogue holds nothing but texts, numbers and lists")
    }
}

impl CatalogueEvent {
    fn of(event: &'static EventDescriptor) -> Self {
        Self {
            schema: event.schema,
            version: event.version,
            oldest: event.oldest,
            role: match event.role {
                EventRole::Current => "current",
                EventRole::Superseded => "superseded",
                EventRole::Consumes => "consumes",
                EventRole::Integration => "integration",
            },
            rust_name: format!("{}::{}", event.declared.module_path, event.rust_name),
            docs: event.docs,
            made_from: event.made_from.map(|source| source.schema),
            deprecated: event.deprecated,
            topic: event.topic,
            routing_key: event.routing_key,
            fields: event
                .fields
                .iter()
                .map(
                    |&FieldDescriptor {
                         name,
                         rust_type,
                         docs,
                         is_flattened,
                         ..
                     }| CatalogueField {
                        name,
                        rust_type,
                        docs,
                        is_flattened,
                    },
                )
                .collect(),
            versions: changes(event),
        }
    }
}

/// The changes of each version, newest first, as far as this declaration tells them.
fn changes(event: &EventDescriptor) -> Vec<CatalogueVersion> {
    let mut versions: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut note = |version, change| versions.entry(version).or_default().push(change);
    if let Some(older) = event.upcast_from {
        note(
            older.version + 1,
            format!("upcast from `{}`", older.rust_name),
        );
    }
    for removed in event.removed {
        note(removed.since, format!("removed `{}`", removed.name));
    }
    for field in event.fields {
        for (at, change) in field.history.iter().enumerate() {
            let name = name_after(field.name, &field.history[at + 1..]);
            match change {
                FieldChange::Added { since } => note(*since, format!("added `{name}`")),
                FieldChange::Renamed { since, from } => {
                    note(*since, format!("renamed `{from}` to `{name}`"))
                }
            }
        }
    }
    versions
        .into_iter()
        .rev()
        .map(|(version, changes)| CatalogueVersion { version, changes })
        .collect()
}

/// The name a field had before the `later` changes.
fn name_after(today: &'static str, later: &[FieldChange]) -> &'static str {
    let next_rename = later.iter().find_map(|change| match change {
        FieldChange::Renamed { from, .. } => Some(*from),
        FieldChange::Added { .. } => None,
    });
    next_rename.unwrap_or(today)
}

struct Text<'a>(&'a Catalogue);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.0.events {
            text_event(f, event)?;
        }
        for aggregate in &self.0.aggregates {
            writeln!(
                f,
                "aggregate {} ({})",
                aggregate.aggregate_type, aggregate.rust_name
            )?;
            indented(f, "  ", aggregate.docs)?;
            writeln!(f, "  raises {}\n", aggregate.events.join(", "))?;
        }
        Ok(())
    }
}

fn text_event(f: &mut fmt::Formatter<'_>, event: &CatalogueEvent) -> fmt::Result {
    let CatalogueEvent {
        schema,
        version,
        role,
        rust_name,
        ..
    } = event;
    writeln!(f, "{schema} v{version} {role} ({rust_name})")?;
    indented(f, "  ", event.docs)?;
    if event.oldest > 1 {
        writeln!(f, "  reads versions from {}", event.oldest)?;
    }
    if let Some(source) = event.made_from {
        writeln!(f, "  made from {source}")?;
    }
    if let Some(way_out) = event.deprecated {
        writeln!(f, "  deprecated: {way_out}")?;
    }
    if let Some(topic) = event.topic {
        writeln!(f, "  topic {topic}")?;
    }
    if let Some(routing_key) = event.routing_key {
        writeln!(f, "  routing key {routing_key}")?;
    }
    for field in &event.fields {
        writeln!(f, "  {}: {}{}", field.name, field.role(), field.rust_type)?;
        indented(f, "      ", field.docs)?;
    }
    for step in &event.versions {
        writeln!(f, "  v{}: {}", step.version, step.changes.join(", "))?;
    }
    f.write_char('\n')
}

fn indented(f: &mut fmt::Formatter<'_>, margin: &str, docs: &str) -> fmt::Result {
    docs.lines()
        .try_for_each(|line| writeln!(f, "{}", format!("{margin}{line}").trim_end()))
}

struct Markdown<'a>(&'a Catalogue);

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Events\n")?;
        for event in &self.0.events {
            markdown_event(f, event)?;
        }
        writeln!(f, "# Aggregates\n")?;
        for aggregate in &self.0.aggregates {
            writeln!(
                f,
                "## {}\n\n`{}`\n",
                aggregate.aggregate_type, aggregate.rust_name
            )?;
            paragraph(f, aggregate.docs)?;
            for schema in &aggregate.events {
                writeln!(f, "- `{schema}`")?;
            }
            f.write_char('\n')?;
        }
        Ok(())
    }
}

fn markdown_event(f: &mut fmt::Formatter<'_>, event: &CatalogueEvent) -> fmt::Result {
    let CatalogueEvent {
        schema,
        version,
        role,
        rust_name,
        ..
    } = event;
    writeln!(f, "## {schema} v{version}\n\n`{rust_name}`, {role}\n")?;
    paragraph(f, event.docs)?;
    if event.oldest > 1 {
        writeln!(f, "Reads versions from {}.\n", event.oldest)?;
    }
    if let Some(source) = event.made_from {
        writeln!(f, "Made from `{source}`.\n")?;
    }
    if let Some(way_out) = event.deprecated {
        writeln!(f, "Deprecated: {way_out}.\n")?;
    }
    if let Some(topic) = event.topic {
        writeln!(f, "Topic `{topic}`.\n")?;
    }
    if let Some(routing_key) = event.routing_key {
        writeln!(f, "Routing key `{routing_key}`.\n")?;
    }
    markdown_fields(f, &event.fields)?;
    for step in &event.versions {
        writeln!(f, "- v{}: {}", step.version, step.changes.join(", "))?;
    }
    if event.versions.is_empty() {
        Ok(())
    } else {
        f.write_char('\n')
    }
}

fn markdown_fields(f: &mut fmt::Formatter<'_>, fields: &[CatalogueField]) -> fmt::Result {
    if fields.is_empty() {
        return writeln!(f, "It has no fields.\n");
    }
    writeln!(f, "| field | type | |\n|---|---|---|")?;
    for field in fields {
        let docs = field.docs.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(
            f,
            "| `{}` | {}`{}` | {} |",
            cell(field.name),
            field.role(),
            cell(field.rust_type),
            cell(&docs)
        )?;
    }
    f.write_char('\n')
}

fn paragraph(f: &mut fmt::Formatter<'_>, docs: &str) -> fmt::Result {
    if docs.is_empty() {
        Ok(())
    } else {
        writeln!(f, "{docs}\n")
    }
}

/// Text that cannot end its table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
