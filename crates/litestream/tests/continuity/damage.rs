//! The files themselves are not what they were: the WAL after a loss of power, the database after a
//! replacement, the record after anything.

use std::os::unix::fs::FileExt;

use litestream::Error;
use ltx::Txid;
use rusqlite::Connection;
use testkit::hash::{self, Access};

use crate::bed::{Bed, Engine, checkpoint, commit, create, kill};

/// Frames of 4096-byte pages in the WAL file.
fn frames(bed: &Bed) -> u64 {
    (std::fs::metadata(bed.wal()).unwrap().len() - 32) / 4120
}

/// Loses the frames from `first` (counted from 0) on, as a loss of power does.
fn lose_frames(bed: &Bed, first: u64) {
    let wal = std::fs::OpenOptions::new()
        .write(true)
        .open(bed.wal())
        .unwrap();
    let length = wal.metadata().unwrap().len();
    let start = 32 + first * 4120;
    wal.write_all_at(&vec![0; (length - start) as usize], start)
        .unwrap();
    std::fs::remove_file(hash::with_suffix(&bed.path, "-shm")).unwrap();
}

/// What is left of the record after a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Newest,
    Older,
    Nothing,
}

/// D11: the reference took a snapshot, but read the WAL only from the old position: the frames
/// before it, which were new, got lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wal_tail_lost_with_the_power_and_written_anew_is_noticed() {
    for left in [Left::Newest, Left::Older, Left::Nothing] {
        for again in [0, 1, 2, 3, 10] {
            let (bed, application) = Bed::new();
            let engine = bed.start();
            commit(&application, 5);
            bed.sync(&engine).await;
            let older = std::fs::read(bed.record()).unwrap();
            let kept = frames(&bed);
            commit(&application, 2);
            bed.sync(&engine).await;
            engine.crash();
            kill(application);
            lose_frames(&bed, kept);
            match left {
                Left::Newest => {}
                Left::Older => std::fs::write(bed.record(), &older).unwrap(),
                Left::Nothing => std::fs::remove_file(bed.record()).unwrap(),
            }
            let application = bed.open();
            application.execute_batch("CREATE TABLE other(x)").unwrap();
            commit(&application, again);
            let engine = bed.start();
            bed.sync(&engine).await;
            commit(&application, 1);
            bed.sync(&engine).await;
            bed.prove_latest(&bed.remote).await;
            let states = bed.states.borrow().len();
            bed.states.borrow_mut().drain(..states - 2);
            bed.prove().await;
        }
    }
}

/// The worst case of D11: two transactions were lost, the second is done again byte for byte as
/// before, the first is not. The last frame, and all of the newest level-0 file, are as they were;
/// only the running checksum of the WAL tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_transaction_redone_to_the_byte_does_not_hide_an_earlier_one() {
    for left in [Left::Newest, Left::Older, Left::Nothing] {
        let (bed, application) = Bed::new();
        let engine = bed.start();
        commit(&application, 5);
        bed.sync(&engine).await;
        let older = std::fs::read(bed.record()).unwrap();
        let kept = frames(&bed);
        let change = |application: &Connection, table: &str, value: i64| {
            let id = if table == "u" { 150 } else { 1 };
            let sql = format!("UPDATE {table} SET value = {value} WHERE id = {id}");
            application.execute_batch(&sql).unwrap();
        };
        change(&application, "u", 1);
        bed.sync(&engine).await;
        change(&application, "t", 7);
        bed.sync(&engine).await;
        let after = frames(&bed);
        engine.crash();
        kill(application);
        lose_frames(&bed, kept);
        match left {
            Left::Newest => {}
            Left::Older => std::fs::write(bed.record(), &older).unwrap(),
            Left::Nothing => std::fs::remove_file(bed.record()).unwrap(),
        }
        let application = bed.open();
        change(&application, "u", 2);
        change(&application, "t", 7);
        assert_eq!(frames(&bed), after);
        commit(&application, 1);
        let engine = bed.start();
        bed.sync(&engine).await;
        bed.prove_latest(&bed.remote).await;
    }
}

/// The record is an aid: without it, or with a wrong one, the proof is harder, never wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_missing_stale_or_damaged_costs_nothing_but_proof() {
    for how in ["missing", "stale", "torn", "flipped", "of another database"] {
        for tail in ["kept", "lost from sight"] {
            let (bed, application) = Bed::new();
            let engine = bed.start();
            commit(&application, 20);
            bed.sync(&engine).await;
            let stale = std::fs::read(bed.record()).unwrap();
            commit(&application, 2);
            let last = bed.sync(&engine).await;
            bed.clock.by(10_000);
            engine.stop().await;
            let mut record = std::fs::read(bed.record()).unwrap();
            match how {
                "missing" => std::fs::remove_file(bed.record()).unwrap(),
                "stale" => std::fs::write(bed.record(), &stale).unwrap(),
                "torn" => std::fs::write(bed.record(), &record[..record.len() / 2]).unwrap(),
                "flipped" => {
                    record[30] ^= 1;
                    std::fs::write(bed.record(), &record).unwrap();
                }
                _ => {
                    let (other, application) = Bed::new();
                    let engine = other.start();
                    commit(&application, 3);
                    other.sync(&engine).await;
                    engine.stop().await;
                    std::fs::copy(other.record(), bed.record()).unwrap();
                }
            }
            commit(&application, 3);
            if tail == "lost from sight" {
                checkpoint(&application, "PASSIVE");
                commit(&application, 1);
            }
            let engine = bed.start();
            let first = bed.sync(&engine).await;
            assert_eq!(first, last.next());
            if tail == "kept" {
                assert!(!bed.raw(first).is_base(), "{how}: the pages prove it");
            }
            commit(&application, 1);
            bed.sync(&engine).await;
            bed.prove().await;
        }
    }
}

