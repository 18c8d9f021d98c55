//! The header of a database file, as the real library writes it.

use sqlite_wal::{DatabaseHeader, Error, ErrorKind, TextEncoding};

fn header_of(setup: &str) -> [u8; 100] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(setup).unwrap();
    db.close().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    *bytes.first_chunk().unwrap()
}

#[test]
fn fields_of_a_real_database() {
    for page_size in [512_u32, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536] {
        let bytes = header_of(&format!(
            "PRAGMA page_size = {page_size}; PRAGMA auto_vacuum = 2; PRAGMA encoding = 'UTF-16le';
             CREATE TABLE t (a); PRAGMA user_version = 7; PRAGMA application_id = 77;"
        ));
        let header = DatabaseHeader::parse(&bytes).unwrap();
        assert_eq!(header.page_size, page_size);
        assert_eq!(header.text_encoding, TextEncoding::Utf16Le);
        assert_eq!((header.user_version, header.application_id), (7, 77));
        assert!(header.incremental_vacuum && header.largest_root_page > 0);
        assert_eq!((header.page_count, header.reserved), (3, 0));
        assert_eq!((header.schema_cookie, header.schema_format), (1, 4));
        assert_eq!((header.freelist_trunk, header.freelist_count), (0, 0));
        assert_eq!(header.sqlite_version, rusqlite::version_number() as u32);
        assert_eq!(header.version_valid_for, header.change_counter);
        assert!(header.has_valid_page_count() && !header.is_wal());
    }
}

#[test]
fn wal_mode_and_encodings() {
    for (name, encoding) in [
        ("UTF-8", TextEncoding::Utf8),
        ("UTF-16le", TextEncoding::Utf16Le),
        ("UTF-16be", TextEncoding::Utf16Be),
    ] {
        let bytes = header_of(&format!(
            "PRAGMA encoding = '{name}'; PRAGMA journal_mode = wal; CREATE TABLE t (a);"
        ));
        let header = DatabaseHeader::parse(&bytes).unwrap();
        assert_eq!(header.text_encoding, encoding);
        assert!(header.is_wal());
    }
}

#[test]
fn free_pages_are_counted() {
    let bytes =
        header_of("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(100000)); DROP TABLE t;");
    let header = DatabaseHeader::parse(&bytes).unwrap();
    assert!(header.freelist_count > 20 && header.freelist_trunk > 0);
}

#[test]
fn other_bytes_are_refused_with_the_reason() {
    let good = header_of("CREATE TABLE t (a);");
    let mut bytes = good;
    bytes[0] = 0;
    let error = DatabaseHeader::parse(&bytes).unwrap_err();
    assert!(
        error.to_string().contains("\\x00QLite format 3\\x00"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(DatabaseHeader::parse(&[0; 100]).is_err());

    for size in [0_u16, 2, 256, 4095, 513] {
        let mut bytes = good;
        bytes[16..18].copy_from_slice(&size.to_be_bytes());
        let error = DatabaseHeader::parse(&bytes).unwrap_err();
        assert!(
            matches!(error, Error::PageSize { offset: 16, found } if found == size.into()),
            "{error}"
        );
    }
    for at in 21..24_u64 {
        let mut bytes = good;
        bytes[at as usize] = 9;
        let error = DatabaseHeader::parse(&bytes).unwrap_err();
        assert!(
            matches!(error, Error::DatabaseField { offset, found: 9, .. } if offset == at),
            "{error}"
        );
    }
}

#[test]
fn page_count_of_an_old_library_is_not_trusted() {
    let mut bytes = header_of("CREATE TABLE t (a);");
    bytes[27] ^= 1;
    assert!(
        !DatabaseHeader::parse(&bytes)
            .unwrap()
            .has_valid_page_count()
    );
    bytes[27] ^= 1;
    bytes[28..32].fill(0);
    assert!(
        !DatabaseHeader::parse(&bytes)
            .unwrap()
            .has_valid_page_count()
    );
}
