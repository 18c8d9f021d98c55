//! What becomes of the history in the replica while the follower is away, or looks.

use std::sync::Arc;

use litestream::{AllSteps, Error, FollowCause, FollowError, FollowStart, FollowState, FollowStep};
use litestream_storage::{Body, ErrorKind, Fault, Key, ObjectStore, Operation, PutOptions};

use super::bed::Bed;
use super::scene::{Scene, name, status};

/// D5: the reference refuses to resume behind the newest snapshot.
#[tokio::test]
async fn resumes_from_whatever_level_leads_on() {
    // A ladder that begins with the base, as others write it, and one that begins behind it.
    for (level, first) in [(1, 1), (1, 2), (2, 2), (3, 2), (8, 1), (8, 2)] {
        let scene = Scene::new().await;
        let at = scene
            .start()
            .await
            .map(drop)
            .map(|()| scene.saved())
            .unwrap();
        let newest = scene.commit(6).await;
        scene.compact(level, first, newest.get() - 2).await;
        scene.drop_raw(newest.get() - 2).await;
        let mut follow = scene.follower(scene.options(Arc::new(AllSteps)));
        assert_eq!(follow.start().await.unwrap(), FollowStart::Resumed(at));
        scene.catches_up(&mut follow).await;
        // And again with level 0 all gone.
        let newest = scene.commit(2).await;
        scene.compact(level, newest.get() - 1, newest.get()).await;
        scene.drop_raw(newest.get()).await;
        let mut follow = scene.start().await.unwrap();
        scene.catches_up(&mut follow).await;
    }
}

/// The replica has nothing but a large base, in the snapshot level: level 0 begins behind it.
#[tokio::test]
async fn begins_with_the_base_alone() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    let copy = bed.directory.path().join("copy.db");
    let scene = Scene {
        bed,
        application,
        engine,
        copy,
    };
    let base = scene.sync().await;
    assert_eq!(scene.bed.remote.inner().snapshot().len(), 1);
    let raw = scene.content(&name(0, 1, 1));
    scene.put(&name(9, 1, 1), raw).await;
    scene.drop_raw(1).await;
    let mut follow = scene.start().await.unwrap();
    assert_eq!(scene.saved(), base);
    scene.commit(3).await;
    scene.catches_up(&mut follow).await;
}

/// D19: the reference stalls without a word when only a snapshot leads on.
#[tokio::test]
async fn a_gap_that_only_a_snapshot_covers_is_bridged() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    scene.commit(4).await;
    let snapshot = scene.engine.database.snapshot().await.unwrap().unwrap();
    scene.drop_raw(snapshot.get()).await;
    scene.commit(2).await;
    scene.catches_up(&mut follow).await;
}

#[tokio::test]
async fn a_gap_that_nothing_covers_is_told_and_heals() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    scene.catches_up(&mut follow).await;
    let at = scene.saved();
    let newest = scene.commit(4).await;
    let missing = name(0, at.get() + 2, at.get() + 2);
    let content = scene.content(&missing);
    scene
        .bed
        .remote
        .inner()
        .delete(vec![Key::new(missing.as_str())])
        .await
        .unwrap();
    // What is before the hole is applied; the rest is not, and that is an error.
    let step = follow.step().await.unwrap();
    assert_eq!(
        step,
        FollowStep::Applied {
            from: at,
            to: at.next()
        }
    );
    assert_eq!(status(&follow).newest, Some(newest));
    assert_eq!(status(&follow).state, FollowState::Applying);
    for failures in 1..4 {
        let error = follow.step().await.unwrap_err();
        assert!(matches!(error, Error::NonContiguous { .. }), "{error}");
        let status = status(&follow);
        assert_eq!(status.state, FollowState::Behind(FollowCause::Hole));
        assert_eq!(status.failures, failures);
        assert!(status.error.is_some());
    }
    scene.put(&missing, content).await;
    scene.catches_up(&mut follow).await;
    assert_eq!(status(&follow).failures, 0);
}

