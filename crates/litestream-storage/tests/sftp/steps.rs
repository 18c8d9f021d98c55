//! Each request of a put goes wrong once, in each way: the old object or the new one is there, and
//! nothing beside it.

use litestream_storage::{Condition, ErrorKind, Key, ObjectStore as _, PutOptions};
use russh_sftp::protocol::StatusCode;

use crate::place::{ROOT, bare, content, files, layered, list, put, read, server};
use crate::server::{Misdeed, Offers, StandIn, Verb};

const MISDEEDS: [Misdeed; 5] = [
    Misdeed::Instead(StatusCode::Failure),
    Misdeed::Hangup {
        after_effect: false,
    },
    Misdeed::Hangup { after_effect: true },
    Misdeed::Leave {
        after_effect: false,
    },
    Misdeed::Leave { after_effect: true },
];

/// Lets `times` requests from number `first` on go wrong.
fn strike(server: &StandIn, misdeed: Misdeed, first: usize, times: usize) {
    let mut number = 0;
    server.when(move |_| {
        number += 1;
        let is_hit = (first..first + times).contains(&(number - 1));
        is_hit.then_some(misdeed)
    });
}

/// How many requests `call` has when all goes well.
async fn requests<T>(server: &StandIn, call: impl Future<Output = T>) -> usize {
    server.behave();
    let before = server.asked().len();
    call.await;
    server.asked().len() - before
}

async fn replaced(offers: Offers) {
    let server = StandIn::start(offers).await;
    let (old, new) = (content(1000), content(70_000));
    let store = bare(&server);
    put(&store, "dir/name", old.clone()).await.expect("stored");
    let count = requests(&server, put(&store, "dir/name", new.clone())).await;
    assert!(count > 8, "{count}");
    for misdeed in MISDEEDS {
        for times in 1..=3 {
            for first in 0..count {
                server.behave();
                put(&store, "dir/name", old.clone()).await.expect("stored");
                strike(&server, misdeed, first, times);
                let done = put(&store, "dir/name", new.clone()).await;
                server.behave();
                let what = format!("{misdeed:?} {times} times from {first}: {done:?}");
                let found = read(&store, "dir/name").await;
                let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(found == new || (found == old && done.is_err()), "{what}");
                assert_eq!(list(&store).await.expect("listable"), ["dir/name"]);
                assert_eq!(files(&server), ["dir/name"], "{what}");
            }
        }
    }
}

#[tokio::test]
async fn of_a_replacement() {
    replaced(Offers::ALL).await;
}

#[tokio::test]
async fn of_a_replacement_in_several_steps() {
    replaced(Offers::NONE).await;
}

#[tokio::test]
async fn of_a_creation() {
    let server = server().await;
    let options = || PutOptions {
        condition: Condition::IfAbsent,
        ..PutOptions::default()
    };
    let all = content(70_000);
    let key = || Key::from("dir/name");
    let count = {
        let store = bare(&server);
        requests(&server, store.put(key(), all.clone().into(), options())).await
    };
    for misdeed in MISDEEDS {
        for first in 0..count {
            server.behave();
            let store = layered(&server, 5);
            let failed = store.delete(vec![key()]).await.expect("answered");
            assert!(failed.is_empty(), "{failed:?}");
            strike(&server, misdeed, first, 1);
            let done = store.put(key(), all.clone().into(), options()).await;
            let what = format!("{misdeed:?} of {first}: {done:?}");
            assert!(done.is_ok(), "{what}");
            server.behave();
            assert!(read(&store, "dir/name").await.expect("there") == all);
            assert_eq!(files(&server), ["dir/name"], "{what}");
            let again = store.put(key(), vec![1].into(), options()).await;
            again.expect_err("it is there");
        }
    }
}

/// A server that falls silent after the rename has perhaps lost its power, and the name with it.
#[tokio::test]
async fn a_name_that_may_not_be_durable_is_not_acknowledged() {
    let absent = || PutOptions {
        condition: Condition::IfAbsent,
        ..PutOptions::default()
    };
    let folders = ["dir", "", ".."].map(|name| match name {
        "dir" => format!("{ROOT}/dir"),
        "" => ROOT.to_owned(),
        _ => "deep".to_owned(),
    });
    for folder in folders {
        for options in [PutOptions::default, absent] {
            let server = server().await;
            let store = bare(&server);
            let hit = folder.clone();
            server.when(move |asked| {
                let after_effect = false;
                let is_hit = asked.verb == Verb::Open && asked.path == hit;
                is_hit.then_some(Misdeed::Hangup { after_effect })
            });
            let stored = store.put(Key::from("dir/name"), vec![1].into(), options());
            let error = stored.await.expect_err(&folder);
            assert!(error.is_retryable(), "{error}");
            server.behave();
            let syncs = server.count(Verb::Fsync);
            let again = store.put(Key::from("dir/name"), vec![1].into(), options());
            match (again.await, options().condition) {
                (Ok(_), Condition::None) => {}
                (Err(error), Condition::IfAbsent) => {
                    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                }
                other => panic!("{folder}: {other:?}"),
            }
            let synced = server.count(Verb::Fsync) - syncs;
            assert!(synced >= 2, "{folder}: {synced}");
            assert_eq!(files(&server), ["dir/name"]);
        }
    }
}

/// Folders are made from the top down; whichever is lost on the way is made by the next try.
#[tokio::test]
async fn of_a_first_object() {
    let count = {
        let server = server().await;
        let store = bare(&server);
        let count = requests(&server, put(&store, "a/b/c", vec![1])).await;
        assert_eq!(server.count(Verb::MkDir), 4, "of {ROOT}/a/b");
        count
    };
    for misdeed in MISDEEDS {
        for first in 0..count {
            let server = server().await;
            let store = layered(&server, 5);
            strike(&server, misdeed, first, 1);
            let done = put(&store, "a/b/c", vec![1]).await;
            let what = format!("{misdeed:?} of {first}: {done:?}");
            assert!(done.is_ok(), "{what}");
            server.behave();
            assert_eq!(read(&store, "a/b/c").await.expect("there"), vec![1]);
            assert_eq!(files(&server), ["a/b/c"], "{what}");
        }
    }
}
