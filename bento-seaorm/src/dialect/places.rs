//! The schemas that tables can be in, and what an error says of a table or a schema that is
//! missing.

use sea_orm::{DbBackend, DbErr};

use super::{Dialect, database_error, of};
use crate::error::Error;
use crate::tables::Tables;

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

/// The dialect of a back end that these tables can be on.
///
/// # Errors
/// [`Error::UnsupportedBackend`], and [`Error::NoSchemas`] if they are in a schema and the back end
/// has none.
pub(crate) fn for_tables(
    backend: DbBackend,
    tables: &Tables,
) -> Result<&'static dyn Dialect, Error> {
    let dialect = of(backend)?;
    match (tables.prefix().schema(), dialect.schema_quote()) {
        (Some(schema), None) => Err(Error::NoSchemas {
            backend,
            schema: schema.to_owned(),
        }),
        _ => Ok(dialect),
    }
}

/// The quotation mark around the name of a schema; `None` where there are no schemas.
pub(crate) fn schema_quote(backend: DbBackend) -> Option<char> {
    of(backend).ok()?.schema_quote()
}

/// The table that is missing, if that is what the error says.
pub(crate) fn missing_table(backend: DbBackend, error: &DbErr) -> Option<MissingTable> {
    of(backend).ok()?.missing_table(database_error(error)?)
}

/// The schema that is missing, if that is what the error says.
pub(crate) fn missing_schema(backend: DbBackend, error: &DbErr) -> Option<MissingSchema> {
    of(backend).ok()?.missing_schema(database_error(error)?)
}
