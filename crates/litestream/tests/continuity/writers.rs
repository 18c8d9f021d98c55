//! Two processes on one database, and two writers on one replica: one goes on, the other stops and
//! says why; no restore ever sees a mix of both.

use litestream::{Error, ErrorKind, Target};
use litestream_storage::{self as storage, Fault, ObjectStore as _, Operation};
use ltx::Txid;
use testkit::hash::{self, Access};

use crate::bed::{Bed, Engine, commit, remote};

/// A second machine with the same replica: its database is what the replica holds.
async fn second_machine(bed: &Bed) -> (Bed, rusqlite::Connection) {
    let mut other = Bed::empty();
    other.remote = bed.remote.clone();
    let restored = bed.restore(Target::Latest).await.unwrap();
    std::fs::rename(restored, &other.path).unwrap();
    let application = other.open();
    application.execute_batch("CREATE TABLE second(x)").unwrap();
    (other, application)
}

fn assert_foreign(result: Result<litestream::Synced, Error>, txid: Txid) {
    let error = result.expect_err("somebody else writes there");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    match error {
        Error::ForeignWriter { txid: found, .. } => assert_eq!(found, txid),
        other => panic!("{other}"),
    }
}

/// The store has no conditional writes: a put without a look at the key before it is refused.
fn without_conditions(bed: &Bed) {
    let mut looked_at = None;
    bed.remote.when(move |call| {
        let key = call.keys.first().cloned();
        let looked = looked_at.take();
        match call.operation {
            Operation::Head => looked_at = key,
            Operation::Put if looked != key => {
                let is_raw = key.is_some_and(|key| key.as_str().starts_with("ltx/0/"));
                return is_raw.then_some(Fault::Before(storage::ErrorKind::Unsupported));
            }
            _ => {}
        }
        None
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_one_stops_and_says_why() {
    for conditions in [true, false] {
        let (bed, application) = Bed::new();
        if !conditions {
            without_conditions(&bed);
        }
        let first = bed.start();
        for _ in 0..3 {
            commit(&application, 1);
            bed.sync(&first).await;
        }
        let last = first.database.txid().unwrap();
        let (other, writer) = second_machine(&bed).await;
        let second = other.start();
        assert_eq!(other.sync(&second).await, last.next());
        commit(&application, 1);
        assert_foreign(first.sync().await, last.next());
        let replica = &first.database.replicas()[0];
        assert_eq!(replica.foreign_writer(), Some(last.next()));
        assert_eq!(
            replica.acknowledged(),
            Some(last),
            "nothing more is acknowledged"
        );
        // It stays so, without a request, whatever is asked for.
        let kept = bed.remote.inner().snapshot();
        let calls = |operation| bed.remote.calls(operation);
        let before = Operation::ALL.map(calls);
        for _ in 0..3 {
            commit(&application, 1);
            assert_foreign(first.sync().await, last.next());
            first.database.snapshot().await.unwrap_err();
        }
        assert_eq!(Operation::ALL.map(calls), before);
        assert_eq!(bed.remote.inner().snapshot(), kept);
        // The other one does not notice.
        commit(&writer, 2);
        other.sync(&second).await;
        other.prove().await;
        // Started anew it takes the replica over, and the other one stops.
        first.crash();
        let first = bed.start();
        bed.forget_states();
        let next = bed.sync(&first).await;
        bed.prove_latest(&bed.remote).await;
        commit(&writer, 1);
        let seen = second.sync().await.unwrap_err();
        assert!(
            matches!(seen, Error::ForeignWriter { txid, .. } if txid <= next),
            "{seen}"
        );
        commit(&application, 1);
        bed.sync(&first).await;
        bed.prove().await;
    }
}

/// Both write, stop and start in any order: every acknowledged state is restored, and the newest is
/// always that of the one that wrote last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_never_mix_their_histories() {
    for seed in 0..6_u64 {
        let (bed, application) = Bed::new();
        let engine = bed.start();
        bed.sync(&engine).await;
        let (other, writer) = second_machine(&bed).await;
        let mut sides = [
            (bed, application, Some(engine)),
            (other, writer, None::<Engine>),
        ];
        let mut states: Vec<(Txid, String)> = Vec::new();
        let mut stopped = 0;
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..40 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (bed, application, engine) = &mut sides[usize::from(random & 1 == 0)];
            if random & 6 == 0
                && let Some(engine) = engine.take()
            {
                engine.crash();
            }
            let running = engine.get_or_insert_with(|| bed.start());
            commit(application, 1 + (random >> 8) as u32 % 3);
            match running.sync().await {
                Ok(synced) => {
                    let content = hash::content_hash(&bed.path, Access::Live).unwrap();
                    let output = bed.restore(Target::Latest).await.unwrap();
                    assert_eq!(hash::content_hash(&output, Access::Rest).unwrap(), content);
                    states.push((synced.txid.unwrap(), content));
                }
                Err(Error::ForeignWriter { .. }) => stopped += 1,
                Err(error) => panic!("{seed}: {error}"),
            }
        }
        assert!(stopped > 0, "{seed}: they never met");
        let mut before = None;
        for (txid, content) in &states {
            assert!(Some(txid) > before, "{seed}: {txid} was given out twice");
            before = Some(txid);
            let output = sides[0].0.restore(Target::Txid(*txid)).await.unwrap();
            let restored = hash::content_hash(&output, Access::Rest).unwrap();
            assert_eq!(restored, *content, "{seed}: {txid}");
        }
    }
}

/// The other one's file at our next transaction has been compacted and deleted meanwhile: after a pause
/// in which that can happen the replica is looked at before anything is put.
#[tokio::test(start_paused = true)]
async fn a_writer_that_was_here_meanwhile_is_seen_after_a_pause() {
    let (bed, application) = Bed::new();
    let first = bed.start();
    commit(&application, 1);
    let last = bed.sync(&first).await;
    let (other, writer) = second_machine(&bed).await;
    let second = other.start();
    other.sync(&second).await;
    commit(&writer, 1);
    let newest = other.sync(&second).await;
    let mut objects = bed.remote.inner().snapshot();
    let next = last.next();
    objects.retain(|key, _| !key.as_str().contains(&format!("/0/{next}-")));
    bed.remote.inner().restore(objects);
    tokio::time::advance(std::time::Duration::from_mins(5)).await;
    let kept = bed.remote.inner().snapshot();
    commit(&application, 1);
    assert_foreign(first.sync().await, newest);
    // The end does not wait for what cannot come.
    let asked = tokio::time::Instant::now();
    let end = first
        .store
        .close(&tokio_util::sync::CancellationToken::new())
        .await;
    end.expect_err("what is not replicated is told");
    assert_eq!(asked.elapsed(), std::time::Duration::ZERO);
    assert_eq!(bed.remote.inner().snapshot(), kept);
}

/// The other one has caught up with a snapshot and ended there: level 0 does not show it.
#[tokio::test(start_paused = true)]
async fn a_snapshot_of_another_writer_is_seen_after_a_pause() {
    for is_base in [true, false] {
        let (bed, application) = Bed::new();
        let first = bed.start();
        if !is_base {
            commit(&application, 1);
            bed.sync(&first).await;
        }
        commit(&application, 1);
        bed.sync(&first).await;
        let (other, writer) = second_machine(&bed).await;
        let second = other.start();
        commit(&writer, 1);
        let newest = other.sync(&second).await;
        second.database.snapshot().await.unwrap();
        let mut objects = bed.remote.inner().snapshot();
        objects.retain(|key, _| !key.as_str().contains(&format!("/0/{newest}-")));
        bed.remote.inner().restore(objects);
        tokio::time::advance(std::time::Duration::from_mins(5)).await;
        let kept = bed.remote.inner().snapshot();
        commit(&application, 1);
        assert_foreign(first.sync().await, newest);
        assert_eq!(bed.remote.inner().snapshot(), kept);
    }
}

/// A pause alone costs two listings, of level 0 and of the snapshots, and none comes while there is
/// nothing to upload.
#[tokio::test(start_paused = true)]
async fn a_pause_costs_two_listings() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, 1);
    bed.sync(&engine).await;
    let listings = bed.remote.calls(Operation::List);
    for round in 1..4 {
        tokio::time::advance(std::time::Duration::from_mins(10)).await;
        bed.sync(&engine).await;
        for _ in 0..3 {
            commit(&application, 1);
            bed.sync(&engine).await;
        }
        assert_eq!(bed.remote.calls(Operation::List), listings + 2 * round);
    }
    bed.prove().await;
}

