//! The places where SQLite's C interface is called directly.
//!
//! Owns: reading the wal-index that SQLite has mapped, reading the database file through SQLite's
//! own file object, and switching off the lookaside allocator. All of it is reached through the
//! documented file control `SQLITE_FCNTL_FILE_POINTER` and the `sqlite3_io_methods` of that file.
//!
//! Invariant: nothing here opens or closes a descriptor, takes a lock, or writes.
#![expect(
    unsafe_code,
    reason = "SQLite offers the wal-index and its file object in C only"
)]

use std::ffi::{c_int, c_void};
use std::ptr;

use rusqlite::ffi;

/// SQLite maps the wal-index in regions of this size.
const REGION_SIZE: c_int = 32 * 1024;
/// Two header copies of 48 bytes and the checkpoint information of 40 bytes.
const HEADER_SIZE: usize = 136;
const WORDS: usize = HEADER_SIZE / 4;

fn error(code: c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

/// The file object of the main database and its methods.
fn main_file(
    connection: &rusqlite::Connection,
) -> Result<(*mut ffi::sqlite3_file, &ffi::sqlite3_io_methods), rusqlite::Error> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the handle is valid as long as `connection` is borrowed; the file control writes
    // one pointer to the place given, whose type is the one the control documents.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast::<c_void>(),
        )
    };
    if code != ffi::SQLITE_OK {
        return Err(error(code));
    }
    if file.is_null() {
        return Err(error(ffi::SQLITE_CANTOPEN));
    }
    // SAFETY: a file object handed out by SQLite starts with its methods pointer, which is null
    // when the file is not open and otherwise points to a table that lives as long as the VFS.
    let methods = unsafe { (*file).pMethods.as_ref() };
    methods
        .map(|methods| (file, methods))
        .ok_or_else(|| error(ffi::SQLITE_CANTOPEN))
}

/// A copy of the first bytes of the wal-index. The copy may be torn when a writer publishes at the
/// same moment: the parser's checksum tells, and the caller reads again.
pub(super) fn wal_index_bytes(
    connection: &rusqlite::Connection,
) -> Result<[u8; HEADER_SIZE], rusqlite::Error> {
    let (file, methods) = main_file(connection)?;
    let map = methods.xShmMap.ok_or_else(|| error(ffi::SQLITE_MISUSE))?;
    let mut region: *mut c_void = ptr::null_mut();
    // SAFETY: `file` is open; extend = 0 means that nothing is created, and the region stays
    // mapped until the connection closes, which the borrow of `connection` rules out.
    let code = unsafe { map(file, 0, REGION_SIZE, 0, &raw mut region) };
    if code != ffi::SQLITE_OK {
        return Err(error(code));
    }
    let mut bytes = [0; HEADER_SIZE];
    if region.is_null() {
        return Ok(bytes);
    }
    let words = region.cast::<u32>().cast_const();
    for (index, chunk) in bytes.chunks_exact_mut(4).enumerate().take(WORDS) {
        // SAFETY: the region is REGION_SIZE bytes, page aligned, and the index stays below
        // HEADER_SIZE / 4. Other processes write it, hence the volatile reads.
        let word = unsafe { ptr::read_volatile(words.add(index)) };
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    Ok(bytes)
}

/// Size in bytes of the database file.
pub(super) fn database_size(connection: &rusqlite::Connection) -> Result<u64, rusqlite::Error> {
    let (file, methods) = main_file(connection)?;
    let size_of = methods.xFileSize.ok_or_else(|| error(ffi::SQLITE_MISUSE))?;
    let mut size: ffi::sqlite3_int64 = 0;
    // SAFETY: `file` is open and `size` outlives the call.
    let code = unsafe { size_of(file, &raw mut size) };
    if code == ffi::SQLITE_OK {
        Ok(size.cast_unsigned())
    } else {
        Err(error(code))
    }
}

/// Reads from the database file; fewer bytes than asked for mean its end.
pub(super) fn read_database(
    connection: &rusqlite::Connection,
    buffer: &mut [u8],
    offset: u64,
) -> Result<usize, rusqlite::Error> {
    let size = database_size(connection)?;
    let wanted = size.saturating_sub(offset).min(buffer.len() as u64) as usize;
    if wanted == 0 {
        return Ok(0);
    }
    let (file, methods) = main_file(connection)?;
    let read = methods.xRead.ok_or_else(|| error(ffi::SQLITE_MISUSE))?;
    let length = c_int::try_from(wanted).map_err(|_| error(ffi::SQLITE_TOOBIG))?;
    // SAFETY: `file` is open and the buffer holds at least `length` bytes.
    let code = unsafe {
        read(
            file,
            buffer.as_mut_ptr().cast::<c_void>(),
            length,
            offset.cast_signed(),
        )
    };
    if code == ffi::SQLITE_OK {
        Ok(wanted)
    } else {
        Err(error(code))
    }
}

/// Frees the connection's private allocator (about 48 KiB): our statements are few and small.
pub(super) fn disable_lookaside(connection: &rusqlite::Connection) {
    // SAFETY: the documented arguments of SQLITE_DBCONFIG_LOOKASIDE: buffer, slot size, count.
    // A refusal (the allocator is in use) costs memory only.
    unsafe {
        ffi::sqlite3_db_config(
            connection.handle(),
            ffi::SQLITE_DBCONFIG_LOOKASIDE,
            ptr::null_mut::<c_void>(),
            0 as c_int,
            0 as c_int,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file_and_the_wal_index_of_a_live_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(1);")
            .unwrap();
        let index = sqlite_wal::parse_wal_index(&wal_index_bytes(&connection).unwrap())
            .expect("nobody writes now");
        assert_eq!(index.header.max_frame, 3);
        assert_eq!(index.header.page_count, 2);
        let mut magic = [0; 16];
        assert_eq!(read_database(&connection, &mut magic, 0).unwrap(), 16);
        assert_eq!(&magic, b"SQLite format 3\0");
        let size = database_size(&connection).unwrap();
        assert_eq!(read_database(&connection, &mut magic, size - 4).unwrap(), 4);
        assert_eq!(read_database(&connection, &mut magic, size).unwrap(), 0);
        disable_lookaside(&connection);
        connection.execute_batch("INSERT INTO t VALUES(2)").unwrap();
    }

    #[test]
    fn a_database_in_memory_has_no_wal_index() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        assert!(wal_index_bytes(&connection).is_err());
    }
}
