//! WALs and wal-indexes as the real library writes them.
//!
//! The `-shm` file is opened once for each test and kept open: closing a descriptor of it would drop
//! the locks that the library in this process holds on it.

use std::collections::BTreeMap;
use std::fs::File;

use rusqlite::Connection;
use sqlite_wal::{
    Batch, ChainEnd, Cursor, PageMap, READ_MARK_UNUSED, ReadAt, WalHeader, WalIndex, continues,
    page_offset, parse_wal_index, probe_frame, read_batch, scan_salts,
};

struct Live {
    folder: tempfile::TempDir,
    db: Connection,
    wal: File,
    shm: File,
    map: PageMap,
    buffer: Vec<u8>,
}

impl Live {
    fn new(page_size: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Connection::open(folder.path().join("db")).unwrap();
        db.execute_batch(&format!(
            "PRAGMA page_size = {page_size}; PRAGMA journal_mode = wal; PRAGMA synchronous = off;
             PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB);"
        ))
        .unwrap();
        let open = |name| File::open(folder.path().join(name)).unwrap();
        let (wal, shm) = (open("db-wal"), open("db-shm"));
        Self {
            folder,
            db,
            wal,
            shm,
            map: PageMap::new(),
            buffer: Vec::new(),
        }
    }

    fn run(&self, sql: &str) {
        self.db.execute_batch(sql).unwrap();
    }

    fn insert(&self, bytes: u32) {
        let sql = "INSERT INTO t (b) VALUES (zeroblob(?1))";
        self.db.execute(sql, [bytes]).unwrap();
    }

    fn header(&self) -> WalHeader {
        WalHeader::read(&self.wal).unwrap().unwrap()
    }

    fn read(&mut self, cursor: Cursor) -> Batch {
        let (map, buffer) = (&mut self.map, &mut self.buffer);
        read_batch(&self.wal, cursor, u32::MAX, 0, map, buffer).unwrap()
    }

    fn index(&self) -> WalIndex {
        let mut bytes = [0; 136];
        assert_eq!(self.shm.read_at(&mut bytes, 0).unwrap(), 136);
        parse_wal_index(&bytes).unwrap()
    }

    /// Busy, frames in the WAL, frames backfilled.
    fn checkpoint(&self, mode: &str) -> (u32, u32, u32) {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        self.db
            .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
    }

    fn page(&self, page_size: u32, frame: u32) -> Vec<u8> {
        let mut page = vec![0; page_size as usize];
        let length = self.wal.read_at(&mut page, page_offset(page_size, frame));
        assert_eq!(length.unwrap(), page.len());
        page
    }

    fn database(&self) -> Vec<u8> {
        // A second descriptor of the database is closed here; nothing else uses its locks.
        std::fs::read(self.folder.path().join("db")).unwrap()
    }
}

/// A reader that holds a read transaction at the newest frame.
fn reader(live: &Live) -> Connection {
    let db = Connection::open(live.folder.path().join("db")).unwrap();
    db.execute_batch("BEGIN").unwrap();
    let _: u32 = db
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap();
    db
}

#[test]
fn batch_agrees_with_wal_index_after_each_commit() {
    for page_size in [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536] {
        let mut live = Live::new(page_size);
        let mut cursor = Cursor::start(live.header());
        let mut before = live.index().header.change_counter - 1;
        for round in 0..20 {
            let batch = live.read(cursor);
            let index = live.index().header;
            assert_eq!(index.max_frame, batch.to.frame);
            assert_eq!(index.frame_checksum, batch.to.checksum);
            assert_eq!(index.salts, batch.to.header.salts);
            assert_eq!(index.page_count, batch.commit);
            assert_eq!(index.page_size, page_size);
            assert!(!index.big_endian_checksum && index.version == 3_007_000);
            assert_eq!((batch.uncommitted, batch.end), (0, Some(ChainEnd::Short)));
            assert!(round == 0 || batch.transactions == 1);
            assert_ne!(index.change_counter, before);
            before = index.change_counter;
            cursor = batch.to;
            live.insert(round * 700);
        }
    }
}

#[test]
fn map_gives_the_database_that_a_checkpoint_gives() {
    for page_size in [512_u32, 4096, 65_536] {
        let mut live = Live::new(page_size);
        for round in 0..30 {
            live.insert(round * 997 % 5000);
            live.run("UPDATE t SET b = zeroblob(a * 37 % 3000) WHERE a % 3 = 0");
        }
        live.run("DELETE FROM t WHERE a > 10; VACUUM; CREATE INDEX i ON t (b);");
        let batch = live.read(Cursor::start(live.header()));
        let pages: BTreeMap<_, _> = live.map.iter().collect();
        assert!(live.map.iter().all(|(pgno, _)| pgno <= batch.commit));

        let mut image = live.database();
        image.resize((batch.commit * page_size) as usize, 0);
        for (pgno, frame) in pages {
            let page = live.page(page_size, frame);
            if let Some(held) = batch.buffered_page(&live.buffer, frame) {
                assert_eq!(held, page);
            }
            let start = ((pgno - 1) * page_size) as usize;
            image[start..start + page.len()].copy_from_slice(&page);
        }
        assert_eq!(live.checkpoint("TRUNCATE"), (0, 0, 0));
        assert!(live.database() == image, "page size {page_size}");
    }
}

#[test]
fn shrinking_drops_the_pages_above() {
    let mut live = Live::new(4096);
    live.insert(400_000);
    let grown = live.read(Cursor::start(live.header()));
    assert!(grown.commit > 90);
    live.run("DELETE FROM t; VACUUM;");
    let batch = live.read(Cursor::start(live.header()));
    assert!(batch.commit < 10);
    assert!(live.map.iter().all(|(pgno, _)| pgno <= batch.commit));
    assert_eq!(batch.commit, live.index().header.page_count);
}

