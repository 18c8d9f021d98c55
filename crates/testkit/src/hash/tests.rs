use super::*;

fn database(folder: &tempfile::TempDir, name: &str, sql: &str) -> PathBuf {
    let path = folder.path().join(name);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    path
}

const BASE: &str = "
    CREATE TABLE t(a, b);
    INSERT INTO t VALUES(1, 'one'), (2, 'two'), (2, 'two');
    CREATE TABLE k(x TEXT, y INTEGER, PRIMARY KEY(x, y)) WITHOUT ROWID;
    INSERT INTO k VALUES('p', 1), ('q', 2);
    CREATE TABLE oddly(rowid TEXT, _rowid_ TEXT);
    INSERT INTO oddly VALUES('a', 'b');";

#[test]
fn bookkeeping_tables_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let plain = database(&folder, "plain", BASE);
    let kept = format!(
        "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
         CREATE TABLE _litestream_lock (id INTEGER);
         INSERT INTO _litestream_seq VALUES(1, 17); {BASE}"
    );
    let kept = database(&folder, "kept", &kept);
    let hash = content_hash(&plain, Access::Rest).unwrap();
    assert_eq!(hash, content_hash(&kept, Access::Rest).unwrap());
    assert_ne!(
        pages_hash(&plain, Access::Rest).unwrap(),
        pages_hash(&kept, Access::Rest).unwrap()
    );
}

#[test]
fn everything_else_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = std::collections::BTreeMap::new();
    let changes = [
        "",
        "UPDATE t SET a = '1' WHERE a = 1",
        "UPDATE t SET a = 1.5 WHERE a = 1",
        "UPDATE t SET a = x'01' WHERE a = 1",
        "UPDATE t SET a = NULL WHERE a = 1",
        "UPDATE t SET b = '' WHERE a = 1",
        "UPDATE t SET a = 'one', b = 1 WHERE a = 1",
        "DELETE FROM t WHERE rowid = 3",
        "INSERT INTO t VALUES(2, 'two')",
        "UPDATE t SET rowid = 10 - rowid",
        "UPDATE k SET y = 3 WHERE x = 'q'",
        "DELETE FROM k",
        "UPDATE oddly SET _rowid_ = 'c'",
        "CREATE INDEX i ON t(a)",
        "CREATE INDEX i ON t(b)",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE empty(a)",
        "ALTER TABLE t ADD COLUMN c",
        "CREATE TABLE _litestream_other(a)",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 1",
    ];
    for (number, change) in changes.iter().enumerate() {
        let path = database(&folder, &number.to_string(), &format!("{BASE} {change}"));
        let hash = content_hash(&path, Access::Rest).unwrap();
        let other = seen.insert(hash, change);
        assert_eq!(other, None, "not told apart from: {change}");
    }
    let encoded = database(
        &folder,
        "utf16",
        &format!("PRAGMA encoding = 'UTF-16le'; {BASE}"),
    );
    assert!(!seen.contains_key(&content_hash(&encoded, Access::Rest).unwrap()));
}

#[test]
fn a_vacuum_and_the_page_size_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder, "db", &format!("{BASE} DELETE FROM t WHERE a = 1"));
    let hash = content_hash(&path, Access::Live).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("PRAGMA page_size = 512; VACUUM")
        .unwrap();
    assert_eq!(content_hash(&path, Access::Live).unwrap(), hash);
}

#[test]
fn the_wal_is_seen_wherever_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder, "db", &format!("PRAGMA journal_mode = WAL; {BASE}"));
    let writer = Connection::open(&path).unwrap();
    writer
        .execute_batch("INSERT INTO t VALUES(3, 'three')")
        .unwrap();
    let error = content_hash(&path, Access::Rest).unwrap_err();
    assert!(error.to_string().contains("-wal has content"), "{error}");
    let (content, pages) = (
        content_hash(&path, Access::Live).unwrap(),
        pages_hash(&path, Access::Live).unwrap(),
    );
    let checked: (i64, i64) = writer
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(checked, (0, 0));
    assert_eq!(content_hash(&path, Access::Rest).unwrap(), content);
    assert_eq!(pages_hash(&path, Access::Rest).unwrap(), pages);
    writer.close().unwrap();
    assert_eq!(content_hash(&path, Access::Copy).unwrap(), content);
}

#[test]
fn a_copy_takes_the_wal_along() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder, "db", &format!("PRAGMA journal_mode = WAL; {BASE}"));
    let writer = Connection::open(&path).unwrap();
    writer
        .execute_batch("INSERT INTO t VALUES(3, 'three')")
        .unwrap();
    // What another process would find after a kill: the files as they lie there.
    let (copied, copy) = copy_database(&path).unwrap();
    let live = content_hash(&path, Access::Live).unwrap();
    assert_eq!(content_hash(&copy, Access::Copy).unwrap(), live);
    drop(copied);
}

#[test]
fn damage_is_found_by_the_integrity_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder, "db", &format!("PRAGMA page_size = 512; {BASE}"));
    integrity_check(&path, Access::Rest).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[512..1024].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    assert!(integrity_check(&path, Access::Rest).is_err());
    assert!(content_hash(&folder.path().join("absent"), Access::Live).is_err());
}
