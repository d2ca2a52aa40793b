//! Advice on names: an event is a fact of the business, in the past tense.

use std::fmt;

use crate::event::{Declaration, EventDescriptor};

/// A schema that names no fact of the business in the past tense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// The kind of name.
    pub name: LintName,
    /// The schema that the advice is about.
    pub schema: &'static str,
    /// The place where the event is declared.
    pub declared: Declaration,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            schema,
            declared,
        } = self;
        write!(
            f,
            "`{schema}` {}; `allow({name})` on the event silences this ({declared})",
            name.advice()
        )
    }
}

/// The kinds of names that are advised against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LintName {
    /// A command: `order.create`.
    Imperative,
    /// A thing: `order.payment`.
    BareNoun,
    /// A change of a row, not of the business: `order.updated`.
    RowChange,
}

impl LintName {
    const fn advice(self) -> &'static str {
        match self {
            Self::Imperative => {
                "is a command: say what has happened, in the past tense, as in `order.created`"
            }
            Self::BareNoun => {
                "is not in the past tense: say what has happened, as in `order.created`"
            }
            Self::RowChange => {
                "says that a row changed: say what happened in the business, as in \
                 `order.address_corrected`"
            }
        }
    }
}

impl fmt::Display for LintName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imperative => "imperative",
            Self::BareNoun => "bare_noun",
            Self::RowChange => "row_change",
        })
    }
}

const ROW_CHANGES: &[&str] = &[
    "changed",
    "updated",
    "modified",
    "edited",
    "saved",
    "inserted",
    "upserted",
    "persisted",
];

const COMMANDS: &[&str] = &[
    "accept", "add", "approve", "assign", "book", "cancel", "change", "close", "complete",
    "confirm", "create", "delete", "deliver", "do", "finish", "insert", "make", "open", "order",
    "pay", "place", "publish", "refund", "register", "reject", "remove", "rename", "request",
    "reserve", "save", "send", "ship", "start", "stop", "submit", "update",
];

/// Past participles that do not end in `ed`.
const IRREGULAR: &[&str] = &[
    "begun",
    "bound",
    "bought",
    "broken",
    "brought",
    "built",
    "caught",
    "chosen",
    "done",
    "drawn",
    "driven",
    "fallen",
    "fed",
    "fled",
    "flown",
    "forgotten",
    "forgiven",
    "found",
    "frozen",
    "given",
    "gone",
    "grown",
    "heard",
    "held",
    "kept",
    "known",
    "laid",
    "led",
    "left",
    "lent",
    "lost",
    "made",
    "met",
    "overdrawn",
    "overrun",
    "paid",
    "put",
    "read",
    "rebuilt",
    "repaid",
    "reset",
    "risen",
    "run",
    "seen",
    "sent",
    "set",
    "shown",
    "shut",
    "sold",
    "spent",
    "split",
    "spoken",
    "stolen",
    "sunk",
    "taken",
    "taught",
    "thrown",
    "told",
    "torn",
    "undone",
    "unpaid",
    "withdrawn",
    "won",
    "written",
];

/// The advice about the schema of `event`, unless the event allows the name.
pub(super) fn look_at(event: &'static EventDescriptor) -> Option<Lint> {
    let name = judge(event.schema)?;
    let allowed = event.allow.contains(&name.to_string().as_str());
    (!allowed).then_some(Lint {
        name,
        schema: event.schema,
        declared: event.declared,
    })
}

/// The last segment says what happened; in it any word may carry the past tense
/// (`left_the_warehouse`).
fn judge(schema: &str) -> Option<LintName> {
    let happened = schema.rsplit('.').next().unwrap_or(schema);
    let mut words = happened.split('_').peekable();
    let first = *words.peek()?;
    if words.clone().any(|word| ROW_CHANGES.contains(&word)) {
        return Some(LintName::RowChange);
    }
    if words.any(is_past_tense) {
        return None;
    }
    Some(if COMMANDS.contains(&first) {
        LintName::Imperative
    } else {
        LintName::BareNoun
    })
}

fn is_past_tense(word: &str) -> bool {
    (word.len() > 3 && word.ends_with("ed") && !word.ends_with("eed")) || IRREGULAR.contains(&word)
}
