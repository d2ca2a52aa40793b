//! The stack of frames of a unit of work, and what it knows of its transaction.

use super::FrameId;
use super::error::FrameError;
use super::frame::Frame;
use crate::outbox::ClockOffset;

/// The state that the clones of a unit of work share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) frames: Vec<Frame>,
    pub(super) next: u64,
    pub(super) tenant_id: Option<String>,
    pub(super) owner: Option<u64>,
    pub(super) clock: ClockOffset,
    pub(super) sealed: bool,
}

impl State {
    pub(super) fn is_open(&self) -> bool {
        !self.sealed && !self.frames.is_empty()
    }

    pub(super) fn contains(&self, frame: FrameId) -> bool {
        self.frames.iter().any(|candidate| candidate.id == frame)
    }

    pub(super) fn flushable(&mut self, frame: FrameId) -> Result<(), FrameError> {
        self.top(frame)?;
        self.frames.iter().try_for_each(Frame::decided)
    }

    pub(super) fn open_top(&mut self) -> Option<&mut Frame> {
        if self.sealed {
            None
        } else {
            self.frames.last_mut()
        }
    }

    pub(crate) fn top(&mut self, frame: FrameId) -> Result<&mut Frame, FrameError> {
        match self
            .frames
            .iter()
            .rposition(|candidate| candidate.id == frame)
        {
            Some(_) if self.sealed => Err(FrameError::Ended),
            Some(index) if index + 1 == self.frames.len() => Ok(&mut self.frames[index]),
            Some(_) => Err(FrameError::ChildOpen),
            None => Err(FrameError::Ended),
        }
    }
}