/// The newest local file is damaged or gone: nothing is continued on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newest_local_file_that_is_damaged_or_gone_heals() {
    for how in ["gone", "cut", "flipped", "all gone"] {
        for reachable in [true, false] {
            let (bed, application) = Bed::new();
            let engine = bed.start();
            commit(&application, 5);
            bed.sync(&engine).await;
            commit(&application, 2);
            let last = bed.sync(&engine).await;
            engine.stop().await;
            let file = bed.local(last);
            let mut bytes = std::fs::read(&file).unwrap();
            match how {
                "gone" => std::fs::remove_file(&file).unwrap(),
                "cut" => std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap(),
                "flipped" => {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    std::fs::write(&file, &bytes).unwrap();
                }
                _ => std::fs::remove_dir_all(bed.meta().join("ltx")).unwrap(),
            }
            commit(&application, 1);
            let engine = bed.start();
            if !reachable {
                let kind = litestream_storage::ErrorKind::Timeout;
                bed.remote.fail_all(litestream_storage::Fault::Before(kind));
                engine.database.sync().await.unwrap();
                commit(&application, 3);
                engine.database.sync().await.unwrap();
                bed.remote.heal();
            }
            let next = bed.sync(&engine).await;
            assert!(next > last, "{how}, {reachable}");
            commit(&application, 1);
            bed.sync(&engine).await;
            bed.prove().await;
        }
    }
}

/// Syncs until it succeeds; the first attempts may report what they found.
async fn heal(bed: &Bed, engine: &Engine) -> Txid {
    let mut errors = Vec::new();
    for _ in 0..3 {
        match engine.sync().await {
            Ok(synced) => {
                bed.note(synced.txid.unwrap());
                return synced.txid.unwrap();
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    panic!("does not heal: {errors:?}");
}

/// A database of the same size with other content.
fn other_database(bed: &Bed, rows: u32) -> std::path::PathBuf {
    let other = bed.directory.path().join("other.db");
    let connection = crate::bed::application(&other);
    create(&connection);
    connection
        .execute_batch("UPDATE u SET value = 'other'")
        .unwrap();
    commit(&connection, rows);
    drop(connection);
    assert!(!hash::with_suffix(&other, "-wal").exists());
    other
}

/// D3: the reference went on with the descriptor of the old file: pages of both got mixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_replaced_while_stopped_is_captured_anew() {
    for wal in ["copied", "removed"] {
        let (bed, application) = Bed::new();
        let engine = bed.start();
        bed.sync(&engine).await;
        commit(&application, 20);
        let last = bed.sync(&engine).await;
        bed.clock.by(10_000);
        engine.stop().await;
        if wal == "copied" {
            drop(application);
        } else {
            kill(application);
            std::fs::remove_file(bed.wal()).unwrap();
            std::fs::remove_file(hash::with_suffix(&bed.path, "-shm")).unwrap();
        }
        std::fs::rename(other_database(&bed, 20), &bed.path).unwrap();
        let application = bed.open();
        commit(&application, 1);
        let engine = bed.start();
        assert_eq!(bed.sync(&engine).await, last.next());
        let pages = bed.raw(last.next()).pages;
        assert!(pages > 5, "{pages}: most pages are others");
        commit(&application, 1);
        bed.sync(&engine).await;
        bed.prove().await;
    }
}

/// D3 while running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_replaced_while_running_is_captured_anew() {
    for rows in [0, 20, 40] {
        let (bed, application) = Bed::new();
        let engine = bed.start();
        commit(&application, 20);
        let last = bed.sync(&engine).await;
        kill(application);
        std::fs::remove_file(bed.wal()).unwrap();
        std::fs::remove_file(hash::with_suffix(&bed.path, "-shm")).unwrap();
        std::fs::rename(other_database(&bed, rows), &bed.path).unwrap();
        let application = bed.open();
        commit(&application, 1);
        let next = heal(&bed, &engine).await;
        assert!(next > last);
        commit(&application, 1);
        bed.sync(&engine).await;
        bed.prove().await;
    }
}

/// The WAL is removed under a running engine: an error, and then everything is captured anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wal_removed_while_running_is_an_error_that_heals() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, 20);
    bed.sync(&engine).await;
    commit(&application, 1);
    kill(application);
    std::fs::remove_file(bed.wal()).unwrap();
    std::fs::remove_file(hash::with_suffix(&bed.path, "-shm")).unwrap();
    let error = engine.sync().await.unwrap_err();
    assert!(
        matches!(error, Error::Replaced { what: "wal", .. }),
        "{error}"
    );
    let application = bed.open();
    create(&application);
    commit(&application, 1);
    heal(&bed, &engine).await;
    commit(&application, 1);
    bed.sync(&engine).await;
    bed.prove().await;
}

