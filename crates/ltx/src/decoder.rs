//! Reading and verifying one file, front to back.
//!
//! A decoder checks the order of the pages, that every page has exactly the page size, the file
//! checksum over header, pages and index, and the database checksum of snapshots that track it. It
//! takes what sound and plausible writers produce: missing pages (a later file may hold them), pages
//! beyond the commit size (they are dropped when applied), any index content under a right checksum.

use std::io::Read;
use std::sync::Arc;

use crate::checksum::{Checksum, Crc64};
use crate::error::{Cause, Result};
use crate::frame::{Encoding, Frame, FrameHead, FrameReader, check_buffer};
use crate::header::Header;
use crate::index::{PageIndex, RawEntry, Scan, Slot, Step};
use crate::page::{PAGE_HEADER_SIZE, Pgno};
use crate::trailer::{TRAILER_SIZE, Trailer};

/// What is known of a file once all of it was verified.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The header.
    pub header: Header,
    /// The trailer.
    pub trailer: Trailer,
    /// Number of page frames.
    pub pages: u64,
    /// Bytes of the file.
    pub size: u64,
    /// Whether the stored index says where the pages are. A file with a wrong one restores, but
    /// cannot be read page by page.
    pub index_is_exact: bool,
    /// Where the pages are, by the frames themselves; only if [`Decoder::keep_index`] was called.
    pub index: Option<PageIndex>,
}

/// Reads one file front to back and verifies it.
///
/// Pages must not be trusted before [`Decoder::finish`] succeeded. After an error of a read method
/// the decoder stays in error: `finish` will not succeed.
///
/// To decompress on several threads, take frames with [`Decoder::next_frame`], decompress them
/// anywhere ([`Frame::decompress`]), and hand frame and page back in order with [`Decoder::accept`].
///
/// # Cost
///
/// A read buffer (64 KiB unless set) that is allocated when it is needed; 16 bytes per page if the
/// index is kept.
pub struct Decoder<R> {
    frames: FrameReader<R>,
    coverage: Coverage,
    previous: u32,
    /// Offset behind the last frame that was read.
    read_to: u64,
    pending: Option<FrameHead>,
    scratch: Vec<u8>,
}

/// What of the file has gone into the checksums.
struct Coverage {
    crc: Crc64,
    /// Sum of the pages so far, for snapshots with tracked checksums.
    database: Option<Checksum>,
    pages: u64,
    /// Offset behind the last frame.
    end: u64,
    /// Digest of the entries that an exact index has.
    entries: EntryDigest,
    index: Option<Vec<Slot>>,
}

impl Coverage {
    fn add(&mut self, head: &FrameHead, size: u64, page: &[u8]) {
        self.crc.update(head.stored());
        self.crc.update(page);
        if let Some(sum) = self.database {
            self.database = Some(sum.toggle(Checksum::of_page(head.pgno, page)));
        }
        self.pages += 1;
        self.end = head.offset + size;
        let pgno = u64::from(head.pgno.get());
        self.entries.add(RawEntry {
            pgno,
            offset: head.offset,
            size,
        });
        if let Some(index) = &mut self.index {
            // A frame is never longer than the limit of its payload, which fits 32 bits.
            index.push(Slot {
                pgno: head.pgno,
                size: size as u32,
                offset: head.offset,
            });
        }
    }
}

impl<R: Read> Decoder<R> {
    /// Reads and validates the header. `name` stands for the file in errors.
    ///
    /// The reader needs no buffering of its own.
    pub fn new(reader: R, name: impl Into<String>) -> Result<Self> {
        let mut frames = FrameReader::new(reader, name)?;
        let mut crc = Crc64::new();
        crc.update(frames.header_bytes());
        let header = frames.header();
        let is_summed = header.is_snapshot() && header.flags.tracks_checksums();
        let end = frames.source().offset();
        let coverage = Coverage {
            crc,
            database: is_summed.then_some(Checksum::EMPTY),
            pages: 0,
            end,
            entries: EntryDigest::default(),
            index: None,
        };
        let scratch = Vec::new();
        Ok(Self {
            frames,
            coverage,
            previous: 0,
            read_to: end,
            pending: None,
            scratch,
        })
    }

