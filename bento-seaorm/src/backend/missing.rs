//! Tables and schemas that an error says are missing.

use sea_orm::{DbBackend, DbErr};

use super::{database_error, of};

/// A table that an error says is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingTable {
    /// Its name, without that of its schema.
    pub(crate) table: String,
    /// The place where the database looked for it: the end of a sentence.
    pub(crate) place: String,
}

/// The text of the error for a schema that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MissingSchema {
    /// This one is missing.
    Named(String),
    /// The session has none to create tables in.
    OfTheSession,
}

/// The table that is missing, if that is what the error says.
pub(crate) fn missing_table(backend: DbBackend, error: &DbErr) -> Option<MissingTable> {
    of(backend).ok()?.missing_table(database_error(error)?)
}

/// The schema that is missing, if that is what the error says.
pub(crate) fn missing_schema(backend: DbBackend, error: &DbErr) -> Option<MissingSchema> {
    of(backend).ok()?.missing_schema(database_error(error)?)
}
