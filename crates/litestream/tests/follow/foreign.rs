//! Copies that somebody else wrote to, or another program kept.

use litestream::{Error, FollowError, FollowStart};
use rusqlite::Connection;
use testkit::hash::with_suffix;

use super::scene::{Scene, content_of, reader};

fn is_written(error: &Error) -> bool {
    matches!(error, Error::Follow(FollowError::Written { .. }))
}

/// What somebody does to the copy.
type Deed = fn(&Scene);

#[tokio::test]
async fn a_copy_that_others_wrote_to_is_refused() {
    let deeds: [Deed; 4] = [
        |scene| {
            let other = Connection::open(&scene.copy).unwrap();
            other
                .execute_batch("INSERT INTO t VALUES(NULL, 'mine')")
                .unwrap();
        },
        |scene| {
            let other = Connection::open(&scene.copy).unwrap();
            other.execute_batch("PRAGMA journal_mode = wal").unwrap();
        },
        |scene| {
            let other = Connection::open(&scene.copy).unwrap();
            other
                .execute_batch("PRAGMA journal_mode = wal; INSERT INTO t VALUES(NULL, 'mine')")
                .unwrap();
            super::bed::kill(other);
        },
        |scene| {
            let file = std::fs::OpenOptions::new().write(true).open(&scene.copy);
            file.unwrap().set_len(4096).unwrap();
        },
    ];
    for (number, deed) in deeds.iter().enumerate() {
        let scene = Scene::new().await;
        let mut follow = scene.start().await.unwrap();
        scene.commit(1).await;
        scene.catches_up(&mut follow).await;
        deed(&scene);
        scene.commit(1).await;
        let error = follow.step().await.unwrap_err();
        assert!(is_written(&error), "{number}: {error}");
        assert!(error.hint().is_some());
        let error = scene.start().await.unwrap_err();
        assert!(is_written(&error), "{number}: {error}");
        // The state machine ends: no time heals this.
        let error = follow
            .follow(&tokio_util::sync::CancellationToken::default())
            .await
            .unwrap_err();
        assert!(is_written(&error), "{number}: {error}");
    }
}

#[tokio::test]
async fn positions_beside_a_copy_are_checked() {
    let scene = Scene::new().await;
    scene.start().await.unwrap();
    let position = with_suffix(&scene.copy, "-txid");
    std::fs::write(&position, "nonsense").unwrap();
    let error = scene.start().await.unwrap_err().to_string();
    assert!(
        error.contains("read") && error.contains("copy.db-txid"),
        "{error}"
    );
    std::fs::write(&position, "00000000000000ff\n").unwrap();
    let error = scene.start().await.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot resume follow mode: TXID 00000000000000ff")
            && error.contains("is ahead of latest snapshot"),
        "{error}"
    );
    std::fs::remove_file(&position).unwrap();
    // The record says it as well.
    scene.start().await.unwrap();
    std::fs::remove_file(&position).unwrap();
    std::fs::remove_file(with_suffix(&scene.copy, "-follow")).unwrap();
    let error = scene.start().await.unwrap_err().to_string();
    assert!(
        error.contains("database exists but no -txid file found"),
        "{error}"
    );
}

/// A copy as v0.5.17 leaves it before the first page was in a file: in WAL mode, and without record.
#[tokio::test]
async fn a_copy_of_the_reference_is_taken_over() {
    let scene = Scene::new().await;
    let restored = scene.bed.restore(litestream::Target::Latest).await.unwrap();
    std::fs::rename(restored, &scene.copy).unwrap();
    let newest = scene.sync().await;
    std::fs::write(with_suffix(&scene.copy, "-txid"), format!("{newest}\n")).unwrap();
    let mut follow = scene.follower(scene.options(std::sync::Arc::new(litestream::AllSteps)));
    assert_eq!(follow.start().await.unwrap(), FollowStart::Resumed(newest));
    scene.commit(2).await;
    // Readers of a database in WAL mode hold it as long as they have it open.
    let open = reader(&scene.copy);
    content_of(&open);
    let error = follow.step().await.unwrap_err();
    assert_eq!(error.kind(), litestream::ErrorKind::Busy, "{error}");
    drop(open);
    scene.catches_up(&mut follow).await;
    scene.commit(1).await;
    scene.catches_up(&mut follow).await;
}

/// The reference goes on with a copy of ours: it knows nothing of the record.
#[tokio::test]
async fn a_copy_that_the_reference_went_on_with_is_taken_back() {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    let old = scene.sync().await;
    let (record, path) = (
        std::fs::read(with_suffix(&scene.copy, "-follow")).unwrap(),
        with_suffix(&scene.copy, "-follow"),
    );
    scene.commit(2).await;
    scene.catches_up(&mut follow).await;
    assert!(scene.saved() > old);
    std::fs::write(&path, record).unwrap();
    let mut follow = scene.start().await.unwrap();
    scene.commit(2).await;
    scene.catches_up(&mut follow).await;
    for damaged in ["", "litestream follow 1\nnow\n"] {
        std::fs::write(&path, damaged).unwrap();
        let mut follow = scene.start().await.unwrap();
        scene.commit(1).await;
        scene.catches_up(&mut follow).await;
    }
}
