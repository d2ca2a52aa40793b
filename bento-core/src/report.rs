//! An error as people read it.

use std::error::Error;
use std::fmt;

/// The error that ends a program, for `fn main() -> Result<(), Report>`.
///
/// Rust prints what `main` returns by its `Debug`. The `Debug` of a report is what a person wants
/// to read: the error and its causes, joined by `: `. Every error becomes one by `?`. Like the
/// reports of `anyhow` and `eyre`, which serve as well, it does not implement `Error` itself.
///
/// ```
/// use bento_core::Report;
///
/// fn main_of_a_program(port: &str) -> Result<u16, Report> {
///     Ok(port.parse()?)
/// }
///
/// let report = main_of_a_program("http").unwrap_err();
/// assert_eq!(format!("{report:?}"), "invalid digit found in string");
/// ```
pub struct Report(Box<dyn Error + Send + Sync>);

impl Report {
    /// The error itself.
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Report {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The error with its causes.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_causes(&*self.0))
    }
}

/// The same as `Display`, for `main`.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The messages of an error and of its causes, joined by `: `. A cause that a message repeats at
/// its end stands there once.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn chain(texts: &[&'static str]) -> Link {
        let (text, rest) = texts.split_first().unwrap();
        let source = (!rest.is_empty()).then(|| Box::new(chain(rest)));
        Link { text, source }
    }

    #[test]
    fn an_error_that_main_returns_is_printed_with_its_causes() {
        let start = || -> Result<(), Report> {
            Err(chain(&["the relay cannot start", "no store", "refused"]))?
        };
        let report = start().unwrap_err();
        assert_eq!(
            format!("{report:?}"),
            "the relay cannot start: no store: refused"
        );
        assert_eq!(report.to_string(), format!("{report:?}"));
        assert!(report.as_error().is::<Link>());
    }

    #[test]
    fn a_cause_that_its_error_repeats_stands_there_once() {
        let report = Report::from(chain(&["no connection: refused", "refused", "refused"]));
        assert_eq!(report.to_string(), "no connection: refused");
    }
}
