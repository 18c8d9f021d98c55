//! Files of captured transactions, without the engine around them.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use sqlite_wal::{Cursor, PageMap, WalHeader, read_batch};

use super::*;
use crate::capture::connection::Connection;
use crate::clock::SystemClock;
use crate::files::{AllSteps, Files};
use crate::pool::Pool;

/// Pages of a level-0 file.
fn pages_of(local: &LocalDir, txid: Txid) -> BTreeMap<u32, Vec<u8>> {
    let file = File::open(local.file(txid)).unwrap();
    let mut decoder = ltx::Decoder::new(file, "a file").unwrap();
    let mut page = vec![0; decoder.header().page_size.bytes()];
    let mut pages = BTreeMap::new();
    while let Some(pgno) = decoder.next_page(&mut page).unwrap() {
        pages.insert(pgno.get(), page.clone());
    }
    decoder.finish().unwrap();
    pages
}

/// SQLite writes new pages to the WAL; the format of the WAL does not say that it must. A file that lacked one
/// could not be merged with those before it.
#[test]
fn new_pages_that_the_wal_lacks_come_from_the_database_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let wal_path = directory.path().join("a.db-wal");
    let application = rusqlite::Connection::open(&path).unwrap();
    application
        .execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE t(id INTEGER PRIMARY KEY, x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12)
             INSERT INTO t SELECT i, randomblob(3000) FROM n;
             PRAGMA wal_checkpoint(TRUNCATE);
             UPDATE t SET x = randomblob(3000) WHERE id IN (2, 9);",
        )
        .unwrap();
    let connection = Connection::open(&path, Duration::ZERO).unwrap();
    connection.begin_read().unwrap();
    let wal = File::open(&wal_path).unwrap();
    let frames = (wal.metadata().unwrap().len() - 32) / 4120;
    let start = Cursor::start(WalHeader::read(&wal).unwrap().unwrap());
    let (mut map, mut buffer) = (PageMap::new(), Vec::new());
    let batch = read_batch(&wal, start, frames as u32, 0, &mut map, &mut buffer).unwrap();
    // What was captured last is said to have had three pages.
    let first = Position {
        txid: Txid::FIRST,
        file_checksum: 0,
        commit: 3,
        timestamp: Timestamp::from_millis(0),
    };
    let files = Files::new(Arc::new(AllSteps));
    let local = LocalDir::new(directory.path().join("meta"), files, Pool::new(1));
    let clock = Arc::new(SystemClock);
    let mut sink = LtxSink::new(local.clone(), Ownership::default(), clock, Some(first));
    let pages = Pages {
        page_size: PageSize::new(4096).unwrap(),
        map: &map,
        wal: Some((&wal, &wal_path)),
        batch: Some((&batch, &buffer)),
        database: &connection,
        database_path: &path,
    };
    let in_wal: Vec<u32> = pages.in_wal().map(Pgno::get).collect();
    sink.commit(&CommitBatch {
        from: batch.from,
        to: batch.to,
        commit: batch.commit,
        pages,
        confirm: &|| Ok(()),
    })
    .unwrap();
    let written = pages_of(&local, Txid::FIRST.next());
    let grown = 4..=batch.commit;
    let lacking: Vec<u32> = grown
        .clone()
        .filter(|pgno| !in_wal.contains(pgno))
        .collect();
    assert!(
        lacking.len() > 5 && in_wal.iter().any(|pgno| grown.contains(pgno)),
        "{in_wal:?}"
    );
    let mut expected: Vec<u32> = in_wal.iter().copied().chain(grown).collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(written.keys().copied().collect::<Vec<_>>(), expected);
    // Nobody has the database open any more when its file is read as one.
    drop((connection, application));
    let database = std::fs::read(&path).unwrap();
    for pgno in lacking {
        let start = (pgno as usize - 1) * 4096;
        assert_eq!(written[&pgno], database[start..start + 4096], "page {pgno}");
    }
}
