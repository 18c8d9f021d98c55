//! SFTP against OpenSSH, with all its extensions and without, and against rclone.

mod faults;

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use litestream_storage::contract::{Abilities, check};
use litestream_storage::{
    Body, ByteRange, Clock, Condition, ErrorKind, Key, ListOptions, ObjectStore, PutOptions, Retry,
    RetryPolicy, Retrying, SftpSettings, SftpStore, SystemClock,
};
use testkit::server::{FILES_PASSWORD, FILES_USER, RcloneSftp, Sshd};

use crate::{chain, proxy::Proxy};

/// What every SFTP server can do; more than the answers to one request for names.
const PLAIN: Abilities = Abilities {
    conditional_put: false,
    if_match: false,
    conditional_delete: false,
    timestamps: false,
    odd_names: true,
    steady_bodies: true,
    many: 530,
};

/// With `hardlink@openssh.com`.
const LINKS: Abilities = Abilities {
    conditional_put: true,
    ..PLAIN
};

fn settings(sshd: &Sshd) -> SftpSettings {
    let root = sshd.data().join("deep/root").display().to_string();
    SftpSettings {
        key_path: Some(sshd.key()),
        host_key: Some(sshd.host_key()),
        ..SftpSettings::new(sshd.address(), sshd.user(), root)
    }
}

fn open(settings: SftpSettings) -> SftpStore {
    SftpStore::new(settings, Arc::new(SystemClock::new()))
}

async fn refused(settings: SftpSettings, kind: ErrorKind, text: &str) {
    let store = open(settings);
    let error = store.head(Key::from("a")).await.expect_err(text);
    let said = chain(&error);
    assert_eq!(error.kind(), kind, "{said}");
    assert!(said.contains(text), "{said:?} lacks {text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_keeps_the_contract() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    check(Arc::new(open(settings(&sshd))), LINKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_without_extensions_keeps_the_contract() {
    let options = "-P posix-rename,hardlink,fsync,statvfs,limits";
    let Some(sshd) = Sshd::start_with_or_skip(options) else {
        return;
    };
    let settings = SftpSettings {
        concurrent_writes: false,
        ..settings(&sshd)
    };
    check(Arc::new(open(settings)), PLAIN).await;
    let mut files = Vec::new();
    collect(&sshd.data(), &mut files);
    let left: Vec<_> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "tmp"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn collect(folder: &std::path::Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_keeps_the_contract() {
    let Some(rclone) = RcloneSftp::start_or_skip() else {
        return;
    };
    // Relative to the login folder, and a password.
    let settings = SftpSettings {
        password: Some(FILES_PASSWORD.to_owned()),
        ..SftpSettings::new(rclone.address(), FILES_USER, "root")
    };
    // It opens files again while it sends them.
    let unsteady = Abilities {
        steady_bodies: false,
        ..PLAIN
    };
    check(Arc::new(open(settings.clone())), unsteady).await;
    let wrong = SftpSettings {
        password: Some("wrong".to_owned()),
        ..settings
    };
    refused(wrong, ErrorKind::Denied, "tried password").await;
}

#[tokio::test]
async fn only_the_right_key_opens_the_door() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let with = |key_path: Option<PathBuf>| SftpSettings {
        key_path,
        ..settings(&sshd)
    };
    refused(with(Some(sshd.other_key())), ErrorKind::Denied, "tried key").await;
    refused(with(None), ErrorKind::Denied, "set password or key-path").await;
    let encrypted = with(Some(sshd.encrypted_key()));
    refused(encrypted, ErrorKind::Invalid, "ssh-keygen -p").await;
    let missing = with(Some(sshd.data().join("nothing")));
    refused(missing, ErrorKind::Invalid, "read the key file").await;
    let no_key = with(Some(sshd.key().with_extension("pub")));
    refused(no_key, ErrorKind::Invalid, "not a private key").await;
}

#[tokio::test]
async fn an_agent_opens_the_door() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let socket = folder.path().join("agent");
    let mut agent = Command::new("ssh-agent");
    agent.arg("-D").arg("-a").arg(&socket);
    let mut agent = testkit::process::Child::spawn(
        "ssh-agent",
        &mut agent,
        testkit::process::Conversation::Silent,
    )
    .expect("ssh-agent starts");
    let there = |_: &testkit::process::Child| Ok(socket.exists());
    agent
        .wait_while_alive(Duration::from_mins(1), "the socket of ssh-agent", there)
        .expect("ssh-agent listens");
    let add = |key: PathBuf| {
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &socket)
            .status();
        assert!(added.expect("ssh-add runs").success());
    };
    let settings = SftpSettings {
        key_path: None,
        agent: Some(socket.clone()),
        ..settings(&sshd)
    };
    add(sshd.other_key());
    refused(settings.clone(), ErrorKind::Denied, "of the agent").await;
    // One wrong key does not keep the right one from being tried.
    add(sshd.key());
    let missing = open(settings.clone()).head(Key::from("a")).await;
    assert_eq!(missing.expect_err("empty").kind(), ErrorKind::NotFound);
    let nobody = SftpSettings {
        agent: Some(folder.path().join("nobody")),
        ..settings
    };
    refused(nobody, ErrorKind::Denied, "ask the ssh agent").await;
}

