//! WALs as the real library writes them.

use sqlite_wal::{Cursor, PageMap, WalHeader, parse_wal_index, read_batch};

#[test]
fn batch_agrees_with_wal_index_after_each_commit() {
    for page_size in [512_u32, 1024, 4096, 32_768, 65_536] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(&format!(
            "PRAGMA page_size = {page_size}; PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB);"
        ))
        .unwrap();
        let (mut map, mut buffer) = (PageMap::new(), Vec::new());
        let wal = std::fs::File::open(folder.path().join("db-wal")).unwrap();
        let mut cursor = Cursor::start(WalHeader::read(&wal).unwrap().unwrap());
        for round in 0..20 {
            db.execute("INSERT INTO t (b) VALUES (randomblob(?1))", [round * 700])
                .unwrap();
            let batch = read_batch(&wal, cursor, u32::MAX, 0, &mut map, &mut buffer).unwrap();
            cursor = batch.to;
            let shm = std::fs::read(folder.path().join("db-shm")).unwrap();
            let index = parse_wal_index(shm.first_chunk().unwrap()).unwrap().header;
            assert_eq!(index.max_frame, cursor.frame);
            assert_eq!(index.frame_checksum, cursor.checksum);
            assert_eq!(index.salts, cursor.header.salts);
            assert_eq!(index.page_count, batch.commit);
            assert_eq!(index.page_size, page_size);
            assert_eq!(batch.uncommitted, 0);
        }
    }
}
