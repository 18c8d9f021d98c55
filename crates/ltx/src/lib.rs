//! The LTX file format, version 3: one file holds the pages that a range of SQLite transactions changed.
//!
//! ```text
//! offset 0      header               100 bytes
//! 100           page frames          ascending page numbers, one LZ4 payload per page
//!               end of pages         6 zero bytes
//!               page index           (page number, offset, size) as uvarints, then a zero byte
//!               index size           8 bytes
//! end - 16      trailer              database checksum after the file, checksum of the file
//! ```
//!
//! All fixed-width fields are big-endian. [`Encoder`] writes, [`Decoder`] reads and verifies in one
//! pass, [`Merge`] combines any number of files into one, newest page wins, [`PageIndex`] and
//! [`decode_frame_at`] read single pages out of a file without reading the rest of it.
//!
//! The crate knows neither SQLite connections nor storage: it works on [`std::io::Read`],
//! [`std::io::Write`] and byte slices, is synchronous and has no `unsafe` code; nor has the part of
//! `lz4_flex` that decompresses.
//!
//! # What is guaranteed
//!
//! A page handed out by a [`Decoder`] or [`MergedPages`] must not be trusted before `finish` (or the
//! end of the merge) reported success: the checksum stands at the end of the file. Bytes that are
//! not a sound LTX file give an [`Error`] that names the file and the offset, never a panic, and
//! never make a reader allocate more than a few times the page size.
//!
//! # Compression
//!
//! Each page is one LZ4 block, compressed by `lz4_flex`. The file checksum covers the
//! *uncompressed* pages, the compressed sizes and the index, so a file written here differs in
//! bytes from one that another implementation writes from the same pages (its compressor may find
//! other matches), while every reader gets the same header and pages out of both. Equal input gives equal
//! output for one version of this crate. [`Merge`] copies compressed blocks as they are.
//!
//! # Example
//!
//! ```
//! use ltx::{Decoder, Encoder, Header, PageSize, Pgno, Timestamp, Txid, TxidRange};
//!
//! # fn main() -> Result<(), ltx::Error> {
//! let page_size = PageSize::new(4096).expect("a power of two");
//! let header = Header::new(page_size, 1, TxidRange::single(Txid::FIRST), Timestamp::from_millis(0));
//! let mut encoder = Encoder::new(Vec::new(), header)?;
//! encoder.encode_page(Pgno::FIRST, &[7; 4096])?;
//! let (bytes, written) = encoder.finish()?;
//! assert_eq!(written.pages, 1);
//!
//! let mut decoder = Decoder::new(&bytes[..], "example")?;
//! let mut page = vec![0; 4096];
//! while let Some(pgno) = decoder.next_page(&mut page)? {
//!     assert_eq!((pgno, page[0]), (Pgno::FIRST, 7));
//! }
//! let verified = decoder.finish()?;
//! assert_eq!(verified.trailer, written.trailer);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod block;
mod checksum;
mod decoder;
mod encoder;
mod error;
mod frame;
mod header;
mod index;
mod level;
mod lz4_frame;
mod merge;
mod name;
mod order;
mod page;
mod source;
mod timestamp;
mod trailer;
mod txid;
mod varint;

pub use checksum::{Checksum, ParseChecksumError};
pub use decoder::{Decoder, Verified, verify};
pub use encoder::{Encoder, Written};
pub use error::{Error, ErrorKind, Result};
pub use frame::{Encoding, Frame, FrameReader, decode_frame_at};
pub use header::{HEADER_SIZE, Header, HeaderFlags, MAGIC};
pub use index::{IndexEntry, IndexLocation, PageIndex, index_location};
pub use level::{Level, ParseLevelError};
pub use merge::{Merge, MergedPages, merge};
pub use name::{FileName, ParseFileNameError};
pub use page::{PAGE_HEADER_SIZE, PageSize, Pgno};
pub use timestamp::{ParseTimestampError, Timestamp};
pub use trailer::{TRAILER_SIZE, Trailer};
pub use txid::{ParseTxidError, Txid, TxidRange};
