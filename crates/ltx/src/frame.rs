//! Page frames: page header, size prefix, compressed page.
//!
//! ```text
//! 0   4  page number
//! 4   2  flags; bit 0 = 1: size prefix and LZ4 block, bit 0 = 0: LZ4 frame
//! 6   4  length of the block (flag 1 only)
//!        payload
//! ```
//!
//! [`FrameReader`] walks the frames of a file without looking into the payloads; it verifies no
//! checksum and no page order, which is what [`Decoder`](crate::Decoder) is for.

use std::io::Read;
use std::sync::Arc;

use crate::block;
use crate::error::{Cause, Error, Result};
use crate::header::{HEADER_SIZE, Header};
use crate::lz4_frame::{self, Walk};
use crate::page::{PAGE_HEADER_SIZE, PageSize, Pgno};
use crate::source::Source;

/// Page flag: a size prefix and an LZ4 block follow.
pub(crate) const FLAG_BLOCK: u16 = 1;
/// Page header and size prefix.
pub(crate) const PREFIX_SIZE: usize = PAGE_HEADER_SIZE + 4;

/// How a page is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One LZ4 block behind a size prefix, the form that is written today.
    Block,
    /// One LZ4 frame with its own checksum, written by Litestream up to 0.5.15.
    Lz4Frame,
}

/// The start of a frame, up to its payload.
#[derive(Clone, Copy)]
pub(crate) struct FrameHead {
    pub(crate) pgno: Pgno,
    pub(crate) offset: u64,
    prefix: [u8; PREFIX_SIZE],
    /// Length of the block; `None` for an LZ4 frame, which tells its own end.
    block_len: Option<usize>,
}

impl FrameHead {
    pub(crate) fn encoding(&self) -> Encoding {
        if self.block_len.is_some() {
            Encoding::Block
        } else {
            Encoding::Lz4Frame
        }
    }

    /// The bytes in front of the payload, as stored.
    pub(crate) fn stored(&self) -> &[u8] {
        let len = if self.block_len.is_some() {
            PREFIX_SIZE
        } else {
            PAGE_HEADER_SIZE
        };
        self.prefix.get(..len).unwrap_or_default()
    }
}

/// Page number and flags of a page header.
fn page_header(bytes: [u8; PAGE_HEADER_SIZE]) -> (u32, u16) {
    let value = bytes
        .iter()
        .fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
    ((value >> 16) as u32, value as u16)
}

/// Page header and size prefix of a page with an LZ4 block of `len` bytes.
pub(crate) fn block_prefix(pgno: Pgno, len: usize) -> [u8; PREFIX_SIZE] {
    let header = u128::from(pgno.get()) << 16 | u128::from(FLAG_BLOCK);
    let value = header << 32 | u128::from(len as u32);
    *value
        .to_be_bytes()
        .last_chunk()
        .expect("ten of sixteen bytes")
}

/// One page as it stands in a file; its buffer is reused from frame to frame.
#[derive(Clone)]
pub struct Frame {
    pub(crate) head: FrameHead,
    payload: Vec<u8>,
    page_size: PageSize,
    file: Arc<str>,
}

impl Frame {
    /// A frame to be filled by [`FrameReader::next_frame`] or
    /// [`Decoder::next_frame`](crate::Decoder::next_frame).
    pub fn new() -> Self {
        let prefix = [0; PREFIX_SIZE];
        Self {
            head: FrameHead {
                pgno: Pgno::FIRST,
                offset: 0,
                prefix,
                block_len: Some(0),
            },
            payload: Vec::new(),
            page_size: PageSize::MIN,
            file: Arc::from(""),
        }
    }

    /// Number of the page.
    pub fn pgno(&self) -> Pgno {
        self.head.pgno
    }

    /// How the payload is compressed.
    pub fn encoding(&self) -> Encoding {
        self.head.encoding()
    }

    /// The compressed page.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Offset of the frame in its file.
    pub fn offset(&self) -> u64 {
        self.head.offset
    }

    /// Bytes of the frame in its file, header included.
    pub fn size(&self) -> u64 {
        (self.head.stored().len() + self.payload.len()) as u64
    }