/// An answer that was lost, and the same file again, is no foreign writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_not_taken_for_another_writer() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    bed.sync(&engine).await;
    for _ in 0..3 {
        commit(&application, 1);
        let lost = Fault::After(storage::ErrorKind::Timeout);
        bed.remote.fail_next(Operation::Put, lost);
        engine.sync().await.unwrap_err();
        // The listing that follows does not show it yet: the put itself finds it.
        bed.remote
            .fail_next(Operation::List, Fault::CutOff { after: 1 });
        bed.sync(&engine).await;
    }
    bed.prove().await;
}

/// A put that nobody waits for any more, and that takes effect behind our back, is no foreign writer: neither
/// for the put that follows nor for a look after a pause.
#[tokio::test(start_paused = true)]
async fn a_put_that_was_given_up_is_not_taken_for_another_writer() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, 1);
    bed.sync(&engine).await;
    for _ in 0..2 {
        commit(&application, 1);
        bed.remote.fail_next(Operation::Put, Fault::Hang);
        let given_up = tokio::time::timeout(std::time::Duration::from_secs(1), engine.sync());
        given_up.await.expect_err("a put that hangs");
        let txid = engine.database.txid().unwrap();
        let content = std::fs::read(bed.local(txid)).unwrap();
        let key = storage::Key::new(format!("ltx/0/{txid}-{txid}.ltx"));
        let late = bed.remote.inner();
        let options = storage::PutOptions::default();
        late.put(key, content.into(), options).await.unwrap();
        tokio::time::advance(std::time::Duration::from_mins(5)).await;
        assert_eq!(bed.sync(&engine).await, txid);
    }
    commit(&application, 1);
    bed.sync(&engine).await;
    bed.prove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_one_database_stops() {
    let (bed, application) = Bed::new();
    let first = bed.start();
    bed.sync(&first).await;
    let second = bed.start();
    for _ in 0..2 {
        commit(&application, 1);
        let error = second.sync().await.unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        bed.sync(&first).await;
    }
    first.stop().await;
    commit(&application, 1);
    bed.sync(&second).await;
    bed.prove().await;
}

/// One replica that fails keeps no other from what it lacks, and every failure is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_tries_all_replicas_and_tells_all_failures() {
    let (bed, application) = Bed::new();
    let remotes = [remote(), bed.remote.clone(), remote()];
    let engine = bed.start_with(&[&remotes[0], &remotes[1], &remotes[2]]);
    bed.sync(&engine).await;
    remotes[0].fail_all(Fault::Before(storage::ErrorKind::Timeout));
    commit(&application, 1);
    let error = engine.sync().await.unwrap_err();
    assert!(matches!(error, Error::Storage(_)), "{error}");
    let txid = engine.database.txid();
    for number in [1, 2] {
        assert_eq!(engine.database.replicas()[number].acknowledged(), txid);
    }
    remotes[2].fail_all(Fault::Before(storage::ErrorKind::Denied));
    commit(&application, 1);
    let error = engine.sync().await.unwrap_err();
    match &error {
        Error::Several(errors) => assert_eq!(errors.len(), 2, "{error}"),
        other => panic!("{other}"),
    }
    assert_eq!(
        engine.database.replicas()[1].acknowledged(),
        engine.database.txid()
    );
}