#[tokio::test]
async fn another_server_is_refused() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let other = std::fs::read_to_string(sshd.other_key().with_extension("pub")).expect("there");
    let with = |host_key: Option<String>| SftpSettings {
        host_key,
        ..settings(&sshd)
    };
    let wrong = with(Some(other.clone()));
    refused(wrong, ErrorKind::Denied, "host key mismatch").await;
    let nonsense = with(Some("ssh-ed25519".to_owned()));
    refused(nonsense, ErrorKind::Invalid, "is not a public key").await;

    // The same by files: first the right key in the second of them, then a wrong one.
    let folder = tempfile::tempdir().expect("temporary folder");
    let line = |key: &str| {
        let (host, port) = sshd
            .address()
            .rsplit_once(':')
            .map(|(host, port)| (host.to_owned(), port.to_owned()))
            .expect("has a port");
        let mut words = key.split(' ');
        let (kind, key) = (words.next().expect("kind"), words.next().expect("key"));
        format!("# comment\nexample.com {kind} {key}\n[{host}]:{port} {kind} {key}\n")
    };
    let files = ["missing", "known"].map(|name| folder.path().join(name));
    let known = || SftpSettings {
        known_hosts: files.to_vec(),
        ..with(None)
    };
    std::fs::write(&files[1], line(&sshd.host_key())).expect("written");
    let missing = open(known()).head(Key::from("a")).await;
    assert_eq!(missing.expect_err("empty").kind(), ErrorKind::NotFound);
    std::fs::write(&files[1], line(&other)).expect("written");
    refused(known(), ErrorKind::Denied, "host key mismatch").await;
    // Unknown everywhere: accepted, with a warning in the log.
    let missing = open(with(None)).head(Key::from("a")).await;
    assert_eq!(missing.expect_err("empty").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn no_server_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let settings = SftpSettings {
        password: Some("secret".to_owned()),
        ..SftpSettings::new(address.clone(), "user", "")
    };
    assert!(!format!("{settings:?}").contains("secret"));
    let kind = ErrorKind::Unavailable { retry_after: None };
    refused(settings, kind, &address).await;
}

#[tokio::test]
async fn files_have_the_time_of_the_object() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let store = open(settings(&sshd));
    let options = PutOptions {
        timestamp: Some(1_763_785_727_800),
        ..PutOptions::default()
    };
    let put = store.put(Key::from("a/b"), Body::from(vec![1; 10]), options);
    let put = put.await.expect("storable");
    assert_eq!((put.timestamp, put.modified), (None, 1_763_785_727_000));
    let file = std::fs::metadata(sshd.data().join("deep/root/a/b")).expect("there");
    assert_eq!((file.mtime(), file.atime()), (1_763_785_727, 1_763_785_727));
}

#[tokio::test]
async fn foreign_entries_are_not_listed() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let store = open(settings(&sshd));
    let key = Key::from("dir/object");
    store
        .put(key.clone(), Body::from(vec![1]), PutOptions::default())
        .await
        .expect("storable");
    let folder = sshd.data().join("deep/root/dir");
    std::os::unix::fs::symlink("object", folder.join("link")).expect("made");
    std::os::unix::fs::symlink("/", folder.join("outside")).expect("made");
    std::fs::write(folder.join("object.1.2.tmp"), "being written").expect("written");
    let bytes = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not\xffutf8");
    std::fs::write(folder.join(bytes), "no key").expect("written");
    let listed: Vec<_> = store
        .list(String::new(), ListOptions::default())
        .map(|meta| meta.expect("listable").key)
        .collect()
        .await;
    assert_eq!(listed, [key]);
}

/// Time that stands still until it is moved.
#[derive(Debug, Default)]
struct ManualClock(Mutex<Manual>);

#[derive(Debug, Default)]
struct Manual {
    now: Duration,
    sleepers: Vec<(Duration, tokio::sync::oneshot::Sender<()>)>,
}

