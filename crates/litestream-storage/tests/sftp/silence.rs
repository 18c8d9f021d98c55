//! Requests that are never answered, before and after their effect: no hang, and nothing lost.

use std::time::Duration;

use litestream_storage::{ByteRange, Condition, ErrorKind, Key, ObjectStore as _, PutOptions};

use crate::place::{bare, chain, content, files, layered, list, put, read, server};
use crate::server::{Misdeed, StandIn, Verb};

/// Longer than anybody waits for an answer, in milliseconds.
const LONG: u64 = 61_000;

/// Runs a call, and lets the time pass whenever the server has fallen silent.
async fn through<T>(server: &StandIn, call: impl Future<Output = T>) -> T {
    let mut silences = server.silences();
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            done = &mut call => return done,
            changed = silences.changed() => changed.expect("the server is there"),
        }
        tokio::time::pause();
        // In small steps: who waits a moment less gives up first.
        let passing = async {
            for _ in 0..LONG {
                tokio::time::advance(Duration::from_millis(1)).await;
            }
        };
        let done = tokio::select! {
            done = &mut call => Some(done),
            () = passing => None,
        };
        tokio::time::resume();
        if let Some(done) = done {
            return done;
        }
    }
}

fn silence(after_effect: bool) -> impl FnMut(&crate::server::Asked) -> Option<Misdeed> {
    move |_| Some(Misdeed::Silence { after_effect })
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let server = server().await;
    let store = bare(&server);
    let store = &store;
    let key = || Key::from("name");
    server.when(silence(false));
    let errors = [
        through(&server, put(store, "name", vec![1])).await.err(),
        through(&server, put(store, "name", content(600_000)))
            .await
            .err(),
        through(&server, store.get(key(), ByteRange::ALL))
            .await
            .err(),
        through(&server, store.head(key())).await.err(),
        through(&server, list(store)).await.err(),
        through(&server, store.delete(vec![key()]))
            .await
            .expect("answered")
            .pop()
            .map(|(_, error)| error),
    ];
    for error in errors {
        let error = error.expect("nobody answered");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    }
    assert!(files(&server).is_empty());
    server.behave();
    put(store, "name", vec![1])
        .await
        .expect("on another connection");
}

#[tokio::test]
async fn silence_within_bodies_is_a_timeout() {
    let server = server().await;
    let store = &bare(&server);
    put(store, "name", content(3 << 20)).await.expect("stored");
    let late = |verb: Verb| {
        server.when(move |asked| {
            let is_late = asked.verb == verb && asked.offset >= 1 << 20;
            let after_effect = false;
            is_late.then_some(Misdeed::Silence { after_effect })
        });
    };
    late(Verb::Read);
    let error = through(&server, read(store, "name"))
        .await
        .expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    late(Verb::Write);
    let new = put(store, "name", vec![1; 3 << 20]);
    let error = through(&server, new).await.expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    server.behave();
    assert!(read(store, "name").await.expect("there") == content(3 << 20));
    assert_eq!(files(&server), ["name"]);
}

/// Each request is answered by nothing once, and with it its connection.
#[tokio::test]
async fn silence_loses_nothing() {
    let server = server().await;
    for after_effect in [false, true] {
        let store = &layered(&server, 30);
        let lose = || {
            let mut seen = std::collections::HashSet::new();
            server.when(move |asked| {
                let is_new = seen.insert(asked.alike());
                is_new.then_some(Misdeed::Silence { after_effect })
            });
        };
        for condition in [Condition::None, Condition::IfAbsent] {
            let all = content(60_000);
            lose();
            let options = PutOptions {
                condition: condition.clone(),
                ..PutOptions::default()
            };
            let stored = store.put(Key::from("name"), all.clone().into(), options);
            let stored = through(&server, stored).await.expect("found out");
            assert_eq!(stored.size, 60_000);
            lose();
            let found = through(&server, read(store, "name")).await;
            assert!(found.expect("there") == all);
            lose();
            let names = through(&server, list(store)).await;
            assert_eq!(names.expect("listable"), ["name"]);
            assert_eq!(files(&server), ["name"], "nothing else is left");
            let failed = through(&server, store.delete(vec![Key::from("name")])).await;
            assert!(failed.expect("answered").is_empty());
            assert!(files(&server).is_empty());
        }
        assert!(store.retries() > 20, "{}", store.retries());
    }
}
