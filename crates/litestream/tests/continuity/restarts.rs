//! The WAL was started anew, cut or removed while the engine was away.

use ltx::Txid;

use crate::bed::{Bed, Raw, checkpoint, commit, kill};

/// What the engine goes through before it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Crash,
}

const ENDS: [End; 2] = [End::Stop, End::Crash];

/// Stops an engine that has synced; the application goes on; starts again, and everything must be
/// there. Answers what the first file after the start is.
async fn away(
    end: End,
    before: u32,
    meanwhile: impl FnOnce(&Bed, rusqlite::Connection) -> rusqlite::Connection,
) -> Raw {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, before);
    bed.sync(&engine).await;
    commit(&application, 2);
    let last = bed.sync(&engine).await;
    // Long enough for the time of the database file to prove something.
    bed.clock.by(10_000);
    match end {
        End::Stop => engine.stop().await,
        End::Crash => engine.crash(),
    }
    let application = meanwhile(&bed, application);
    let engine = bed.start();
    let first = bed.sync(&engine).await;
    assert!(first >= last);
    for _ in 0..3 {
        commit(&application, 1);
        bed.sync(&engine).await;
    }
    bed.prove().await;
    engine.stop().await;
    bed.prove().await;
    let next = last.next();
    bed.raw(next)
}

/// D1: the reference took the old last frame, which was still there behind the new ones, as proof
/// that nothing had been committed after it, and never read the tail: a whole table was missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_was_checkpointed_and_overwritten_is_not_lost() {
    for end in ENDS {
        for tail in [1, 2, 7] {
            let first = away(end, 20, |_, application| {
                application
                    .execute_batch("CREATE TABLE tail(x); INSERT INTO tail VALUES(1)")
                    .unwrap();
                commit(&application, tail);
                let (busy, log, copied) = checkpoint(&application, "PASSIVE");
                assert_eq!((busy, log), (0, copied));
                commit(&application, 1);
                application
            })
            .await;
            assert!(
                first.is_difference(),
                "{end:?}, {tail}: continuity cannot be proved, so the pages are compared: {first:?}"
            );
        }
    }
}

/// The WAL is started anew once, twice, many times; the last generation is shorter, or longer, than
/// the position was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wal_started_anew_any_number_of_times_loses_nothing() {
    for end in ENDS {
        for restarts in [1, 2, 5] {
            for last in [1, 60] {
                for tail in [0, 3] {
                    away(end, 20, |_, application| {
                        commit(&application, tail);
                        for restart in 0..restarts {
                            let (busy, log, copied) = checkpoint(&application, "PASSIVE");
                            assert_eq!((busy, log), (0, copied));
                            commit(&application, if restart + 1 == restarts { last } else { 2 });
                        }
                        application
                    })
                    .await;
                }
            }
        }
    }
}

/// Without a tail the old generation certainly ended at the position: no base image is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wal_started_anew_right_behind_the_position_is_continued() {
    let first = away(End::Stop, 20, |_, application| {
        // Frames behind the position that were never committed do not follow it.
        let (busy, log, copied) = checkpoint(&application, "PASSIVE");
        assert_eq!((busy, log), (0, copied));
        commit(&application, 1);
        application
    })
    .await;
    // Nothing is left behind the last frame of a first generation: the end cannot be seen.
    assert!(first.is_difference(), "{first:?}");
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, 60);
    bed.sync(&engine).await;
    checkpoint(&application, "PASSIVE");
    bed.sync(&engine).await;
    commit(&application, 20);
    let last = bed.sync(&engine).await;
    bed.clock.by(10_000);
    engine.stop().await;
    let (busy, log, copied) = checkpoint(&application, "PASSIVE");
    assert_eq!((busy, log), (0, copied));
    commit(&application, 1);
    let engine = bed.start();
    assert_eq!(bed.sync(&engine).await, last.next());
    assert!(!bed.raw(last.next()).is_base());
    bed.prove().await;
}

/// D10: the reference kept in memory that it had read to the end of the WAL, over a stop; a WAL cut
/// meanwhile looked like its own checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wal_cut_while_stopped_loses_nothing() {
    for end in ENDS {
        for (tail, after) in [(0, 0), (0, 3), (3, 0), (3, 1), (3, 60)] {
            away(end, 20, |_, application| {
                commit(&application, tail);
                assert_eq!(checkpoint(&application, "TRUNCATE"), (0, 0, 0));
                commit(&application, after);
                // Something must be new, or there is no file to look at.
                commit(&application, 1);
                application
            })
            .await;
        }
    }
}