    /// Sets how much is read at a time, at least 4 KiB; 64 KiB unless set. [`Merge`](crate::Merge)
    /// sets it for its inputs.
    pub fn set_buffer_size(&mut self, bytes: usize) {
        self.frames.set_buffer_size(bytes);
    }

    /// Asks for [`Verified::index`]; to be called before the first page is read.
    pub fn keep_index(&mut self) {
        self.coverage.index = Some(Vec::new());
    }

    /// The header of the file.
    pub fn header(&self) -> &Header {
        self.frames.header()
    }

    /// The file, as errors name it.
    pub(crate) fn file(&self) -> &Arc<str> {
        self.frames.file()
    }

    /// Decodes the next page into `page`, whose length must be the page size; `None` at the end.
    pub fn next_page(&mut self, page: &mut [u8]) -> Result<Option<Pgno>> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let found = match self.peek() {
            Ok(Some(pgno)) => self
                .decompress_peeked(page, &mut scratch)
                .map(|_| Some(pgno)),
            other => other,
        };
        self.scratch = scratch;
        found
    }

    /// Reads the next frame without decompressing it; `false` at the end of the pages.
    pub fn next_frame(&mut self, frame: &mut Frame) -> Result<bool> {
        if !self.frames.next_frame(frame)? {
            return Ok(false);
        }
        self.check_order(frame.pgno(), frame.offset())?;
        self.read_to = self.frames.source().offset();
        Ok(true)
    }

    /// Adds a frame and its decompressed page to the checksum, in the order of the file.
    pub fn accept(&mut self, frame: &Frame, page: &[u8]) -> Result<()> {
        check_buffer(page, self.header().page_size)?;
        self.check_turn(frame.offset())?;
        self.coverage.add(&frame.head, frame.size(), page);
        Ok(())
    }

    /// Verifies the rest of the file: index, trailer, checksums, and that nothing follows.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if not all pages have been read
    /// and accepted.
    pub fn finish(mut self) -> Result<Verified> {
        if !self.frames.is_at_end() || self.coverage.end != self.read_to {
            let error = self
                .frames
                .source()
                .error(Cause::PagesLeft, self.coverage.end);
            return Err(error);
        }
        self.coverage.crc.update(&[0; PAGE_HEADER_SIZE]);
        let index_start = self.frames.source().offset();
        let found_entries = self.scan_index()?;
        let source = self.frames.source();
        let index_len = source.offset() - index_start;
        let length: [u8; 8] = source.take_array("read page index: read page index size")?;
        let trailer_offset = source.offset();
        let bytes: [u8; TRAILER_SIZE] = source.take_array("read trailer")?;
        let size = source.offset();
        if source.fill(1)? != 0 {
            return Err(source.error(Cause::TrailingData, size));
        }
        let trailer = Trailer::decode(&bytes);
        self.coverage.crc.update(&length);
        self.coverage.crc.update(&trailer.post_apply.to_be_bytes());
        let found = self.coverage.crc.flagged();
        if found != trailer.file_checksum {
            let cause = Cause::FileChecksum {
                expected: trailer.file_checksum,
                found,
            };
            return Err(source.error(cause, trailer_offset + 8));
        }
        if let Some(sum) = self
            .coverage
            .database
            .filter(|sum| sum.get() != trailer.post_apply)
        {
            let cause = Cause::PostApplyMismatch {
                expected: trailer.post_apply,
                found: sum.get(),
            };
            return Err(source.error(cause, trailer_offset));
        }
        let entries_match = found_entries == self.coverage.entries;
        Ok(Verified {
            header: *self.frames.header(),
            trailer,
            pages: self.coverage.pages,
            size,
            index_is_exact: entries_match && u64::from_be_bytes(length) == index_len,
            index: self.coverage.index.map(PageIndex::from_slots),
        })
    }

    /// The number of the next page, whose payload stays unread; `None` at the end of the pages.
    pub(crate) fn peek(&mut self) -> Result<Option<Pgno>> {
        if self.pending.is_none()
            && let Some(head) = self.frames.next_head()?
        {
            self.check_order(head.pgno, head.offset)?;
            self.check_turn(head.offset)?;
            // Not the end of the frame yet, so that a payload that fails leaves `finish` failing.
            self.read_to = self.frames.source().offset();
            self.pending = Some(head);
        }
        Ok(self.pending.map(|head| head.pgno))
    }

    /// Decodes the page that [`Decoder::peek`] announced; gives its payload and encoding.
    pub(crate) fn decompress_peeked<'a>(
        &'a mut self,
        page: &mut [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<(Encoding, &'a [u8])> {
        let head = self.pending.take().ok_or(Cause::PageNumber)?;
        let payload = self.frames.decompress_next(&head, page, scratch)?;
        let size = (head.stored().len() + payload.len()) as u64;
        self.read_to = head.offset + size;
        self.coverage.add(&head, size, page);
        Ok((head.encoding(), payload))
    }

    /// Reads the index up to its end mark into the checksum. What it says is compared, not used.
    fn scan_index(&mut self) -> Result<EntryDigest> {
        let (mut scan, mut digest) = (Scan::default(), EntryDigest::default());
        let source = self.frames.source();
        loop {
            if source.fill(1)? == 0 {
                let cause = Cause::EndOfFile {
                    part: "read page index",
                    expected: 1,
                    found: 0,
                };
                return Err(source.error(cause, source.offset()));
            }
            let (mut taken, mut is_end) = (0, false);
            for &byte in source.buffered() {
                taken += 1;
                match scan.push(byte) {
                    Ok(Step::More) => {}
                    Ok(Step::Entry(entry)) => digest.add(entry),
                    Ok(Step::End) => {
                        is_end = true;
                        break;
                    }
                    Err(cause) => {
                        return Err(source.error(cause, source.offset() + taken as u64 - 1));
                    }
                }
            }
            self.coverage
                .crc
                .update(source.buffered().get(..taken).unwrap_or_default());
            source.consume(taken);
            if is_end {
                return Ok(digest);
            }
        }
    }

    fn check_order(&mut self, pgno: Pgno, offset: u64) -> Result<()> {
        let (previous, next) = (self.previous, pgno.get());
        let cause = if pgno == self.header().page_size.lock_page() {
            Cause::LockPage(next)
        } else if next > previous {
            self.previous = next;
            return Ok(());
        } else if self.header().is_snapshot() {
            Cause::SnapshotOrder(previous, next)
        } else {
            Cause::PageOrder(previous, next)
        };
        Err(self.frames.source().error(cause, offset))
    }

    /// The checksum runs over the file without a hole.
    fn check_turn(&mut self, offset: u64) -> Result<()> {
        let expected = self.coverage.end;
        if offset == expected {
            return Ok(());
        }
        Err(self.frames.source().error(
            Cause::OutOfTurn {
                expected,
                found: offset,
            },
            offset,
        ))
    }
}

impl<R> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

/// Order-dependent digest of index entries: enough to see by accident whether two lists differ,
/// without holding either of them.
#[derive(Default, PartialEq, Eq)]
struct EntryDigest(u64);

impl EntryDigest {
    fn add(&mut self, entry: RawEntry) {
        for value in [entry.pgno, entry.offset, entry.size] {
            self.0 = (self.0 ^ value)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }
    }
}

/// Reads a whole file and verifies it. `name` stands for the file in errors.
///
/// Cost: every page is decompressed; memory stays bounded.
pub fn verify(reader: impl Read, name: impl Into<String>) -> Result<Verified> {
    let mut decoder = Decoder::new(reader, name)?;
    let mut page = vec![0; decoder.header().page_size.bytes()];
    while decoder.next_page(&mut page)?.is_some() {}
    decoder.finish()
}