    /// Fills `page`, whose length must be the page size.
    ///
    /// # Errors
    ///
    /// If the payload is damaged or yields another number of bytes; `page` is then undefined.
    pub fn decompress(&self, page: &mut [u8]) -> Result<()> {
        check_buffer(page, self.page_size)?;
        decompress(self.encoding(), &self.payload, page)
            .map_err(|cause| Error::from(cause).in_file(&self.file).at(self.head.offset))
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("file", &self.file)
            .field("offset", &self.offset())
            .field("size", &self.size())
            .field("pgno", &self.pgno())
            .field("encoding", &self.encoding())
            .finish_non_exhaustive()
    }
}

fn decompress(encoding: Encoding, payload: &[u8], page: &mut [u8]) -> Result<(), Cause> {
    match encoding {
        Encoding::Block => block::decompress(payload, page),
        Encoding::Lz4Frame => lz4_frame::decompress(payload, page),
    }
}

pub(crate) fn check_buffer(page: &[u8], page_size: PageSize) -> Result<()> {
    if page.len() != page_size.bytes() {
        let (found, expected) = (page.len(), page_size.bytes());
        return Err(Cause::BufferSize { found, expected }.into());
    }
    Ok(())
}

/// Reads the header and then the frames of a file, one after the other.
pub struct FrameReader<R> {
    source: Source<R>,
    header: Header,
    header_bytes: [u8; HEADER_SIZE],
    at_end: bool,
}

impl<R: Read> FrameReader<R> {
    /// Reads and validates the header. `name` stands for the file in errors.
    ///
    /// The reader needs no buffering of its own.
    pub fn new(reader: R, name: impl Into<String>) -> Result<Self> {
        let mut source = Source::new(reader, Arc::from(name.into()));
        let header_bytes = source.take_array("read header")?;
        let header = Header::decode(&header_bytes).map_err(|error| error.in_file(source.file()))?;
        Ok(Self {
            source,
            header,
            header_bytes,
            at_end: false,
        })
    }

    /// The header of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Sets how much is read at a time, at least 4 KiB; 64 KiB unless set.
    pub fn set_buffer_size(&mut self, bytes: usize) {
        self.source.set_capacity(bytes);
    }

    /// Reads the next frame into `frame`; `false` at the end of the pages.
    pub fn next_frame(&mut self, frame: &mut Frame) -> Result<bool> {
        let Some(head) = self.next_head()? else {
            return Ok(false);
        };
        frame.page_size = self.header.page_size;
        frame.file.clone_from(self.source.file());
        frame.head = head;
        frame.payload.clear();
        self.append_payload(&head, &mut frame.payload)?;
        Ok(true)
    }

    pub(crate) fn header_bytes(&self) -> &[u8; HEADER_SIZE] {
        &self.header_bytes
    }

    pub(crate) fn file(&self) -> &Arc<str> {
        self.source.file()
    }

