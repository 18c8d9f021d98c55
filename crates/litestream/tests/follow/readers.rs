//! Programs that read the copy, and what they see.

use litestream::{Error, FollowCause, FollowError, FollowState, FollowStep};

use super::scene::{Scene, content_of, reader, status};

/// The reference leaves the change counter alone when the first page is in no file: readers then
/// mix pages of two states from their caches.
#[tokio::test]
async fn open_readers_see_each_new_state_whole() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    let reader = reader(&scene.copy);
    // In rollback-journal mode from the start: nothing is created beside the copy.
    let mode: String = reader
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "delete");
    for round in 0..5 {
        scene.commit(1).await;
        // A transaction that changes neither schema nor size of the database.
        scene
            .execute("UPDATE u SET value = substr(value || 'ab', 3)")
            .await;
        scene.catches_up(&mut follow).await;
        let expected = scene.bed.states.borrow().last().unwrap().1.clone();
        assert_eq!(content_of(&reader), expected, "round {round}");
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        assert!(!testkit::hash::with_suffix(&scene.copy, suffix).exists());
    }
}

#[tokio::test]
async fn a_long_read_delays_the_copy_and_is_not_disturbed() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    let long = reader(&scene.copy);
    long.execute_batch("BEGIN").unwrap();
    let before = content_of(&long);
    let newest = scene.commit(3).await;
    let error = follow.step().await.unwrap_err();
    assert!(
        matches!(error, Error::Follow(FollowError::Held { .. })),
        "{error}"
    );
    let held = status(&follow);
    assert_eq!(held.state, FollowState::Behind(FollowCause::Held));
    assert_eq!(held.newest, Some(newest));
    // Not disturbed, and others may read meanwhile.
    assert_eq!(content_of(&long), before);
    assert_eq!(content_of(&reader(&scene.copy)), before);
    long.execute_batch("COMMIT").unwrap();
    scene.catches_up(&mut follow).await;
    assert_eq!(status(&follow).state, FollowState::Current);
    assert_eq!(
        content_of(&long),
        scene.bed.states.borrow().last().unwrap().1
    );
}

#[tokio::test]
async fn two_followers_of_one_copy_do_no_harm() {
    let scene = Scene::new().await;
    let mut one = scene.start().await.unwrap();
    let mut other = scene.start().await.unwrap();
    for _ in 0..3 {
        let newest = scene.commit(2).await;
        scene.catches_up(&mut one).await;
        // The other one has fetched for nothing, and notices.
        let step = other.step().await.unwrap();
        assert_eq!(
            step,
            FollowStep::Applied {
                from: newest,
                to: newest
            }
        );
        std::mem::swap(&mut one, &mut other);
    }
}

/// One listing per look while nothing is new, of level 0 alone.
#[tokio::test]
async fn looks_cost_one_request() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    assert_eq!(follow.step().await.unwrap(), FollowStep::Idle);
    let (lists, gets) = scene.requests();
    for _ in 0..10 {
        assert_eq!(follow.step().await.unwrap(), FollowStep::Idle);
    }
    assert_eq!(scene.requests(), (lists + 10, gets));
    scene.commit(3).await;
    let (lists, gets) = scene.requests();
    scene.catches_up(&mut follow).await;
    assert_eq!(scene.requests(), (lists + 1, gets + 3));
    // With level 0 gone every look would be two listings; the second one is rare.
    scene.drop_raw(100).await;
    scene.put("ltx/9/x", "".into()).await;
    let (lists, _) = scene.requests();
    for _ in 0..10 {
        // An empty replica is trouble, and trouble is looked at closely.
        let _step = follow.step().await;
    }
    assert!(scene.requests().0 <= lists + 20);
}
