//! Coming in, and several connections at once.

use std::sync::Arc;

use futures_util::future::join_all;
use litestream_storage::{ByteRange, ErrorKind, Key, ObjectStore as _, SftpSettings};
use russh::keys::ssh_key::LineEnding;

use crate::place::{bare, chain, content, files, list, open, put, read, server, settings};
use crate::server::{Misdeed, PASSWORD, Verb, new_key};

async fn refused(settings: SftpSettings, kind: ErrorKind, text: &str) {
    let store = open(settings);
    let error = put(&store, "name", vec![1]).await.expect_err(text);
    let said = chain(&error);
    assert_eq!(error.kind(), kind, "{said}");
    assert!(said.contains(text), "{said:?} lacks {text:?}");
    assert!(!said.contains(PASSWORD), "{said}");
    assert_eq!(store.connections().await, 0);
}

#[tokio::test]
async fn another_server_is_told_nothing() {
    let server = server().await;
    let other = new_key().public_key().to_openssh().expect("a sound key");
    let with = |host_key: &str| SftpSettings {
        host_key: Some(host_key.to_owned()),
        ..settings(&server)
    };
    refused(with(&other), ErrorKind::Denied, "host key mismatch").await;
    refused(with("nonsense"), ErrorKind::Invalid, "is not a public key").await;
    let folder = tempfile::tempdir().expect("temporary folder");
    let known = folder.path().join("known");
    let (host, port) = ("127.0.0.1", server.address());
    let port = port.rsplit(':').next().expect("has a port");
    let line = |key: &str| format!("[{host}]:{port} {key}\n");
    let by_file = || SftpSettings {
        host_key: None,
        known_hosts: vec![known.clone()],
        ..settings(&server)
    };
    std::fs::write(&known, line(&other)).expect("written");
    refused(by_file(), ErrorKind::Denied, "host key mismatch").await;
    assert_eq!(server.logins(), [""; 0], "no password goes to a stranger");
    assert!(server.asked().is_empty());

    std::fs::write(&known, line(&server.host_key())).expect("written");
    let store = open(by_file());
    put(&store, "name", vec![1]).await.expect("the right one");
    assert_eq!(server.logins(), [format!("password {PASSWORD}")]);
}

#[tokio::test]
async fn only_who_is_known_comes_in() {
    let server = server().await;
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str, key: &russh::keys::PrivateKey| {
        let path = folder.path().join(name);
        let text = key.to_openssh(LineEnding::LF).expect("a sound key");
        std::fs::write(&path, text.as_bytes()).expect("written");
        path
    };
    let right = file("right", server.door_key());
    let wrong = file("wrong", &new_key());
    let with = |password: Option<&str>, key: Option<&std::path::PathBuf>| SftpSettings {
        password: password.map(str::to_owned),
        key_path: key.cloned(),
        ..settings(&server)
    };
    let denied = ErrorKind::Denied;
    refused(with(Some("guess"), None), denied, "tried password").await;
    refused(with(None, Some(&wrong)), denied, "tried key").await;
    refused(with(None, None), denied, "set password or key-path").await;
    let both = with(Some("guess"), Some(&wrong));
    refused(both, denied, "tried password, key").await;
    let stranger = SftpSettings {
        user: "stranger".to_owned(),
        ..with(Some(PASSWORD), None)
    };
    refused(stranger, denied, "does not let \"stranger\" in").await;
    assert!(server.asked().is_empty(), "nothing before the door is open");

    for (password, key) in [
        (Some(PASSWORD), None),
        (None, Some(&right)),
        (Some("guess"), Some(&right)),
    ] {
        let store = open(with(password, key));
        put(&store, "name", vec![1]).await.expect("let in");
    }
    assert_eq!(files(&server), ["name"]);
}

/// A connection serves so many calls; those on another go on when it breaks.
#[tokio::test]
async fn several_connections_break_by_themselves() {
    let server = server().await;
    let store = bare(&server);
    let all = content(100_000);
    put(&store, "name", all.clone()).await.expect("stored");
    let mut bodies = Vec::new();
    for _ in 0..150 {
        let object = store.get(Key::from("name"), ByteRange::ALL).await;
        bodies.push(object.expect("there").into_bytes());
    }
    assert_eq!(store.connections().await, 4);
    server.when(|asked| {
        let after_effect = false;
        let is_hit = asked.verb == Verb::Read && asked.connection == 1;
        is_hit.then_some(Misdeed::Hangup { after_effect })
    });
    let results = join_all(bodies).await;
    let (whole, broken): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((whole.len(), broken.len()), (102, 48));
    assert!(whole.into_iter().all(|body| body.expect("whole") == all));
    for error in broken.into_iter().filter_map(Result::err) {
        assert!(error.is_retryable(), "{}", chain(&error));
    }
    server.behave();
    assert_eq!(store.connections().await, 3);
    assert!(read(&store, "name").await.expect("there") == all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_stores_share_a_server() {
    let server = Arc::new(server().await);
    let work = (0..6).map(|number| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let store = bare(&server);
            let names: Vec<_> = (0..10).map(|at| format!("{number}/{at}")).collect();
            let all = content(50_000 + number);
            let puts = names.iter().map(|name| put(&store, name, all.clone()));
            for done in join_all(puts).await {
                done.expect("stored");
            }
            for name in &names {
                assert!(read(&store, name).await.expect("there") == all, "{name}");
            }
            store.connections().await
        })
    });
    for connections in join_all(work).await {
        assert_eq!(connections.expect("no panic"), 1);
    }
    assert_eq!(list(&bare(&server)).await.expect("listable").len(), 60);
    assert_eq!(server.logins().len(), 7);
}
