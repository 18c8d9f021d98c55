//! What the replica holds, and what is known of it locally, do not agree.

use litestream::Target;
use litestream_storage::{ErrorKind, Fault};
use ltx::Txid;

use crate::bed::{Bed, commit, create, kill, remote};

const UNREACHABLE: Fault = Fault::Before(ErrorKind::Timeout);

/// The meta directory is lost: history goes on behind the replica's, incrementally while the WAL
/// still proves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_meta_directory_continues_the_replica() {
    for wal in ["kept", "removed"] {
        let (bed, application) = Bed::new();
        let engine = bed.start();
        commit(&application, 5);
        bed.sync(&engine).await;
        commit(&application, 2);
        let last = bed.sync(&engine).await;
        engine.stop().await;
        std::fs::remove_dir_all(bed.meta()).unwrap();
        let application = if wal == "removed" {
            drop(application);
            bed.open()
        } else {
            application
        };
        commit(&application, 1);
        let engine = bed.start();
        let next = bed.sync(&engine).await;
        assert_eq!(next, last.next());
        // The replica tells what the pages were.
        let raw = bed.raw(next);
        assert!(!raw.is_base(), "{wal}: {raw:?}");
        commit(&application, 1);
        bed.sync(&engine).await;
        bed.prove().await;
    }
}

/// A large base that was only marked in level 0: the mark says where the history goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_meta_directory_goes_on_above_the_mark_of_the_base() {
    let (bed, application) = Bed::new();
    let fill = "CREATE TABLE large AS SELECT randomblob(600000) AS content";
    application.execute_batch(fill).unwrap();
    let engine = bed.start();
    let last = bed.sync(&engine).await;
    engine.stop().await;
    std::fs::remove_dir_all(bed.meta()).unwrap();
    commit(&application, 1);
    let engine = bed.start();
    let next = bed.sync(&engine).await;
    assert_eq!(next, last.next().next());
    bed.prove().await;
}

/// An older copy of the database is put in place: what is new goes above all that the replica has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_older_database_goes_on_above_the_replica() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, 3);
    let old = bed.sync(&engine).await;
    for _ in 0..4 {
        commit(&application, 1);
        bed.sync(&engine).await;
    }
    let last = engine.database.txid().unwrap();
    engine.stop().await;
    drop(application);
    let restored = bed.restore(Target::Txid(old)).await.unwrap();
    std::fs::remove_dir_all(bed.meta()).unwrap();
    std::fs::rename(restored, &bed.path).unwrap();
    let application = bed.open();
    application.execute_batch("CREATE TABLE fork(x)").unwrap();
    let engine = bed.start();
    assert_eq!(bed.sync(&engine).await, last.next());
    commit(&application, 1);
    bed.sync(&engine).await;
    bed.prove().await;
}

/// The replica lost its newest files, or never got them, and they are gone locally too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_behind_a_local_hole_catches_up_with_a_snapshot() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    bed.sync(&engine).await;
    bed.remote.fail_all(UNREACHABLE);
    for _ in 0..4 {
        commit(&application, 1);
        engine.database.sync().await.unwrap();
        engine.sync().await.unwrap_err();
    }
    bed.remote.heal();
    std::fs::remove_file(bed.local(Txid::new(3).unwrap())).unwrap();
    bed.sync(&engine).await;
    bed.prove().await;
    commit(&application, 1);
    bed.sync(&engine).await;
    bed.prove().await;
    engine.stop().await;
    let engine = bed.start();
    commit(&application, 1);
    bed.sync(&engine).await;
    bed.prove().await;
}

/// The replica was emptied, or is a new one, and the first local files are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_replica_gets_everything_again() {
    for gone in [false, true] {
        for stopped in [false, true] {
            let (bed, application) = Bed::new();
            let mut engine = bed.start();
            for _ in 0..4 {
                commit(&application, 1);
                bed.sync(&engine).await;
            }
            if stopped {
                engine.store.disable(&bed.path).await.unwrap();
            } else {
                engine.stop().await;
                engine = bed.start();
                engine.store.disable(&bed.path).await.unwrap();
            }
            bed.remote
                .inner()
                .restore(std::collections::BTreeMap::default());
            if gone {
                std::fs::remove_file(bed.local(Txid::FIRST)).unwrap();
            }
            engine.store.enable(&bed.path).unwrap();
            let last = engine.sync().await.unwrap();
            bed.forget_states();
            bed.note(last.txid.unwrap());
            bed.prove().await;
            commit(&application, 1);
            bed.sync(&engine).await;
            bed.prove().await;
        }
    }
}

/// The same transactions with other content: two databases took turns on one replica. The one that
/// starts notices, and puts a new base above both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diverged_replica_gets_a_new_base() {
    for ours in [2, 3, 6] {
        let (other, writer) = Bed::new();
        let engine = other.start();
        for _ in 0..3 {
            commit(&writer, 2);
            other.sync(&engine).await;
        }
        engine.stop().await;

        let (bed, application) = Bed::new();
        application.execute_batch("CREATE TABLE ours(x)").unwrap();
        let engine = bed.start();
        for _ in 0..ours {
            commit(&application, 1);
            bed.sync(&engine).await;
        }
        engine.stop().await;
        bed.remote.inner().restore(other.remote.inner().snapshot());
        bed.forget_states();

        let engine = bed.start();
        let next = bed.sync(&engine).await;
        assert!(next.get() > 3 && next.get() >= ours, "{ours}: {next}");
        bed.prove().await;
        commit(&application, 1);
        bed.sync(&engine).await;
        bed.prove().await;
        engine.stop().await;
        let engine = bed.start();
        commit(&application, 1);
        bed.sync(&engine).await;
        bed.prove().await;
        // What the other one wrote is still restored as it was.
        let states = other.states.borrow().clone();
        for (txid, content) in states {
            let output = bed.restore(Target::Txid(txid)).await.unwrap();
            let restored = testkit::hash::content_hash(&output, testkit::hash::Access::Rest);
            assert_eq!(restored.unwrap(), content, "{ours}: {txid}");
        }
    }
}

