//! Steps out of the way of a checkpoint that another process runs and that keeps writers out.
//!
//! FULL, RESTART and TRUNCATE wait for a *slot* of the wal-index, not for a mark: a pin that moves while they
//! wait may take the very slot that they wait for, and is stuck there, because a new reader joins the
//! slot that carries the newest mark. So meanwhile no read transaction is begun. A shared lock alone,
//! on a slot that has no mark, keeps the WAL from being started anew, and no checkpoint that copies
//! waits for it.
//!
//! Invariant: the lock is taken before the read transaction ends, and let go only after the next one has
//! begun *and* all that it may see is captured; see `docs/checkpoint-protocol.md`.

use super::pin::is_copied;
use super::{Capture, Foreign, Step};
use crate::error::Result;

impl Capture {
    /// Captures what there is and ends the pinned reader, while a checkpoint of another process keeps
    /// writers out and has something to copy. `None` when there is none, or no slot is to be had: then an
    /// ordinary step is due, which also ends this state.
    pub(super) fn step_aside(&mut self, most: u64) -> Result<Option<Step>> {
        let index = self.pin.peek()?;
        let may = self.rebase.is_none()
            // When all is copied the reader goes to slot 0, for which nobody waits then.
            && !is_copied(&index)
            && self.pin.foreign_checkpoint() == Foreign::Exclusive
            && self.pin.lock_aside()?;
        if !may {
            return Ok(None);
        }
        let step = self.capture_frames(&index, most)?;
        if !self.is_behind(&index) && self.rebase.is_none() {
            self.pin.move_aside();
        }
        Ok(Some(step))
    }

    /// Whether a bare lock stands in for the pinned reader.
    pub(crate) fn is_aside(&self) -> bool {
        self.pin.is_aside()
    }
}