/// No file is no error; nothing is created, and the database is taken up once it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_later_is_taken_up() {
    let bed = Bed::empty();
    let engine = bed.start();
    let synced = engine.database.sync().await.unwrap();
    assert_eq!((synced.txid, synced.changed), (None, false));
    assert!(matches!(engine.sync().await, Err(Error::NoPosition)));
    assert!(!bed.path.exists() && !bed.meta().exists());
    let application = bed.open();
    create(&application);
    assert_eq!(bed.sync(&engine).await, Txid::FIRST);
    assert!(bed.raw(Txid::FIRST).is_base());
    commit(&application, 2);
    bed.sync(&engine).await;
    bed.prove().await;
}

/// A zero-length file becomes a database in WAL mode; a rollback journal is converted, for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_file_and_a_rollback_journal_become_wal_databases() {
    for how in ["empty", "delete", "persist"] {
        let bed = Bed::empty();
        if how == "empty" {
            std::fs::write(&bed.path, b"").unwrap();
        } else {
            let application = Connection::open(&bed.path).unwrap();
            application
                .pragma_update(None, "journal_mode", how)
                .unwrap();
            create(&application);
        }
        let before = hash::content_hash(&bed.path, Access::Live).unwrap();
        let engine = bed.start();
        bed.sync(&engine).await;
        assert_eq!(hash::content_hash(&bed.path, Access::Live).unwrap(), before);
        let application = bed.open();
        if how == "empty" {
            create(&application);
        }
        commit(&application, 3);
        bed.sync(&engine).await;
        bed.prove().await;
        engine.stop().await;
        drop(application);
        let connection = Connection::open(&bed.path).unwrap();
        let mode: String = connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
    }
}

/// D6: the reference was stuck for ever when opening had failed half way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_database_is_an_error_until_it_is_one() {
    for how in ["garbage", "folder"] {
        let bed = Bed::empty();
        if how == "garbage" {
            std::fs::write(&bed.path, vec![b'x'; 8192]).unwrap();
        } else {
            std::fs::create_dir(&bed.path).unwrap();
        }
        let engine = bed.start();
        for _ in 0..2 {
            let error = engine.sync().await.unwrap_err().to_string();
            assert!(error.contains("app.db"), "{error}");
        }
        if how == "garbage" {
            assert_eq!(std::fs::read(&bed.path).unwrap(), vec![b'x'; 8192]);
            std::fs::remove_file(&bed.path).unwrap();
        } else {
            std::fs::remove_dir(&bed.path).unwrap();
        }
        let application = bed.open();
        create(&application);
        commit(&application, 1);
        assert_eq!(bed.sync(&engine).await, Txid::FIRST);
        bed.prove().await;
    }
}

/// D12: the reference was stuck, and a chain of two page sizes can be neither merged nor restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_size_changed_while_stopped_cuts_the_chain() {
    for size in [1024, 16384] {
        let (bed, application) = Bed::new();
        let engine = bed.start();
        commit(&application, 20);
        bed.sync(&engine).await;
        commit(&application, 1);
        bed.sync(&engine).await;
        engine.stop().await;
        application
            .execute_batch(&format!(
                "PRAGMA journal_mode = delete; PRAGMA page_size = {size}; VACUUM;
                 PRAGMA journal_mode = wal;"
            ))
            .unwrap();
        let engine = bed.start();
        bed.sync(&engine).await;
        bed.prove().await;
        commit(&application, 3);
        bed.sync(&engine).await;
        bed.prove().await;
        engine.stop().await;
        let engine = bed.start();
        commit(&application, 3);
        bed.sync(&engine).await;
        bed.prove().await;
    }
}

/// The database goes away while it is managed: that is said, the replica stays, and a database that
/// comes in its place is captured behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_removed_while_running_is_said_and_the_replica_stays() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, 3);
    let last = bed.sync(&engine).await;
    kill(application);
    for file in [
        bed.path.clone(),
        bed.wal(),
        hash::with_suffix(&bed.path, "-shm"),
    ] {
        std::fs::remove_file(file).unwrap();
    }
    let kept = bed.remote.inner().snapshot();
    let error = engine.sync().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Replaced {
                what: "database",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(bed.remote.inner().snapshot(), kept);
    assert!(!bed.path.exists(), "nothing is created anew");
    let application = bed.open();
    create(&application);
    assert!(heal(&bed, &engine).await > last);
    bed.prove().await;
}
