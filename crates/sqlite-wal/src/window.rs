//! The stretch of a WAL that is in memory: whole frames, one behind the other.
//!
//! Invariant: `buffer[..filled]` holds the frames from `first` on, `filled` a multiple of the frame size.
//! Frames are read in large pieces and kept until the window is full, so that a small capture can take
//! its pages from memory after the batch is known. No byte is read twice while scanning forward.

use crate::error::Result;
use crate::layout::{FRAME_HEADER_SIZE, check_page_size, frame_offset};
use crate::source::{ReadAt, read_full};

/// Most bytes in memory. A frame of the largest page size fits in 15 times.
const CAPACITY: usize = 1 << 20;
/// First piece when the end is not known: most captures are smaller, and what lies behind the end of
/// the valid chain is stale and read for nothing.
const FIRST_PIECE: usize = 64 << 10;

pub(crate) struct Window<'a> {
    buffer: &'a mut Vec<u8>,
    page_size: u32,
    frame_size: usize,
    first: u32,
    filled: usize,
    piece: usize,
}

impl<'a> Window<'a> {
    pub(crate) fn new(page_size: u32, buffer: &'a mut Vec<u8>) -> Self {
        Self {
            buffer,
            page_size,
            frame_size: (FRAME_HEADER_SIZE as usize).saturating_add(page_size as usize),
            first: 1,
            filled: 0,
            piece: FIRST_PIECE,
        }
    }

    /// Bytes of `frame`, header and page; `None` when the source ends before the frame does.
    ///
    /// Frames behind `limit` are not read, `u32::MAX` meaning that the end is not known.
    #[inline]
    pub(crate) fn frame<S: ReadAt + ?Sized>(
        &mut self,
        source: &S,
        frame: u32,
        limit: u32,
    ) -> Result<Option<&[u8]>> {
        if self.start_of(frame).is_none() && !self.load(source, frame, limit)? {
            return Ok(None);
        }
        Ok(self
            .start_of(frame)
            .and_then(|start| self.buffer.get(start..start + self.frame_size)))
    }

    /// The frames in memory: number of the first, and how many.
    pub(crate) fn held(&self) -> (u32, u32) {
        (self.first, (self.filled / self.frame_size) as u32)
    }

    fn start_of(&self, frame: u32) -> Option<usize> {
        let index = frame.checked_sub(self.first)? as usize;
        let start = index.checked_mul(self.frame_size)?;
        (start < self.filled).then_some(start)
    }

    /// Reads `frame` and those behind it; whether at least `frame` was there in full.
    fn load<S: ReadAt + ?Sized>(&mut self, source: &S, frame: u32, limit: u32) -> Result<bool> {
        check_page_size(self.page_size, 8)?;
        let capacity = CAPACITY / self.frame_size * self.frame_size;
        let held = self.held().1;
        let follows = self.first.checked_add(held) == Some(frame);
        if !follows || self.filled + self.frame_size > capacity {
            self.first = frame;
            self.filled = 0;
        }
        let room = (capacity - self.filled) / self.frame_size;
        let wanted = if limit == u32::MAX {
            (self.piece / self.frame_size).max(1)
        } else {
            limit.saturating_sub(frame).saturating_add(1) as usize
        };
        self.piece = (self.piece * 4).min(CAPACITY);
        let end = self.filled + wanted.min(room) * self.frame_size;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let offset = frame_offset(self.page_size, frame);
        let read = read_full(source, &mut self.buffer[self.filled..end], offset)?;
        let whole = read / self.frame_size * self.frame_size;
        self.filled += whole;
        Ok(whole > 0)
    }
}
