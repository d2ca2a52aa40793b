//! The errors of a source.

use std::borrow::Cow;

use bento_core::report::with_causes;

/// The error of a source.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    message: Cow<'static, str>,
    is_refused: bool,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SourceError {
    /// The broker could not be asked, or the connection has ended. It is tried again.
    ///
    /// ```
    /// use bento_relay::source::SourceError;
    ///
    /// let error = SourceError::unavailable("not connected").because("connection refused");
    /// assert!(!error.is_refused());
    /// ```
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            is_refused: false,
            source: None,
        }
    }

    /// The broker answered, and an operator has to repair something: the stream is missing, a right
    /// is, or the queue is of a kind that cannot keep the promises. A consumer does not start; one
    /// that runs tries again, at most every 30 seconds.
    pub fn refused(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            is_refused: true,
            ..Self::unavailable(message)
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// True if an operator has to repair something.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// The message and those of every cause, joined by `: `.
    pub fn chain(&self) -> String {
        with_causes(self)
    }
}
