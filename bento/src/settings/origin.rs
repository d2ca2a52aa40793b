//! The source of a configured value: a line of a file, or a variable.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The source of a value. Files stand before variables, lines in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// A file.
    File {
        /// Its path, as it was named.
        path: Arc<Path>,
        /// The line, counted from 1, where the format tells.
        line: Option<usize>,
    },
    /// A variable of the environment.
    Variable(Arc<str>),
}

/// `bento.toml:3`, or the variable's name.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}
