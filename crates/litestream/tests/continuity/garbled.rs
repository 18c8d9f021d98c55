//! Level-0 files that are damaged between their capture and their upload.

use std::path::Path;

use litestream_storage::{Fault, Key, ObjectStore as _, Operation, PutOptions};
use ltx::{Level, Txid};

use crate::bed::{Bed, commit, level};

/// What may be wrong with a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Header,
    Middle,
    Trailer,
    Cut,
    Stub,
    Longer,
    OtherTransaction,
}

const ALL: [Damage; 7] = [
    Damage::Header,
    Damage::Middle,
    Damage::Trailer,
    Damage::Cut,
    Damage::Stub,
    Damage::Longer,
    Damage::OtherTransaction,
];

fn garble(path: &Path, damage: Damage) {
    let mut bytes = std::fs::read(path).unwrap();
    let length = bytes.len();
    match damage {
        Damage::Header => bytes[1] ^= 1,
        Damage::Middle => bytes[length / 2] ^= 1,
        Damage::Trailer => bytes[length - 3] ^= 1,
        Damage::Cut => bytes.truncate(length * 2 / 3),
        Damage::Stub => bytes.truncate(10),
        Damage::Longer => bytes.extend_from_slice(b"more"),
        // The file of the transaction before, sound in itself.
        Damage::OtherTransaction => {
            let name = path.file_name().unwrap().to_str().unwrap();
            let txid = ltx::FileName::parse(name).unwrap().range.max;
            let before = txid.prev().unwrap();
            bytes = std::fs::read(path.with_file_name(format!("{before}-{before}.ltx"))).unwrap();
        }
    }
    std::fs::write(path, bytes).unwrap();
}

fn insert(application: &rusqlite::Connection, bytes: u32) {
    let sql = "INSERT INTO t(value) VALUES(randomblob(?1))";
    application.execute(sql, [bytes]).unwrap();
}

/// The reference puts whatever the file holds. Here nothing of it gets into the replica or is acknowledged:
/// the replica catches up with a snapshot, whatever is wrong with the file, whether it is small or large, the
/// newest or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_damaged_before_its_upload_is_not_put_and_heals() {
    for (number, damage) in ALL.into_iter().enumerate() {
        for (size, later) in [(300, number % 2 == 0), (2_000_000, number % 2 == 1)] {
            let (bed, application) = Bed::new();
            let engine = bed.start();
            commit(&application, 2);
            bed.sync(&engine).await;
            commit(&application, 1);
            bed.sync(&engine).await;
            insert(&application, size);
            let txid = engine.database.sync().await.unwrap().txid.unwrap();
            if later {
                commit(&application, 1);
                engine.database.sync().await.unwrap();
            }
            garble(&bed.local(txid), damage);
            let last = bed.sync(&engine).await;
            let metrics = engine.database.metrics();
            assert_eq!(metrics.damaged_files, 1, "{damage:?}");
            let raw = level(&bed.remote, Level::RAW);
            assert!(
                !raw.contains(&(txid.get(), txid.get())),
                "{damage:?} {raw:?}"
            );
            let snapshots = level(&bed.remote, Level::SNAPSHOT);
            assert!(snapshots.contains(&(1, last.get())), "{snapshots:?}");
            commit(&application, 1);
            bed.sync(&engine).await;
            bed.prove().await;
            // Also from what is left on the disk.
            engine.stop().await;
            let engine = bed.start();
            commit(&application, 1);
            bed.sync(&engine).await;
            bed.prove().await;
        }
    }
}

/// The same at a start: the newest file of the replica is one that is damaged here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_copy_of_what_the_replica_has_stops_nothing() {
    for damage in ALL {
        let (bed, application) = Bed::new();
        let engine = bed.start();
        commit(&application, 2);
        bed.sync(&engine).await;
        commit(&application, 1);
        let there = bed.sync(&engine).await;
        commit(&application, 1);
        engine.database.sync().await.unwrap();
        engine.crash();
        garble(&bed.local(there), damage);
        let engine = bed.start();
        bed.sync(&engine).await;
        commit(&application, 1);
        bed.sync(&engine).await;
        bed.prove().await;
    }
}

/// A snapshot that brings a replica up to date does not take the place of another writer's of the same name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_closes_a_gap_replaces_nothing() {
    for conditional in [true, false] {
        let (bed, application) = Bed::new();
        if !conditional {
            let first_put = Fault::Before(litestream_storage::ErrorKind::Unsupported);
            bed.remote.fail_next(Operation::Put, first_put);
        }
        let engine = bed.start();
        commit(&application, 2);
        bed.sync(&engine).await;
        let other = bed.remote.inner().snapshot();
        let other = other.into_values().next().unwrap().content;
        commit(&application, 1);
        let txid = engine.database.sync().await.unwrap().txid.unwrap();
        std::fs::remove_file(bed.local(txid)).unwrap();
        let taken = Key::new(format!("ltx/9/{}-{txid}.ltx", Txid::FIRST));
        let put =
            bed.remote
                .inner()
                .put(taken.clone(), other.clone().into(), PutOptions::default());
        put.await.unwrap();
        let error = engine.sync().await.unwrap_err();
        assert_eq!(
            bed.remote.inner().snapshot()[&taken].content,
            other,
            "{error}"
        );
        // Nothing was acknowledged that cannot be restored, and what was is still there.
        assert!(engine.database.replicated() < Some(txid));
    }
}