/// D22: the reference writes the pages of a file before it knows whether it is sound.
#[tokio::test]
async fn a_damaged_file_touches_nothing_and_is_gone_round() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    scene.catches_up(&mut follow).await;
    let at = scene.saved();
    let newest = scene.commit(3).await;
    let damaged = name(0, at.get() + 2, at.get() + 2);
    let sound = scene.content(&damaged);
    for offset in [50, sound.len() / 2, sound.len() - 1] {
        let mut bytes = sound.to_vec();
        bytes[offset] ^= 0x20;
        scene.put(&damaged, bytes.into()).await;
        let before = std::fs::read(&scene.copy).unwrap();
        // What is before the damage may be applied, and is a committed state.
        let result = follow.step().await;
        let state = scene.is_committed();
        if state == at {
            result.unwrap_err();
            assert_eq!(std::fs::read(&scene.copy).unwrap(), before, "{offset}");
        }
        let error = follow.step().await;
        assert!(state < newest, "{offset}: {error:?}");
    }
    assert!(matches!(status(&follow).state, FollowState::Behind(_)));
    scene.engine.database.snapshot().await.unwrap().unwrap();
    // The trouble may have been the transfer: the next look tries it once more.
    let _step = follow.step().await;
    scene.catches_up(&mut follow).await;
    scene.put(&damaged, sound).await;
    scene.commit(1).await;
    scene.catches_up(&mut follow).await;
}

#[tokio::test]
async fn a_file_that_vanishes_is_planned_around() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    scene.catches_up(&mut follow).await;
    let newest = scene.commit(4).await;
    scene.compact(1, 2, newest.get()).await;
    // Retention comes between the listing and the gets.
    scene.bed.remote.when(|call| {
        let is_raw = call
            .keys
            .iter()
            .any(|key| key.as_str().starts_with("ltx/0/"));
        (call.operation == Operation::Get && is_raw).then_some(Fault::Before(ErrorKind::NotFound))
    });
    scene.bed.remote.when(|_| None);
    let step = follow.step().await;
    scene.bed.remote.heal();
    // All of level 0 is still listed, so it may be chosen again until it is not; never torn.
    assert_eq!(scene.is_committed(), status(&follow).position.unwrap());
    drop(step);
    scene.drop_raw(newest.get()).await;
    scene.catches_up(&mut follow).await;
}

#[tokio::test]
async fn a_replica_that_is_away_is_waited_for() {
    let scene = Scene::new().await;
    scene.start().await.unwrap();
    let at = scene.saved();
    scene.commit(1).await;
    scene.bed.remote.fail_all(Fault::Before(ErrorKind::Timeout));
    // Resuming does not need the replica.
    let mut follow = scene.follower(scene.options(Arc::new(AllSteps)));
    assert_eq!(follow.start().await.unwrap(), FollowStart::Resumed(at));
    follow.step().await.unwrap_err();
    let behind = status(&follow);
    assert_eq!(behind.state, FollowState::Behind(FollowCause::Unreachable));
    scene.bed.clock.by(5000);
    follow.step().await.unwrap_err();
    assert_eq!(status(&follow).since, behind.since);
    scene.bed.remote.heal();
    scene.catches_up(&mut follow).await;
    let lag = status(&follow).lag(behind.since);
    assert_eq!(lag, Some(std::time::Duration::ZERO));
}

#[tokio::test]
async fn a_replica_that_was_restarted_is_told_and_not_followed_back() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    scene.commit(3).await;
    scene.catches_up(&mut follow).await;
    let (before, at) = (std::fs::read(&scene.copy).unwrap(), scene.saved());
    let objects = scene.bed.remote.inner().snapshot();
    scene
        .bed
        .remote
        .inner()
        .restore(std::collections::BTreeMap::default());
    scene.bed.clock.by(31_000);
    let error = follow.step().await.unwrap_err();
    assert!(
        matches!(error, Error::Follow(FollowError::Empty { .. })),
        "{error}"
    );
    let (first, other) = objects.iter().next().unwrap();
    let put = scene.bed.remote.inner().put(
        first.clone(),
        Body::Bytes(other.content.clone()),
        PutOptions::default(),
    );
    put.await.unwrap();
    let error = follow.step().await.unwrap_err();
    assert!(
        matches!(error, Error::Follow(FollowError::Ahead { .. })),
        "{error}"
    );
    assert!(error.hint().is_some());
    assert_eq!(
        status(&follow).state,
        FollowState::Behind(FollowCause::Restarted)
    );
    assert_eq!(
        (std::fs::read(&scene.copy).unwrap(), scene.saved()),
        (before, at)
    );
    // The bucket was mounted late, or the listing was not whole: it is back.
    scene.bed.remote.inner().restore(objects);
    scene.commit(1).await;
    scene.catches_up(&mut follow).await;
}

