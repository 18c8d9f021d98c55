//! What the file backend leaves on disk, and what it refuses to touch.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use litestream_storage::{
    Body, ByteRange, ErrorKind, FileModes, FileStore, Key, ListOptions, ObjectStore, PutOptions,
};
use tempfile::TempDir;

fn store() -> (TempDir, PathBuf, FileStore) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path().join("root");
    let store = FileStore::new(root.clone(), FileModes::default());
    (dir, root, store)
}

async fn put(store: &FileStore, key: &str, content: &[u8]) {
    let body = Body::from(content.to_vec());
    store
        .put(Key::from(key), body, PutOptions::default())
        .await
        .expect("stored");
}

async fn list(store: &FileStore) -> Vec<String> {
    let metas = store.list(String::new(), ListOptions::default());
    let metas: Vec<_> = metas.try_collect().await.expect("listable");
    metas.into_iter().map(|meta| meta.key.to_string()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[tokio::test]
async fn modes_are_private_until_the_database_is_known() {
    let (_dir, root, store) = store();
    put(&store, "ltx/0/a", b"x").await;
    assert_eq!((mode(&root), mode(&root.join("ltx/0"))), (0o700, 0o700));
    assert_eq!(mode(&root.join("ltx/0/a")), 0o600);

    let owner = fs::metadata(&root)
        .map(|found| (found.uid(), found.gid()))
        .expect("there");
    // Bits that no usual umask takes away.
    let modes = FileModes {
        file: Some(0o400),
        dir: Some(0o500 | 0o200),
        owner: Some(owner),
        dir_owner: None,
    };
    store.set_modes(modes);
    assert_eq!(store.modes(), modes);
    put(&store, "ltx/1/a", b"x").await;
    put(&store, "ltx/1/a", b"y").await;
    assert_eq!(mode(&root.join("ltx/1/a")), 0o400);
}

#[tokio::test]
async fn owners_that_may_not_be_given_are_no_error() {
    let (_dir, root, store) = store();
    let owner = Some((12_345, 12_345));
    store.set_modes(FileModes {
        owner,
        ..FileModes::default()
    });
    put(&store, "dir/a", b"x").await;
    let found = fs::metadata(root.join("dir/a")).expect("there");
    let own = fs::metadata(root.parent().expect("has one"))
        .expect("there")
        .uid();
    // A privileged user can, others cannot.
    assert!([own, 12_345].contains(&found.uid()));
}

#[tokio::test]
async fn the_timestamp_is_the_modification_time() {
    let (_dir, root, store) = store();
    let options = PutOptions {
        timestamp: Some(1_763_785_727_801),
        ..PutOptions::default()
    };
    store
        .put(Key::from("a"), vec![1].into(), options)
        .await
        .expect("stored");
    let modified = fs::metadata(root.join("a"))
        .expect("there")
        .modified()
        .expect("supported");
    assert_eq!(
        modified,
        UNIX_EPOCH + Duration::from_millis(1_763_785_727_801)
    );
    let impossible = PutOptions {
        timestamp: Some(i64::MAX),
        ..PutOptions::default()
    };
    if let Err(error) = store.put(Key::from("b"), vec![1].into(), impossible).await {
        // Where the platform cannot express it. It must not be stored with another time.
        assert!(!root.join("b").exists(), "{error}");
        assert!(!root.join("b.tmp").exists(), "{error}");
    }
}

#[tokio::test]
async fn keys_that_are_not_plain_paths_are_refused_by_every_call() {
    let (dir, root, store) = store();
    put(&store, "a", b"x").await;
    fs::write(dir.path().join("outside"), b"secret").expect("writable");
    let absolute = dir.path().join("outside").display().to_string();
    let keys = [
        "../outside",
        "x/../../outside",
        "./a",
        "a/",
        "/a",
        "a//b",
        "",
        "a.tmp",
        "a\0b",
    ];
    for key in keys.into_iter().chain([absolute.as_str()]) {
        let invalid = ErrorKind::Invalid;
        let key = Key::from(key);
        let put = store
            .put(key.clone(), vec![1].into(), PutOptions::default())
            .await;
        assert_eq!(put.expect_err("refused").kind(), invalid, "{key:?}");
        let got = store.get(key.clone(), ByteRange::ALL).await;
        assert_eq!(got.expect_err("refused").kind(), invalid, "{key:?}");
        let head = store.head(key.clone()).await;
        assert_eq!(head.expect_err("refused").kind(), invalid, "{key:?}");
        let deleted = store
            .delete(vec![key.clone()])
            .await
            .expect("answers for each key");
        assert_eq!(deleted[0].1.kind(), invalid, "{key:?}");
        let deleted = store.delete_if(key.clone(), String::new()).await;
        assert_eq!(deleted.expect_err("refused").kind(), invalid, "{key:?}");
    }
    let listed = store.list("../".into(), ListOptions::default());
    let error = listed.try_collect::<Vec<_>>().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        fs::read(dir.path().join("outside")).expect("there"),
        b"secret"
    );
    assert_eq!(fs::read_dir(&root).expect("there").count(), 1);
}

#[tokio::test]
async fn symbolic_links_below_the_root_are_not_followed() {
    let (dir, root, store) = store();
    put(&store, "real/a", b"x").await;
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).expect("new");
    fs::write(outside.join("a"), b"secret").expect("writable");
    symlink(&outside, root.join("linked")).expect("new");
    symlink(outside.join("a"), root.join("real/file")).expect("new");

    let key = Key::from("linked/a");
    let put = store
        .put(key.clone(), vec![1].into(), PutOptions::default())
        .await;
    assert_eq!(put.expect_err("refused").kind(), ErrorKind::Invalid);
    for key in ["linked/a", "real/file"] {
        let got = store.get(Key::from(key), ByteRange::ALL).await;
        assert_eq!(
            got.expect_err("refused").kind(),
            ErrorKind::Invalid,
            "{key}"
        );
    }
    let deleted = store.delete(vec![key]).await.expect("answers for each key");
    assert_eq!(deleted[0].1.kind(), ErrorKind::Invalid);
    assert_eq!(list(&store).await, ["real/a"]);
    let listed = store.list("linked/".into(), ListOptions::default());
    let error = listed.try_collect::<Vec<_>>().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(fs::read(outside.join("a")).expect("there"), b"secret");
    assert_eq!(fs::read_dir(&outside).expect("there").count(), 1);
}

