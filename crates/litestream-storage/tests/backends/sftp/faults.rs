//! An SFTP server that goes away, stands still, is full or takes rights away: the right kind of
//! error in time, no half objects, and the same store goes on afterwards.

use std::io::Write as _;
use std::process::Command;

use bytes::Bytes;
use futures_util::stream;

use super::*;

async fn names(store: &impl ObjectStore) -> Vec<String> {
    let metas = store.list(String::new(), ListOptions::default());
    let names = metas.map(|meta| meta.expect("listable").key.to_string());
    names.collect().await
}

fn layered(store: &SftpStore) -> impl ObjectStore + use<> {
    Retry::new(
        store.clone(),
        Retrying::new(RetryPolicy {
            max_delay: Duration::from_millis(500),
            ..RetryPolicy::default()
        }),
    )
}

async fn put(
    store: &impl ObjectStore,
    name: &str,
    content: Vec<u8>,
) -> litestream_storage::Result<()> {
    let put = store.put(Key::from(name), content.into(), PutOptions::default());
    put.await.map(drop)
}

async fn content(store: &impl ObjectStore, name: &str) -> Bytes {
    let object = store
        .get(Key::from(name), ByteRange::ALL)
        .await
        .expect("there");
    object.into_bytes().await.expect("readable")
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_put_leaves_no_half_object() {
    let Some(mut sshd) = Sshd::start_or_skip() else {
        return;
    };
    let proxy = Proxy::start(sshd.address()).await;
    let store = open(SftpSettings {
        host: proxy.address(),
        ..settings(&sshd)
    });
    put(&store, "old", vec![1; 300_000])
        .await
        .expect("storable");

    // A body that waits in the middle until the server is another one.
    let (half_done, is_half_done) = tokio::sync::oneshot::channel::<()>();
    let (goes_on, waits) = tokio::sync::oneshot::channel::<()>();
    let first = stream::repeat(Bytes::from(vec![2; 256 << 10])).take(8);
    let pause = stream::once(async move {
        half_done.send(()).expect("somebody waits");
        waits.await.expect("somebody says so");
        Bytes::from(vec![3; 256 << 10])
    });
    let body = Body::Stream(first.chain(pause).map(Ok).boxed());
    let putting = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .put(Key::from("new"), body, PutOptions::default())
                .await
        }
    });
    is_half_done.await.expect("half of it was sent");
    sshd.server().kill().expect("it ran");
    proxy.sever();
    goes_on.send(()).expect("the put waits");
    let error = putting
        .await
        .expect("no panic")
        .expect_err("the server is gone");
    assert!(error.is_retryable(), "{}", chain(&error));
    assert_eq!(error.key(), Some(&Key::from("new")));
    let away = store
        .head(Key::from("old"))
        .await
        .expect_err("nobody there");
    assert!(away.is_retryable(), "{}", chain(&away));

    sshd.server().revive().expect("it starts again");
    let layered = layered(&store);
    assert_eq!(names(&layered).await, ["old"]);
    put(&layered, "new", vec![4; 3_000_000])
        .await
        .expect("the same store goes on");
    assert!(content(&layered, "old").await == vec![1; 300_000]);
    assert!(content(&layered, "new").await == vec![4; 3_000_000]);
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up_and_taken_again() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let proxy = Proxy::start(sshd.address()).await;
    let store = open(SftpSettings {
        host: proxy.address(),
        ..settings(&sshd)
    });
    put(&store, "object", vec![1; 3_000_000])
        .await
        .expect("storable");
    let key = Key::from("object");
    // On the connection that is there, and on those that would be made.
    proxy.freeze(true);
    tokio::time::pause();
    for _ in 0..2 {
        let error = store.head(key.clone()).await.expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    }
    let error = put(&store, "late", vec![2; 100])
        .await
        .expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    let listed = store
        .list(String::new(), ListOptions::default())
        .next()
        .await;
    let error = listed.expect("an answer").expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    tokio::time::resume();
    proxy.freeze(false);
    assert!(content(&store, "object").await == vec![1; 3_000_000]);

    // In the middle of a body.
    let mut body = store
        .get(key.clone(), ByteRange::ALL)
        .await
        .expect("there")
        .body;
    proxy.freeze(true);
    tokio::time::pause();
    let error = loop {
        match body.next().await.expect("not at its end") {
            // On its way before.
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    assert_eq!(error.key(), Some(&key));
    tokio::time::resume();
    proxy.freeze(false);
    assert_eq!(names(&store).await, ["object"]);
}

#[tokio::test]
async fn rights_that_are_taken_away_are_named_and_may_come_back() {
    let Some(mut sshd) = Sshd::start_or_skip() else {
        return;
    };
    let proxy = Proxy::start(sshd.address()).await;
    let store = open(SftpSettings {
        host: proxy.address(),
        ..settings(&sshd)
    });
    put(&store, "object", vec![1; 10]).await.expect("storable");
    let door = sshd.server().folder().join("authorized");
    let allowed = std::fs::read(&door).expect("there");
    std::fs::write(&door, "").expect("written");
    proxy.sever();
    // The first call may still find the connection that was there.
    let error = match store.head(Key::from("object")).await.expect_err("cut") {
        cut if cut.is_retryable() => store.head(Key::from("object")).await.expect_err("refused"),
        refused => refused,
    };
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", chain(&error));
    std::fs::write(&door, allowed).expect("written");
    assert_eq!(
        store.head(Key::from("object")).await.expect("let in").size,
        10
    );
}

#[tokio::test]
async fn who_may_only_read_is_told_so() {
    let Some(sshd) = Sshd::start_with_or_skip("-R") else {
        return;
    };
    let root = sshd.data().join("deep/root");
    std::fs::create_dir_all(&root).expect("a folder");
    std::fs::write(root.join("object"), "content").expect("written");
    let store = open(settings(&sshd));
    assert_eq!(content(&store, "object").await, "content");
    let error = put(&store, "other", vec![1; 10])
        .await
        .expect_err("may not");
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", chain(&error));
    let failed = store
        .delete(vec![Key::from("object")])
        .await
        .expect("an answer");
    assert_eq!(
        failed[0].1.kind(),
        ErrorKind::Denied,
        "{}",
        chain(&failed[0].1)
    );
    assert_eq!(names(&store).await, ["object"]);
}

/// A file system of one megabyte at a place, where the rights to mount one are there.
struct Small(PathBuf);

impl Small {
    fn mount_or_skip(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).expect("a folder");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(&at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if mounted {
            return Some(Self(at));
        }
        // Not `eprintln!`: the test harness hides that of a test that passes.
        let said = b"SKIPPED: no right to mount a small file system\n";
        std::io::stderr().write_all(said).expect("open in a test");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Fails only when it is gone already.
        drop(Command::new("umount").arg(&self.0).status());
    }
}

#[tokio::test]
async fn a_full_disk_says_so_and_keeps_no_half_object() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let Some(small) = Small::mount_or_skip(sshd.data().join("deep/root")) else {
        return;
    };
    let store = open(settings(&sshd));
    put(&store, "fits", vec![1; 300_000])
        .await
        .expect("storable");
    for _ in 0..2 {
        let error = put(&store, "large", vec![2; 3_000_000])
            .await
            .expect_err("full");
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{}", chain(&error));
        assert_eq!(names(&store).await, ["fits"]);
    }
    let mut files = Vec::new();
    collect(&small.0, &mut files);
    assert_eq!(files.len(), 1, "left behind: {files:?}");
    // Once there is room, it goes on.
    assert!(
        store
            .delete(vec![Key::from("fits")])
            .await
            .expect("an answer")
            .is_empty()
    );
    put(&store, "other", vec![3; 500_000])
        .await
        .expect("there is room");
}
