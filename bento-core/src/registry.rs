//! All events of the binary.

use crate::codec::DecodeError;
use crate::event::AnyEvent;

/// All events of the binary.
#[derive(Debug)]
pub struct Registry;

impl Registry {
    /// The one.
    pub fn global() -> &'static Self {
        &Self
    }

    /// Decodes.
    pub fn decode(&self, _: &str, _: u32, _: &[u8]) -> Result<Box<dyn AnyEvent>, DecodeError> {
        unreachable!()
    }
}