impl ManualClock {
    fn advance(&self, by: Duration) {
        let mut manual = self.0.lock().expect("not poisoned");
        manual.now += by;
        let now = manual.now;
        for (_, sleeper) in manual.sleepers.extract_if(.., |(until, _)| *until <= now) {
            let _ = sleeper.send(());
        }
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        1_763_785_727_000
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().expect("not poisoned").now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut manual = self.0.lock().expect("not poisoned");
        let until = manual.now + duration;
        manual.sleepers.push((until, sender));
        Box::pin(async move {
            drop(receiver.await);
        })
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_made_again() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let clock = Arc::new(ManualClock::default());
    let store = SftpStore::new(settings(&sshd), Arc::clone(&clock) as Arc<dyn Clock>);
    let key = Key::from("a");
    let content = vec![7; 3 << 20];
    assert_eq!(
        store.connections().await,
        0,
        "nothing before the first call"
    );
    store
        .put(key.clone(), content.clone().into(), PutOptions::default())
        .await
        .expect("storable");
    assert_eq!(store.connections().await, 1);

    // An object that is being read holds its connection.
    let object = store.get(key.clone(), ByteRange::ALL).await.expect("there");
    clock.advance(SftpSettings::IDLE * 2);
    settle().await;
    assert_eq!(store.connections().await, 1, "closed while in use");
    assert_eq!(object.into_bytes().await.expect("readable"), content);

    for _ in 0..3 {
        clock.advance(SftpSettings::IDLE);
        settle().await;
    }
    assert_eq!(store.connections().await, 0, "kept while idle");
    let meta = store.head(key).await.expect("there");
    assert_eq!(meta.size, content.len() as u64);
    assert_eq!(store.connections().await, 1);
}

/// Lets everything run that can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cut_connection_is_an_error_and_then_another_one() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let proxy = Proxy::start(sshd.address()).await;
    let store = open(SftpSettings {
        host: proxy.address(),
        ..settings(&sshd)
    });
    let key = Key::from("dir/object");
    let content: Vec<u8> = (0..5_000_000_u32).map(|at| (at / 7) as u8).collect();
    store
        .put(key.clone(), content.clone().into(), PutOptions::default())
        .await
        .expect("storable");

    // In the middle of a body: bare it is an error, under retries it goes on.
    proxy.cut_down_after(1_000_000);
    let object = store.get(key.clone(), ByteRange::ALL).await.expect("there");
    let error = object.into_bytes().await.expect_err("it was cut");
    assert!(error.is_retryable(), "{error}");
    assert_eq!(error.key(), Some(&key));
    let retry = Retry::new(store.clone(), Retrying::new(RetryPolicy::default()));
    proxy.cut_down_after(1_000_000);
    let object = retry.get(key.clone(), ByteRange::ALL).await.expect("there");
    assert!(object.into_bytes().await.expect("goes on") == content);
    assert!(proxy.connections() >= 3, "{}", proxy.connections());

    // In the middle of a put: the old object stays, and nothing else is listed.
    proxy.cut_up_after(1_000_000);
    let put = store.put(
        key.clone(),
        vec![1; 5_000_000].into(),
        PutOptions::default(),
    );
    let error = put.await.expect_err("it was cut");
    assert!(error.is_retryable(), "{error}");
    let object = store.get(key.clone(), ByteRange::ALL).await.expect("there");
    assert!(object.into_bytes().await.expect("readable") == content);
    proxy.cut_up_after(1_000_000);
    let put = retry.put(
        key.clone(),
        vec![1; 5_000_000].into(),
        PutOptions::default(),
    );
    put.await.expect("tried again");
    let object = store.get(key, ByteRange::ALL).await.expect("there");
    assert!(object.into_bytes().await.expect("readable") == vec![1; 5_000_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_open_bodies_take_more_connections() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let store = open(settings(&sshd));
    let content = vec![9; 100_000];
    let key = Key::from("object");
    let put = store.put(key.clone(), content.clone().into(), PutOptions::default());
    put.await.expect("storable");
    let mut bodies = Vec::new();
    for _ in 0..150 {
        bodies.push(store.get(key.clone(), ByteRange::ALL).await.expect("there"));
    }
    assert_eq!(store.connections().await, 4);
    for body in bodies {
        assert_eq!(body.into_bytes().await.expect("readable"), content);
    }
}

#[tokio::test]
async fn a_given_up_put_leaves_nothing() {
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    let store = open(settings(&sshd));
    for condition in [Condition::None, Condition::IfAbsent] {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let first = futures_util::stream::once(async { Ok(vec![1; 200_000].into()) });
        let never = futures_util::stream::once(async move {
            drop(sender);
            std::future::pending().await
        });
        let body = Body::Stream(first.chain(never).boxed());
        let options = PutOptions {
            condition,
            ..PutOptions::default()
        };
        let put = store.put(Key::from("object"), body, options);
        tokio::select! {
            _ = put => panic!("its body has no end"),
            _ = receiver => {}
        }
        // The next answer comes after what was sent before.
        let missing = store.head(Key::from("object")).await;
        assert_eq!(missing.expect_err("given up").kind(), ErrorKind::NotFound);
        let mut files = Vec::new();
        collect(&sshd.data(), &mut files);
        assert!(files.is_empty(), "left behind: {files:?}");
    }
}