#[tokio::test]
async fn another_page_size_and_a_smaller_database_are_followed() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    scene.execute("DELETE FROM u WHERE id > 3").await;
    scene.execute("VACUUM").await;
    scene.catches_up(&mut follow).await;
    let size = std::fs::metadata(&scene.copy).unwrap().len();
    let open = super::scene::reader(&scene.copy);
    super::scene::content_of(&open);
    let Scene {
        bed,
        application,
        engine,
        copy,
    } = scene;
    engine.stop().await;
    application
        .execute_batch("PRAGMA journal_mode = delete; PRAGMA page_size = 16384; VACUUM;")
        .unwrap();
    drop(application);
    let application = bed.open();
    let engine = bed.start();
    let scene = Scene {
        bed,
        application,
        engine,
        copy,
    };
    scene.commit(3).await;
    scene.catches_up(&mut follow).await;
    assert!(std::fs::metadata(&scene.copy).unwrap().len() > size);
    let expected = scene.bed.states.borrow().last().unwrap().1.clone();
    assert_eq!(super::scene::content_of(&open), expected);
    scene.commit(1).await;
    scene.catches_up(&mut follow).await;
}

/// A file that says from which content it starts must fit.
#[tokio::test]
async fn files_with_a_checksum_of_what_was_before_are_compared() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    scene.catches_up(&mut follow).await;
    let restored = scene.bed.restore(litestream::Target::Latest).await.unwrap();
    let pages = std::fs::read(&restored).unwrap();
    let sum = |pages: &[u8]| {
        let numbered = (1..).zip(pages.chunks(4096));
        numbered.fold(ltx::Checksum::EMPTY, |sum, (number, page)| {
            sum.toggle(ltx::Checksum::of_page(
                ltx::Pgno::new(number).unwrap(),
                page,
            ))
        })
    };
    let at = scene.saved();
    let last = pages.len() / 4096;
    let file = |pre_apply: u64, post_apply: u64, fill: u8| {
        let range = ltx::TxidRange::single(at.next());
        let size = ltx::PageSize::new(4096).unwrap();
        let time = ltx::Timestamp::from_millis(5);
        let mut header = ltx::Header::new(size, last as u32, range, time);
        header.flags = ltx::HeaderFlags::NONE;
        header.pre_apply = pre_apply;
        let mut encoder = ltx::Encoder::new(Vec::new(), header).unwrap();
        let pgno = ltx::Pgno::new(last as u32).unwrap();
        encoder.encode_page(pgno, &[fill; 4096]).unwrap();
        encoder.finish_with(post_apply).unwrap().0
    };
    let mut after = pages.clone();
    after[(last - 1) * 4096..].fill(7);
    let key = name(0, at.get() + 1, at.get() + 1);
    let (before, after) = (sum(&pages).get(), sum(&after).get());
    scene.put(&key, file(after, after, 7).into()).await;
    let error = follow.step().await.unwrap_err();
    assert!(
        matches!(error, Error::Follow(FollowError::OtherHistory { .. })),
        "{error}"
    );
    assert_eq!(
        status(&follow).state,
        FollowState::Behind(FollowCause::Damaged)
    );
    scene.put(&key, file(before, after, 7).into()).await;
    follow.step().await.unwrap();
    assert!(std::fs::read(&scene.copy).unwrap().ends_with(&[7; 4096]));
}

/// The library's loop ends when it is told to, and its copy can be gone on with.
#[tokio::test]
async fn the_loop_ends_when_told_to() {
    let scene = Scene::new().await;
    let mut options = scene.options(Arc::new(AllSteps));
    options.interval = std::time::Duration::from_millis(1);
    let follow = scene.follower(options);
    let mut status = follow.status();
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(follow.run(stop.clone()));
    let newest = scene.commit(2).await;
    let caught_up = status
        .wait_for(|status| status.position == Some(newest) && status.state == FollowState::Current);
    let limit = std::time::Duration::from_mins(1);
    tokio::time::timeout(limit, caught_up)
        .await
        .unwrap()
        .unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(status.borrow().state, FollowState::Stopped);
    let mut follow = scene.start().await.unwrap();
    scene.catches_up(&mut follow).await;
}
