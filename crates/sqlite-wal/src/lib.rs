//! The bytes of a SQLite database header, write-ahead log (WAL) and wal-index (`-shm`).
//!
//! This crate reads; it never writes, never locks and never links the SQLite library. It is built for
//! a process that follows a live WAL:
//!
//! 1. [`WalHeader::read`] tells the generation of the WAL ([`Salts`]), its page size and byte order.
//! 2. A [`Cursor`] remembers where reading stopped, with the running checksum, so that the next
//!    reading touches only new bytes.
//! 3. [`read_batch`] verifies every new frame up to a limit and gives the newest frame of each page,
//!    whole transactions only ([`PageMap`], [`Batch`]).
//! 4. [`parse_wal_index`] reads what the SQLite connections have agreed on: last committed frame,
//!    backfill, read marks.
//!
//! ```no_run
//! use sqlite_wal::{Cursor, PageMap, WalHeader, page_offset, read_batch};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wal = std::fs::File::open("app.db-wal")?;
//! let Some(header) = WalHeader::read(&wal)? else {
//!     return Ok(()); // no generation has begun
//! };
//! let (mut map, mut buffer) = (PageMap::new(), Vec::new());
//! let batch = read_batch(&wal, Cursor::start(header), u32::MAX, 0, &mut map, &mut buffer)?;
//! for (pgno, frame) in map.iter() {
//!     let page = batch.buffered_page(&buffer, frame); // else read it at the offset
//!     let offset = page_offset(header.page_size, frame);
//!     println!("page {pgno} of {} at {offset}, in memory: {}", batch.commit, page.is_some());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: input of any kind never panics; nothing behind the last valid commit frame is ever
//! reported as committed; torn or stale data is *end of data*, not an error; an error always names
//! the offset, what was expected and what was found. File names are the caller's to add.
//!
//! The formats are those of the SQLite documentation: "Database File Format", sections "The Database
//! Header" and "The Write-Ahead Log", and "WAL-mode File Format", section "The WAL-Index File Format".
//!
//! Frames are numbered from 1, as SQLite's `mxFrame` does; 0 means "no frame". Page numbers start at 1.
//! Page sizes are plain `u32` in bytes, checked where they are parsed.

mod batch;
mod checksum;
mod cursor;
mod database;
mod error;
mod fields;
mod frame;
mod header;
mod layout;
mod page_map;
mod probe;
mod reader;
mod salts;
mod source;
mod wal_index;
mod window;

pub use batch::{Batch, read_batch};
pub use checksum::{ByteOrder, RunningChecksum};
pub use cursor::{Cursor, continues};
pub use database::{DATABASE_HEADER_SIZE, DatabaseHeader, TextEncoding};
pub use error::{Error, ErrorKind, Result};
pub use frame::FrameHeader;
pub use header::WalHeader;
pub use layout::{
    FRAME_HEADER_SIZE, MAX_PAGE_SIZE, MIN_PAGE_SIZE, WAL_HEADER_SIZE, frame_at_offset,
    frame_offset, frames_end, page_offset,
};
pub use page_map::PageMap;
pub use probe::{SaltRun, probe_frame, scan_salts};
pub use reader::{ChainEnd, Frame, WalReader};
pub use salts::Salts;
pub use source::ReadAt;
pub use wal_index::{
    CheckpointInfo, READ_MARK_UNUSED, WAL_INDEX_HEADER_SIZE, WalIndex, WalIndexHeader,
    parse_wal_index,
};