/// Two replicas, one of them out of reach for a while, another one new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_at_different_positions_each_get_everything() {
    let (bed, application) = Bed::new();
    let second = remote();
    let engine = bed.start_with(&[&bed.remote, &second]);
    commit(&application, 1);
    bed.sync(&engine).await;
    second.fail_all(UNREACHABLE);
    for _ in 0..3 {
        commit(&application, 1);
        engine.database.sync().await.unwrap();
        engine.sync().await.unwrap_err();
        assert_eq!(
            engine.database.replicas()[0].acknowledged(),
            engine.database.txid()
        );
        assert_eq!(
            engine.database.replicas()[1].acknowledged(),
            Some(Txid::FIRST)
        );
    }
    second.heal();
    bed.sync(&engine).await;
    bed.prove_from(&bed.remote).await;
    bed.prove_from(&second).await;
    second.fail_all(UNREACHABLE);
    commit(&application, 1);
    engine.sync().await.unwrap_err();
    engine.crash();
    second.heal();
    let third = remote();
    let engine = bed.start_with(&[&third, &second, &bed.remote]);
    commit(&application, 1);
    bed.sync(&engine).await;
    for remote in [&bed.remote, &second, &third] {
        bed.prove_from(remote).await;
    }
}

/// The meta directory is lost, and the replicas are at different positions: the newest one decides
/// where history goes on, the others catch up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_meta_directory_with_replicas_at_different_positions() {
    let (bed, application) = Bed::new();
    let second = remote();
    let engine = bed.start_with(&[&bed.remote, &second]);
    commit(&application, 1);
    bed.sync(&engine).await;
    second.fail_all(UNREACHABLE);
    for _ in 0..3 {
        commit(&application, 1);
        engine.sync().await.unwrap_err();
    }
    let last = engine.database.txid().unwrap();
    engine.crash();
    second.heal();
    std::fs::remove_dir_all(bed.meta()).unwrap();
    let engine = bed.start_with(&[&second, &bed.remote]);
    commit(&application, 1);
    assert_eq!(bed.sync(&engine).await, last.next());
    bed.prove_from(&bed.remote).await;
    bed.prove_from(&second).await;
}

/// D25: a replica out of reach does not keep capture from starting; what it holds is respected
/// when it answers, however many transactions were captured meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_out_of_reach_at_start_is_respected_when_it_is_back() {
    for lost in [false, true] {
        for captured in [1_u32, 3, 9] {
            let (bed, application) = Bed::new();
            let engine = bed.start();
            for _ in 0..3 {
                commit(&application, 1);
                bed.sync(&engine).await;
            }
            let last = engine.database.txid().unwrap();
            engine.stop().await;
            if lost {
                std::fs::remove_dir_all(bed.meta()).unwrap();
            }
            bed.remote.fail_all(UNREACHABLE);
            let engine = bed.start();
            for _ in 0..captured {
                commit(&application, 1);
                engine.database.sync().await.unwrap();
            }
            engine.sync().await.unwrap_err();
            bed.remote.heal();
            let next = bed.sync(&engine).await;
            assert!(next > last);
            bed.prove().await;
            commit(&application, 1);
            bed.sync(&engine).await;
            bed.prove().await;
        }
    }
}

/// A hole in the replica: what is behind it is not restorable, so it must not be acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_a_hole_is_not_taken_for_whole() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    for _ in 0..5 {
        commit(&application, 1);
        bed.sync(&engine).await;
    }
    engine.stop().await;
    let mut objects = bed.remote.inner().snapshot();
    objects.retain(|key, _| !key.as_str().ends_with("-0000000000000003.ltx"));
    bed.remote.inner().restore(objects);
    bed.forget_states();
    let engine = bed.start();
    bed.sync(&engine).await;
    bed.prove().await;
    commit(&application, 1);
    bed.sync(&engine).await;
    bed.prove().await;
}

/// A second database under the same path after the first was removed with its meta directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_database_on_an_old_replica_goes_on_above_it() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    for _ in 0..3 {
        commit(&application, 1);
        bed.sync(&engine).await;
    }
    let last = engine.database.txid().unwrap();
    engine.stop().await;
    kill(application);
    std::fs::remove_dir_all(bed.meta()).unwrap();
    std::fs::remove_file(&bed.path).unwrap();
    std::fs::remove_file(bed.wal()).unwrap();
    std::fs::remove_file(testkit::hash::with_suffix(&bed.path, "-shm")).unwrap();
    let application = bed.open();
    create(&application);
    let engine = bed.start();
    assert_eq!(bed.sync(&engine).await, last.next());
    commit(&application, 1);
    bed.sync(&engine).await;
    bed.prove().await;
}