/// D10 in one process: stopped and started again over the same objects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_stopped_and_started_keeps_no_belief() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, 20);
    bed.sync(&engine).await;
    for after in [0, 1, 40] {
        assert!(engine.store.disable(&bed.path).await.unwrap());
        commit(&application, 3);
        assert_eq!(checkpoint(&application, "TRUNCATE"), (0, 0, 0));
        commit(&application, after);
        assert!(engine.store.enable(&bed.path).unwrap());
        bed.sync(&engine).await;
        commit(&application, 1);
        bed.sync(&engine).await;
    }
    bed.prove().await;
}

/// The application closes last: it copies everything and removes the WAL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wal_removed_by_the_last_close_loses_nothing() {
    for end in ENDS {
        for (tail, after) in [(0, 1), (3, 1), (3, 60)] {
            away(end, 20, |bed, application| {
                commit(&application, tail);
                drop(application);
                assert!(!bed.wal().exists());
                let application = bed.open();
                commit(&application, after);
                application
            })
            .await;
        }
    }
}

/// A WAL with frames that are not in the database file is lost with its transactions. The database
/// file itself is untouched, but what the replica has of those transactions must not be mixed with
/// what comes after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wal_removed_with_captured_frames_in_it_is_noticed() {
    for end in ENDS {
        for after in [0, 1, 9, 30] {
            let (bed, application) = Bed::new();
            commit(&application, 20);
            assert_eq!(checkpoint(&application, "TRUNCATE"), (0, 0, 0));
            let engine = bed.start();
            bed.sync(&engine).await;
            commit(&application, 10);
            bed.sync(&engine).await;
            bed.clock.by(10_000);
            match end {
                End::Stop => engine.stop().await,
                End::Crash => engine.crash(),
            }
            kill(application);
            std::fs::remove_file(bed.wal()).unwrap();
            std::fs::remove_file(testkit::hash::with_suffix(&bed.path, "-shm")).unwrap();
            let application = bed.open();
            commit(&application, after);
            let engine = bed.start();
            engine.sync().await.unwrap();
            bed.prove_latest(&bed.remote).await;
            commit(&application, 1);
            bed.sync(&engine).await;
            bed.prove().await;
        }
    }
}

/// Killed with the WAL kept: capture goes on behind the last level-0 file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_wal_is_continued() {
    for end in ENDS {
        let first = away(end, 20, |_, application| {
            commit(&application, 3);
            application
        })
        .await;
        assert!(!first.is_base(), "{end:?}");
        let first = away(end, 20, |bed, application| {
            commit(&application, 3);
            kill(application);
            std::fs::remove_file(testkit::hash::with_suffix(&bed.path, "-shm")).unwrap();
            bed.open()
        })
        .await;
        assert!(!first.is_base(), "{end:?}, without -shm");
    }
}

/// A checkpoint alone changes the database file, but not what is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_while_away_needs_no_base() {
    for mode in ["PASSIVE", "FULL", "RESTART"] {
        for end in ENDS {
            let (bed, application) = Bed::new();
            let engine = bed.start();
            bed.sync(&engine).await;
            commit(&application, 20);
            let last = bed.sync(&engine).await;
            match end {
                End::Stop => engine.stop().await,
                End::Crash => engine.crash(),
            }
            checkpoint(&application, mode);
            let engine = bed.start();
            let first = bed.sync(&engine).await;
            if mode == "PASSIVE" || mode == "FULL" {
                assert_eq!(first, last, "{mode}, {end:?}: nothing was committed");
            }
            commit(&application, 1);
            bed.sync(&engine).await;
            bed.prove().await;
        }
    }
}

/// An idle database, its WAL copied, cut or removed, is started again without a new base image: once
/// the engine has settled, its record tells that nothing happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_database_restarted_needs_no_base() {
    for how in ["kept", "truncated", "removed"] {
        let (bed, application) = Bed::new();
        commit(&application, 20);
        match how {
            "truncated" => assert_eq!(checkpoint(&application, "TRUNCATE"), (0, 0, 0)),
            "removed" => {}
            _ => assert_eq!(checkpoint(&application, "PASSIVE").0, 0),
        }
        if how == "removed" {
            drop(application);
        } else {
            kill(application);
        }
        assert_eq!(bed.wal().exists(), how != "removed");
        let mut last: Option<Txid> = None;
        for _ in 0..4 {
            let engine = bed.start();
            let txid = bed.sync(&engine).await;
            assert!(
                last.is_none_or(|last| last == txid),
                "{how}: a new file for nothing"
            );
            last = Some(txid);
            bed.clock.by(10_000);
            engine.stop().await;
        }
        // A commit from outside, between two runs, follows on that.
        let application = bed.open();
        let engine = bed.start();
        commit(&application, 1);
        let next = bed.sync(&engine).await;
        assert_eq!(Some(next), last.map(Txid::next));
        assert!(!bed.raw(next).is_base(), "{how}");
        bed.prove().await;
    }
}
