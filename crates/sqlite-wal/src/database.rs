//! The 100 bytes at the head of a database file.
//!
//! "Database File Format", section "The Database Header". Big-endian. In WAL mode the newest version of
//! page 1 may be in the WAL: what the file says is then only what the last checkpoint left.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 16 | `SQLite format 3` and a zero byte |
//! | 16 | 2 | page size, 1 for 65536 |
//! | 18 | 1 | write version: 1 rollback journal, 2 WAL |
//! | 19 | 1 | read version: 1 rollback journal, 2 WAL |
//! | 20 | 1 | reserved bytes at the end of each page |
//! | 21 | 3 | payload fractions: 64, 32, 32 |
//! | 24 | 4 | change counter |
//! | 28 | 4 | size of the database in pages |
//! | 32 | 4 | first free-list trunk page |
//! | 36 | 4 | number of free-list pages |
//! | 40 | 4 | schema cookie |
//! | 44 | 4 | schema format |
//! | 48 | 4 | suggested cache size |
//! | 52 | 4 | largest root page when auto-vacuum is on, else 0 |
//! | 56 | 4 | text encoding |
//! | 60 | 4 | user version |
//! | 64 | 4 | non-zero for incremental vacuum |
//! | 68 | 4 | application id |
//! | 92 | 4 | change counter for which the size in pages is valid |
//! | 96 | 4 | version of the SQLite library that wrote last |

use crate::error::{Error, Result};
use crate::fields::{big_u16, big_u32};
use crate::layout::check_page_size;

/// Size of the database header in bytes.
pub const DATABASE_HEADER_SIZE: usize = 100;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Payload fractions: fixed by the format, and a good sign of a file that is not encrypted.
const FRACTIONS: [(usize, &str, u8); 3] = [
    (21, "maximum embedded payload fraction", 64),
    (22, "minimum embedded payload fraction", 32),
    (23, "leaf payload fraction", 32),
];

/// How a database stores text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextEncoding {
    /// UTF-8; also of a database in which nothing was created yet.
    Utf8,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
}

/// Header of a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DatabaseHeader {
    /// Page size in bytes.
    pub page_size: u32,
    /// 1 for a rollback journal, 2 for WAL; higher means read-only for this SQLite.
    pub write_version: u8,
    /// 1 for a rollback journal, 2 for WAL; higher means not readable.
    pub read_version: u8,
    /// Bytes at the end of each page that SQLite leaves alone.
    pub reserved: u8,
    /// Counts transactions in rollback mode; in WAL mode it need not move.
    pub change_counter: u32,
    /// Size in pages; see [`DatabaseHeader::has_valid_page_count`].
    pub page_count: u32,
    /// First trunk page of the free list, 0 when the list is empty.
    pub freelist_trunk: u32,
    /// Number of pages in the free list.
    pub freelist_count: u32,
    /// Changes with each change of the schema.
    pub schema_cookie: u32,
    /// Schema format, 1 to 4; 0 in a database in which nothing was created yet.
    pub schema_format: u32,
    /// Largest root page when auto-vacuum is on, else 0.
    pub largest_root_page: u32,
    /// How text is stored.
    pub text_encoding: TextEncoding,
    /// `PRAGMA user_version`.
    pub user_version: u32,
    /// Whether vacuum is incremental.
    pub incremental_vacuum: bool,
    /// `PRAGMA application_id`.
    pub application_id: u32,
    /// The change counter for which `page_count` was written.
    pub version_valid_for: u32,
    /// Library that wrote last, as in 3053002 for 3.53.2.
    pub sqlite_version: u32,
}

impl DatabaseHeader {
    /// Takes the header out of the first 100 bytes of a database file.
    ///
    /// # Errors
    /// [`Error::DatabaseMagic`], [`Error::PageSize`] or [`Error::DatabaseField`].
    pub fn parse(bytes: &[u8; DATABASE_HEADER_SIZE]) -> Result<Self> {
        match bytes.first_chunk::<16>() {
            Some(found) if found != MAGIC => return Err(Error::DatabaseMagic { found: *found }),
            _ => {}
        }
        for (at, field, expected) in FRACTIONS {
            if bytes[at] != expected {
                return Err(Error::DatabaseField {
                    field,
                    offset: at as u64,
                    expected,
                    found: bytes[at],
                });
            }
        }
        let page_size = match big_u16(bytes, 16) {
            1 => 65_536,
            size => u32::from(size),
        };
        Ok(Self {
            page_size: check_page_size(page_size, 16)?,
            write_version: bytes[18],
            read_version: bytes[19],
            reserved: bytes[20],
            change_counter: big_u32(bytes, 24),
            page_count: big_u32(bytes, 28),
            freelist_trunk: big_u32(bytes, 32),
            freelist_count: big_u32(bytes, 36),
            schema_cookie: big_u32(bytes, 40),
            schema_format: big_u32(bytes, 44),
            largest_root_page: big_u32(bytes, 52),
            // SQLite looks at the lowest two bits only.
            text_encoding: match big_u32(bytes, 56) & 3 {
                2 => TextEncoding::Utf16Le,
                3 => TextEncoding::Utf16Be,
                _ => TextEncoding::Utf8,
            },
            user_version: big_u32(bytes, 60),
            incremental_vacuum: big_u32(bytes, 64) != 0,
            application_id: big_u32(bytes, 68),
            version_valid_for: big_u32(bytes, 92),
            sqlite_version: big_u32(bytes, 96),
        })
    }

    /// Whether the database is in WAL mode.
    pub fn is_wal(&self) -> bool {
        self.write_version == 2 && self.read_version == 2
    }

    /// Whether `page_count` can be trusted. Libraries before 3.7.0 do not write it; then the length of
    /// the file counts.
    pub fn has_valid_page_count(&self) -> bool {
        self.page_count != 0 && self.change_counter == self.version_valid_for
    }
}
