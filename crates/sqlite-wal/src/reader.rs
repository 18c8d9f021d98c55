//! Reads the frames behind a cursor, each verified, until the valid chain ends.
//!
//! A frame belongs to the chain when it carries the salts of the generation, a page number, and the
//! checksum that continues the previous frame's ("Database File Format", section "WAL File Format", the
//! two conditions for a valid frame). The first frame that does not is the end: what lies behind it is
//! stale. Whether frames are committed is the business of [`crate::read_batch`].

use crate::cursor::Cursor;
use crate::error::Result;
use crate::frame::FrameHeader;
use crate::source::ReadAt;
use crate::window::Window;

/// A verified frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Number of the frame, from 1.
    pub number: u32,
    /// Its header.
    pub header: FrameHeader,
    /// Its page.
    pub page: &'a [u8],
}

/// Why a chain of frames ended. Only the first is the caller's doing; the others are how the end of a
/// WAL looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainEnd {
    /// The limit was reached.
    Limit,
    /// The source ends before the next frame does.
    Short,
    /// The next frame carries other salts: it is a leftover of another generation.
    Salts,
    /// The next frame has page number 0, which SQLite never writes.
    PageNumber,
    /// The next frame does not continue the running checksum: torn, or a leftover of a transaction that
    /// was rolled back.
    Checksum,
}

/// Reads frames one after the other out of large pieces.
///
/// Memory is the caller's buffer, grown to 1 MiB at most and reused; no allocation once it has grown.
pub struct WalReader<'a, S: ReadAt + ?Sized> {
    source: &'a S,
    window: Window<'a>,
    cursor: Cursor,
    limit: u32,
    end: Option<ChainEnd>,
}

impl<'a, S: ReadAt + ?Sized> WalReader<'a, S> {
    /// A reader of the frames behind `cursor`.
    ///
    /// Frames behind `limit_frame` are never read: a caller that holds a read lock gives the frame it
    /// has pinned, and `u32::MAX` reads until the valid chain ends. With a limit, exactly the bytes up to it are
    /// read; without one, up to one piece (64 KiB, later 1 MiB) behind the end.
    pub fn new(source: &'a S, cursor: Cursor, limit_frame: u32, buffer: &'a mut Vec<u8>) -> Self {
        Self {
            source,
            window: Window::new(cursor.header.page_size, buffer),
            cursor,
            limit: limit_frame,
            end: None,
        }
    }

    /// The next frame, or `None` at the end of the valid chain; see [`WalReader::end`].
    ///
    /// The end is final for this reader: frames that a writer appends later are for the next one, made
    /// from [`WalReader::cursor`].
    ///
    /// # Errors
    /// [`crate::Error::Read`] from the source; the cursor stays at the last frame returned and the call
    /// may be repeated. [`crate::Error::PageSize`] when the cursor's header was not parsed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        if self.end.is_some() {
            return Ok(None);
        }
        if self.cursor.frame >= self.limit {
            self.end = Some(ChainEnd::Limit);
            return Ok(None);
        }
        let number = self.cursor.frame + 1;
        let Some((head, page)) = self
            .window
            .frame(self.source, number, self.limit)?
            .and_then(<[u8]>::split_first_chunk)
        else {
            self.end = Some(ChainEnd::Short);
            return Ok(None);
        };
        let header = FrameHeader::parse(head);
        if header.salts != self.cursor.header.salts {
            self.end = Some(ChainEnd::Salts);
            return Ok(None);
        }
        if header.pgno == 0 {
            self.end = Some(ChainEnd::PageNumber);
            return Ok(None);
        }
        let order = self.cursor.header.byte_order;
        let mut checksum = self.cursor.checksum;
        checksum.update(order, &head[..8]);
        checksum.update(order, page);
        if checksum != header.checksum {
            self.end = Some(ChainEnd::Checksum);
            return Ok(None);
        }
        self.cursor.frame = number;
        self.cursor.checksum = checksum;
        Ok(Some(Frame {
            number,
            header,
            page,
        }))
    }

    /// The cursor behind the last frame returned.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Why the chain ended, once [`WalReader::next_frame`] has given `None`.
    pub fn end(&self) -> Option<ChainEnd> {
        self.end
    }

    /// Frames in the caller's buffer: number of the first, and how many.
    pub(crate) fn held(&self) -> (u32, u32) {
        self.window.held()
    }
}
