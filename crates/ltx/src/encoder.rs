//! Writing one file.
//!
//! All output goes through one buffer; the writer sees one call per full buffer. The index is kept
//! in its encoded form, because pages come in ascending order: about 7 bytes per page.

use std::io::Write;

use crate::block::{self, Compressor};
use crate::checksum::Crc64;
use crate::error::{Cause, Error, Result};
use crate::frame::{PREFIX_SIZE, block_prefix};
use crate::header::{HEADER_SIZE, Header};
use crate::order::PageOrder;
use crate::page::{PAGE_HEADER_SIZE, Pgno};
use crate::trailer::{Trailer, check_post_apply};
use crate::varint;

/// Size of a write call; at least one frame of the largest page fits.
const BUFFER_SIZE: usize = 256 * 1024;

/// What an encoder wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file.
    pub size: u64,
    /// Number of page frames.
    pub pages: u64,
    /// The header as written.
    pub header: Header,
    /// The trailer as written.
    pub trailer: Trailer,
}

/// Writes one file: header, pages in ascending order, then [`Encoder::finish`].
///
/// After an error the encoder is closed, and what has been written is no valid file: it has no
/// trailer. Dropping an encoder without `finish` leaves such a file behind.
///
/// # Durability
///
/// `finish` flushes the writer and no more: syncing a file is up to the caller, who gets it back.
///
/// # Cost
///
/// One buffer of 256 KiB and 7 bytes of index per page. Nothing is allocated per page.
pub struct Encoder<W> {
    writer: W,
    header: Header,
    order: PageOrder,
    crc: Crc64,
    compressor: Compressor,
    buffer: Vec<u8>,
    used: usize,
    /// Bytes handed to the writer.
    flushed: u64,
    index: Vec<u8>,
    pages: u64,
    is_closed: bool,
}

impl<W: Write> Encoder<W> {
    /// Validates the header; it reaches the writer with the first full buffer.
    pub fn new(writer: W, header: Header) -> Result<Self> {
        header.validate()?;
        let frames = (header.commit as usize).saturating_mul(frame_room(&header));
        let size = frames
            .saturating_add(HEADER_SIZE)
            .clamp(frame_room(&header), BUFFER_SIZE);
        let mut encoder = Self {
            writer,
            header,
            order: PageOrder::new(&header),
            crc: Crc64::new(),
            compressor: Compressor::new(header.page_size),
            buffer: vec![0; size],
            used: 0,
            flushed: 0,
            index: Vec::new(),
            pages: 0,
            is_closed: false,
        };
        let bytes = header.encode();
        encoder.crc.update(&bytes);
        encoder.put(&bytes)?;
        Ok(encoder)
    }

    /// The header being written.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Compresses and appends a page.
    ///
    /// # Errors
    ///
    /// If the page breaks the order of the file (see [`Header::is_snapshot`]), is the lock page,
    /// lies beyond the commit size or has another length than the page size; nothing is written
    /// for such a page.
    pub fn encode_page(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        self.admit(pgno, page)?;
        self.reserve(frame_room(&self.header))?;
        let start = self.used;
        let room = self
            .buffer
            .get_mut(start + PREFIX_SIZE..)
            .unwrap_or_default();
        let len = self.compressor.compress(page, room);
        self.frame(pgno, len, page);
        Ok(())
    }

    /// Appends a page whose LZ4 block is at hand; `page` is what the block decompresses to.
    ///
    /// Cost: a copy and a checksum instead of a compression. That `block` yields `page` is
    /// trusted, not checked: a wrong block makes a file that no reader accepts.
    pub fn encode_compressed(&mut self, pgno: Pgno, block: &[u8], page: &[u8]) -> Result<()> {
        self.admit(pgno, page)?;
        let limit = block::payload_limit(self.header.page_size);
        if block.is_empty() || block.len() > limit {
            let (found, limit) = (block.len() as u64, limit as u64);
            return Err(self.close(Cause::CompressedSize { found, limit }));
        }
        self.reserve(PREFIX_SIZE + block.len())?;
        let start = self.used + PREFIX_SIZE;
        let room = self
            .buffer
            .get_mut(start..start + block.len())
            .unwrap_or_default();
        room.copy_from_slice(block);
        self.frame(pgno, block.len(), page);
        Ok(())
    }