#[tokio::test]
async fn a_root_that_is_a_symbolic_link_works() {
    let (dir, _, _) = store();
    let real = dir.path().join("real");
    fs::create_dir(&real).expect("new");
    symlink(&real, dir.path().join("link")).expect("new");
    let store = FileStore::new(dir.path().join("link"), FileModes::default());
    put(&store, "ltx/a", b"x").await;
    assert_eq!(fs::read(real.join("ltx/a")).expect("there"), b"x");
    assert_eq!(list(&store).await, ["ltx/a"]);
}

#[tokio::test]
async fn leftovers_of_a_dead_process_are_hidden_and_replaced() {
    let (_dir, root, store) = store();
    put(&store, "a", b"old").await;
    fs::write(root.join("b.tmp"), b"half").expect("writable");
    // Died between linking the final name and removing the temporary one.
    fs::hard_link(root.join("a"), root.join("a.tmp")).expect("new");
    assert_eq!(list(&store).await, ["a"]);
    put(&store, "b", b"whole").await;
    assert!(!root.join("b.tmp").exists());

    let old = fs::File::open(root.join("a")).expect("there");
    put(&store, "a", b"new").await;
    assert!(!root.join("a.tmp").exists());
    // The leftover was the object itself: it must not have been written to.
    assert_eq!(old.metadata().expect("open").len(), 3);
    assert_eq!(std::io::read_to_string(old).expect("readable"), "old");
    assert_eq!(fs::read(root.join("a")).expect("there"), b"new");
}

#[tokio::test]
async fn things_that_are_not_files_are_no_objects() {
    let (_dir, root, store) = store();
    put(&store, "a", b"x").await;
    fs::create_dir_all(root.join("dir/empty")).expect("new");
    fs::create_dir(root.join("dir.tmp")).expect("new");
    assert_eq!(list(&store).await, ["a"]);
    let got = store.get(Key::from("dir"), ByteRange::ALL).await;
    assert_eq!(got.expect_err("a directory").kind(), ErrorKind::NotFound);
    // Its temporary name is taken by a directory; that is no reason to fail.
    let put = store
        .put(Key::from("b/c"), vec![1].into(), PutOptions::default())
        .await;
    put.expect("stored");
    fs::create_dir(root.join("d.tmp")).expect("new");
    let put = store
        .put(Key::from("d"), vec![1].into(), PutOptions::default())
        .await;
    put.expect("stored");
    // A file or directory in the way is.
    for key in ["a/below", "dir"] {
        let put = store
            .put(Key::from(key), vec![1].into(), PutOptions::default())
            .await;
        assert_eq!(
            put.expect_err("in the way").kind(),
            ErrorKind::Invalid,
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_put_that_is_given_up_leaves_nothing() {
    let (_dir, root, store) = store();
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let mut receiver = Some(receiver);
    let mut sender = Some(sender);
    // Three chunks of a MiB, and then nothing for ever.
    let chunks = stream::iter((0..3).map(|_| Ok(Bytes::from(vec![1; 1 << 20]))));
    let stuck = stream::once(async move {
        drop(sender.take());
        std::future::pending().await
    });
    let body = Body::Stream(chunks.chain(stuck).boxed());
    let mut put = store.put(Key::from("a"), body, PutOptions::default());
    let reached = receiver.take().expect("set above");
    tokio::select! {
        _ = &mut put => panic!("the stream does not end"),
        _ = reached => {}
    }
    assert!((&mut put).now_or_never().is_none());
    assert_eq!(
        fs::metadata(root.join("a.tmp"))
            .expect("being written")
            .len(),
        3 << 20
    );
    assert!(list(&store).await.is_empty());
    drop(put);
    assert_eq!(fs::read_dir(&root).expect("there").count(), 0);
}