    pub(crate) fn source(&mut self) -> &mut Source<R> {
        &mut self.source
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Reads the page header and size prefix; `None` at the end of the pages.
    pub(crate) fn next_head(&mut self) -> Result<Option<FrameHead>> {
        if self.at_end {
            return Ok(None);
        }
        let offset = self.source.offset();
        if self.source.fill(PREFIX_SIZE)? == 0 {
            return Err(self.source.error(Cause::NoEndOfPages, offset));
        }
        let header: [u8; PAGE_HEADER_SIZE] = self.source.take_array("read page header")?;
        let (number, flags) = page_header(header);
        if number == 0 && flags == 0 {
            self.at_end = true;
            return Ok(None);
        }
        let pgno = Pgno::new(number).ok_or_else(|| self.source.error(Cause::PageNumber, offset))?;
        if flags & !FLAG_BLOCK != 0 {
            return Err(self.source.error(Cause::PageFlags(flags), offset));
        }
        let mut prefix = [0; PREFIX_SIZE];
        let (stored_header, stored_size) = prefix.split_at_mut(PAGE_HEADER_SIZE);
        stored_header.copy_from_slice(&header);
        let mut block_len = None;
        if flags & FLAG_BLOCK != 0 {
            let size: [u8; 4] = self.source.take_array("read data size")?;
            stored_size.copy_from_slice(&size);
            block_len = Some(self.check_block_len(u32::from_be_bytes(size), offset)?);
        }
        Ok(Some(FrameHead {
            pgno,
            offset,
            prefix,
            block_len,
        }))
    }

    fn check_block_len(&self, len: u32, offset: u64) -> Result<usize> {
        let limit = block::payload_limit(self.header.page_size);
        if len == 0 || len as usize > limit {
            let cause = Cause::CompressedSize {
                found: u64::from(len),
                limit: limit as u64,
            };
            return Err(self.source.error(cause, offset));
        }
        Ok(len as usize)
    }

    /// Reads the payload behind `head` and decompresses it into `page`; gives the payload.
    ///
    /// Blocks are taken out of the read buffer where they fit, all else goes through `scratch`.
    pub(crate) fn decompress_next<'a>(
        &'a mut self,
        head: &FrameHead,
        page: &mut [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        check_buffer(page, self.header.page_size)?;
        let file = self.source.file().clone();
        let payload = match head.block_len {
            Some(len) if len <= self.source.capacity() => {
                self.source.take(len, "read compressed data")?
            }
            _ => {
                scratch.clear();
                self.append_payload(head, scratch)?;
                scratch
            }
        };
        decompress(head.encoding(), payload, page)
            .map_err(|cause| Error::from(cause).in_file(&file).at(head.offset))?;
        Ok(payload)
    }

    fn append_payload(&mut self, head: &FrameHead, out: &mut Vec<u8>) -> Result<()> {
        if let Some(len) = head.block_len {
            return self.source.append(out, len, "read compressed data");
        }
        let limit = block::payload_limit(self.header.page_size);
        let mut walk = Walk::default();
        loop {
            let missing = walk
                .missing(out)
                .map_err(|cause| self.source.error(cause, head.offset))?;
            if missing == 0 {
                return Ok(());
            }
            if out.len() + missing > limit {
                let found = (out.len() + missing) as u64;
                let cause = Cause::CompressedSize {
                    found,
                    limit: limit as u64,
                };
                return Err(self.source.error(cause, head.offset));
            }
            self.source.append(out, missing, "read compressed data")?;
        }
    }
}

impl<R> std::fmt::Debug for FrameReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Decodes the one page whose frame starts at `bytes[0]`; bytes behind the frame are ignored.
///
/// For single reads by way of a [`PageIndex`](crate::PageIndex). An LZ4 frame is covered by a
/// checksum of its own, a block is not: what comes back is only as sound as the file.
///
/// # Errors
///
/// Names offsets relative to the frame. An end-of-pages marker is an error.
pub fn decode_frame_at(bytes: &[u8], page_size: PageSize, page: &mut [u8]) -> Result<Pgno> {
    check_buffer(page, page_size)?;
    let short = |part, expected: usize| {
        let found = bytes.len() as u64;
        Error::from(Cause::EndOfFile {
            part,
            expected: expected as u64,
            found,
        })
        .at(0)
    };
    let header = bytes.first_chunk::<PAGE_HEADER_SIZE>();
    let header = header.ok_or_else(|| short("read page header", PAGE_HEADER_SIZE))?;
    let (number, flags) = page_header(*header);
    let pgno = Pgno::new(number).ok_or_else(|| Error::from(Cause::PageNumber).at(0))?;
    if flags & !FLAG_BLOCK != 0 {
        return Err(Error::from(Cause::PageFlags(flags)).at(0));
    }
    let rest = bytes.get(PAGE_HEADER_SIZE..).unwrap_or_default();
    let (encoding, payload) = if flags & FLAG_BLOCK == 0 {
        (Encoding::Lz4Frame, rest)
    } else {
        let (size, rest) = rest
            .split_first_chunk()
            .ok_or_else(|| short("read data size", PREFIX_SIZE))?;
        let len = u32::from_be_bytes(*size) as usize;
        let block = rest.get(..len);
        (
            Encoding::Block,
            block.ok_or_else(|| short("read compressed data", len.saturating_add(PREFIX_SIZE)))?,
        )
    };
    decompress(encoding, payload, page).map_err(|cause| Error::from(cause).at(0))?;
    Ok(pgno)
}