    /// Ends the file with no database checksum, the form for untracked checksums.
    pub fn finish(self) -> Result<(W, Written)> {
        self.finish_with(0)
    }

    /// Ends the file: end-of-pages marker, index, trailer; then flushes the writer.
    ///
    /// `post_apply` is the database checksum after the file, zero if not tracked.
    ///
    /// # Errors
    ///
    /// If a snapshot lacks pages up to its commit size, or `post_apply` does not fit the header.
    pub fn finish_with(mut self, post_apply: u64) -> Result<(W, Written)> {
        if self.is_closed {
            return Err(Cause::EncoderClosed.into());
        }
        self.order.finish().map_err(Error::invalid)?;
        check_post_apply(&self.header, post_apply).map_err(Error::invalid)?;
        let mut index = std::mem::take(&mut self.index);
        index.push(0);
        let length = (index.len() as u64).to_be_bytes();
        for part in [
            &[0; PAGE_HEADER_SIZE][..],
            &index,
            &length,
            &post_apply.to_be_bytes(),
        ] {
            self.crc.update(part);
        }
        let trailer = Trailer {
            post_apply,
            file_checksum: self.crc.flagged(),
        };
        self.put(&[0; PAGE_HEADER_SIZE])?;
        self.put(&index)?;
        self.put(&length)?;
        self.put(&trailer.encode())?;
        self.flush()?;
        self.writer.flush().map_err(|source| Cause::Io {
            action: "flush",
            source,
        })?;
        let written = Written {
            size: self.flushed,
            pages: self.pages,
            header: self.header,
            trailer,
        };
        Ok((self.writer, written))
    }

    /// The checks in front of every page.
    fn admit(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        if self.is_closed {
            return Err(Cause::EncoderClosed.into());
        }
        let expected = self.header.page_size.bytes();
        let checked = self.order.check_bounds(pgno).and_then(|()| {
            if page.len() != expected {
                return Err(Cause::BufferSize {
                    found: page.len(),
                    expected,
                });
            }
            self.order.advance(pgno)
        });
        checked.map_err(|cause| self.close(cause))
    }

    fn close(&mut self, cause: Cause) -> Error {
        self.is_closed = true;
        Error::invalid(cause)
    }

    /// Completes the frame whose block of `len` bytes stands in the buffer behind the prefix.
    fn frame(&mut self, pgno: Pgno, len: usize, page: &[u8]) {
        let offset = self.flushed + self.used as u64;
        let prefix = block_prefix(pgno, len);
        if let Some(room) = self.buffer.get_mut(self.used..self.used + PREFIX_SIZE) {
            room.copy_from_slice(&prefix);
        }
        self.crc.update(&prefix);
        self.crc.update(page);
        let size = PREFIX_SIZE + len;
        varint::put(&mut self.index, u64::from(pgno.get()));
        varint::put(&mut self.index, offset);
        varint::put(&mut self.index, size as u64);
        self.used += size;
        self.pages += 1;
    }

    /// Makes room for `len` bytes behind the used part of the buffer.
    fn reserve(&mut self, len: usize) -> Result<()> {
        if self.buffer.len() - self.used < len {
            self.flush()?;
        }
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() - self.used < bytes.len() {
            self.flush()?;
        }
        if let Some(room) = self.buffer.get_mut(self.used..self.used + bytes.len()) {
            room.copy_from_slice(bytes);
            self.used += bytes.len();
            return Ok(());
        }
        self.write(bytes.len(), |writer, _| writer.write_all(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        let used = std::mem::take(&mut self.used);
        self.write(used, |writer, buffer| {
            writer.write_all(buffer.get(..used).unwrap_or_default())
        })
    }

    fn write(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut W, &[u8]) -> std::io::Result<()>,
    ) -> Result<()> {
        if let Err(source) = write(&mut self.writer, &self.buffer) {
            self.is_closed = true;
            return Err(Error::from(Cause::Io {
                action: "write",
                source,
            })
            .at(self.flushed));
        }
        self.flushed += len as u64;
        Ok(())
    }
}

/// Room that a frame may need while its page is being compressed.
fn frame_room(header: &Header) -> usize {
    PREFIX_SIZE + Compressor::room(header.page_size)
}

impl<W> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("header", &self.header)
            .field("pages", &self.pages)
            .finish_non_exhaustive()
    }
}