#[test]
fn rolled_back_frames_are_never_taken() {
    let mut live = Live::new(1024);
    live.insert(10);
    let before = live.read(Cursor::start(live.header()));
    // So small a cache spills the open transaction into the WAL.
    live.run("PRAGMA cache_size = 2; BEGIN;");
    for _ in 0..50 {
        live.insert(3000);
    }
    let open = live.read(before.to);
    assert!(open.is_empty() && open.uncommitted > 50);
    assert_eq!((open.to, live.map.len()), (before.to, 0));
    live.run("ROLLBACK");
    let leftover = live.read(before.to);
    assert_eq!(
        (leftover.to, leftover.uncommitted),
        (before.to, open.uncommitted)
    );

    live.insert(10);
    let after = live.read(before.to);
    assert_eq!(after.transactions, 1);
    assert_eq!(
        (after.uncommitted, after.end),
        (0, Some(ChainEnd::Checksum))
    );
    assert_eq!(after.to.frame, live.index().header.max_frame);
    assert!(!continues(&live.wal, after.to).unwrap());
}

#[test]
fn restart_makes_the_successor_and_leaves_stale_frames() {
    let mut live = Live::new(4096);
    for _ in 0..10 {
        live.insert(5000);
    }
    let old = live.read(Cursor::start(live.header()));
    assert_eq!(live.checkpoint("RESTART"), (0, old.to.frame, old.to.frame));
    assert_eq!(
        live.header(),
        old.to.header,
        "the head is not rewritten yet"
    );
    live.insert(10);

    let new = live.header();
    assert!(new.salts.is_successor_of(old.to.header.salts));
    assert_ne!(new.salts.salt2, old.to.header.salts.salt2);
    let batch = live.read(Cursor::start(new));
    assert_eq!(batch.transactions, 1);
    assert_eq!((batch.end, batch.uncommitted), (Some(ChainEnd::Salts), 0));
    assert_eq!(batch.to.frame, live.index().header.max_frame);
    let runs = scan_salts(&live.wal, 4096, None, &mut live.buffer).unwrap();
    let counts: Vec<_> = runs.iter().map(|run| (run.salts, run.frames)).collect();
    let rest = old.to.frame - batch.to.frame;
    assert_eq!(
        counts,
        [(new.salts, batch.to.frame), (old.to.header.salts, rest)]
    );
    let last = probe_frame(&live.wal, 4096, old.to.frame).unwrap().unwrap();
    assert_eq!(last.checksum, old.to.checksum);
    // Everything of the old generation was read, and that can be seen.
    assert!(!continues(&live.wal, old.to).unwrap());
}

#[test]
fn frames_missed_before_a_restart_are_seen() {
    let mut live = Live::new(4096);
    for _ in 0..10 {
        live.insert(5000);
    }
    let seen = live.read(Cursor::start(live.header())).to;
    for _ in 0..10 {
        live.insert(5000);
    }
    live.checkpoint("RESTART");
    live.insert(10);
    assert!(live.header().salts.is_successor_of(seen.header.salts));
    assert!(continues(&live.wal, seen).unwrap());
    // The same is found with what an LTX header tells: salts and offset.
    let resumed = Cursor::resume(&live.wal, live.header(), seen.header.salts, seen.frame);
    let resumed = resumed.unwrap().unwrap();
    assert_eq!(
        (resumed.frame, resumed.checksum),
        (seen.frame, seen.checksum)
    );
    assert!(continues(&live.wal, resumed).unwrap());
}

#[test]
fn truncated_wal_is_empty_and_begins_anew() {
    let mut live = Live::new(4096);
    live.insert(5000);
    let old = live.read(Cursor::start(live.header()));
    live.checkpoint("TRUNCATE");
    assert_eq!(WalHeader::read(&live.wal).unwrap(), None);
    let lost = live.read(old.to);
    assert_eq!((lost.to, lost.end), (old.to, Some(ChainEnd::Short)));
    assert_eq!(live.index().header.max_frame, 0);
    live.insert(10);
    assert!(live.header().salts.is_successor_of(old.to.header.salts));
}

#[test]
fn read_marks_and_backfill_move_with_a_reader() {
    let live = Live::new(4096);
    live.insert(5000);
    let index = live.index();
    assert_eq!(index.checkpoint.backfilled, 0);
    assert_eq!(index.checkpoint.read_marks[0], 0);
    assert_eq!(index.checkpoint.read_marks[4], READ_MARK_UNUSED);
    assert!(!index.is_backfilled());

    let pinned = index.header.max_frame;
    let reader = reader(&live);
    assert!(live.index().checkpoint.read_marks[1..].contains(&pinned));
    live.insert(9000);
    let newest = live.index().header.max_frame;
    assert!(newest > pinned);
    // The reader stops the backfill at its mark.
    assert_eq!(live.checkpoint("PASSIVE"), (0, newest, pinned));
    let index = live.index();
    assert_eq!(
        (index.header.max_frame, index.checkpoint.backfilled),
        (newest, pinned)
    );
    assert!(index.checkpoint.backfill_attempted >= pinned);
    assert!(index.checkpoint.read_marks[1..].contains(&pinned));
    assert!(!index.is_backfilled());

    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(live.checkpoint("PASSIVE"), (0, newest, newest));
    let index = live.index();
    assert!(index.is_backfilled());
    assert_eq!(index.checkpoint.backfilled, newest);

    live.insert(10);
    let index = live.index();
    assert_eq!(index.checkpoint.backfilled, 0);
    assert!(index.header.max_frame < newest);
    assert_eq!(index.header.salts, live.header().salts);
}
