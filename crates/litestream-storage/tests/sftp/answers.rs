//! Answers that say what went wrong: the right kind of error, tried again or not.

use litestream_storage::{
    ByteRange, Condition, Error, ErrorKind, Key, ObjectStore, Operation, PutOptions,
};
use russh_sftp::protocol::StatusCode;

use crate::place::{bare, chain, content, files, layered, list, put, read, server};
use crate::server::{Misdeed, Offers, StandIn, Verb};

/// All calls, each of which must fail. A deletion says so by key.
async fn errors(store: &dyn ObjectStore) -> Vec<Error> {
    let key = || Key::from("dir/name");
    let create = PutOptions {
        condition: Condition::IfAbsent,
        ..PutOptions::default()
    };
    let mut errors = vec![
        put(store, "dir/name", vec![1]).await.expect_err("put"),
        store
            .put(key(), vec![1].into(), create)
            .await
            .expect_err("put"),
        store.get(key(), ByteRange::ALL).await.expect_err("get"),
        store.head(key()).await.expect_err("head"),
        list(store).await.expect_err("list"),
    ];
    match store.delete(vec![key()]).await {
        Ok(mut failures) => errors.push(failures.pop().expect("not deleted").1),
        Err(error) => errors.push(error),
    }
    errors
}

#[tokio::test]
async fn answers_have_their_kinds() {
    let server = server().await;
    let store = bare(&server);
    for (status, kind) in [
        (StatusCode::Failure, ErrorKind::Io),
        (StatusCode::PermissionDenied, ErrorKind::Denied),
        (StatusCode::BadMessage, ErrorKind::Invalid),
        (StatusCode::OpUnsupported, ErrorKind::Unsupported),
        (StatusCode::NoConnection, ErrorKind::Io),
        (StatusCode::ConnectionLost, ErrorKind::Io),
    ] {
        server.when(move |_| Some(Misdeed::Instead(status)));
        for error in errors(&store).await {
            assert_eq!(error.kind(), kind, "{status}: {}", chain(&error));
            assert_eq!(error.backend(), Some("sftp"), "{error}");
            let said = chain(&error);
            assert!(said.contains(&status.to_string()), "{status}: {said}");
            if error.operation() != Operation::List {
                assert_eq!(error.key(), Some(&Key::from("dir/name")), "{error}");
            }
        }
    }
    assert_eq!(store.connections().await, 1, "an answer breaks nothing");
    assert!(files(&server).is_empty());
}

/// What is refused is refused again: no reason to ask, and all works once the rights are back.
#[tokio::test]
async fn refusals_are_final_and_leave_no_trace() {
    let server = server().await;
    let store = layered(&server, 10);
    put(&store, "dir/name", vec![7; 10]).await.expect("stored");
    let denied = || Some(Misdeed::Instead(StatusCode::PermissionDenied));
    server.when(move |_| denied());
    for error in errors(&store).await {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    }
    // In the middle, and at the last moment.
    for verb in [Verb::Write, Verb::PosixRename] {
        server.when(move |asked| {
            let is_late = asked.verb == verb && (verb != Verb::Write || asked.offset > 100_000);
            is_late.then(denied).flatten()
        });
        let large = put(&store, "dir/name", content(300_000)).await;
        let large = large.expect_err("refused");
        assert_eq!(large.kind(), ErrorKind::Denied, "{}", chain(&large));
    }
    assert_eq!(store.retries(), 0);
    server.behave();
    assert_eq!(read(&store, "dir/name").await.expect("there"), vec![7; 10]);
    assert_eq!(files(&server), ["dir/name"]);
    let gone = store.delete(vec![Key::from("dir/name")]).await;
    assert!(gone.expect("deletable").is_empty());
}

#[tokio::test]
async fn a_full_disk_says_so_and_keeps_no_half_object() {
    for (statvfs, kind) in [(true, ErrorKind::DiskFull), (false, ErrorKind::Io)] {
        let server = StandIn::start(Offers {
            statvfs,
            ..Offers::ALL
        })
        .await;
        let store = bare(&server);
        put(&store, "name", vec![7; 10]).await.expect("stored");
        server.fill(true);
        for len in [1, 300_000] {
            let error = put(&store, "name", content(len)).await.expect_err("full");
            // A failure without a reason, unless the server can be asked for one.
            assert_eq!(error.kind(), kind, "{}", chain(&error));
        }
        assert_eq!(read(&store, "name").await.expect("there"), vec![7; 10]);
        assert_eq!(files(&server), ["name"]);
        server.fill(false);
        put(&store, "name", content(300_000)).await.expect("room");
    }
}

/// An outage ends by itself: within its tries every call works; beyond them it says how many.
#[tokio::test]
async fn outages_end_by_themselves() {
    let server = server().await;
    let store = layered(&server, 4);
    let failed = Misdeed::Instead(StatusCode::Failure);
    let hangup = Misdeed::Hangup {
        after_effect: false,
    };
    let leave = Misdeed::Leave {
        after_effect: false,
    };
    for misdeed in [failed, hangup, leave] {
        // The first request of each call, so often.
        let outage = |verb: Verb, times: usize| {
            let mut left = times;
            server.when(move |asked| {
                left = left.checked_sub(usize::from(asked.verb == verb))?;
                (asked.verb == verb).then_some(misdeed)
            });
        };
        outage(Verb::Create, 3);
        put(&store, "a", vec![1; 10]).await.expect("the fourth try");
        outage(Verb::Open, 3);
        assert_eq!(read(&store, "a").await.expect("the fourth"), vec![1; 10]);
        outage(Verb::OpenDir, 3);
        assert_eq!(list(&store).await.expect("the fourth try"), ["a"]);
        outage(Verb::Stat, 3);
        store.head(Key::from("a")).await.expect("the fourth try");
        server.when(move |_| Some(misdeed));
        for error in errors(&store).await {
            assert!(error.to_string().contains("after 4 tries"), "{error}");
            assert_eq!(error.kind(), ErrorKind::Io, "{}", chain(&error));
        }
    }
    // Nobody there.
    server.behave();
    server.sever();
    server.close(3);
    store.head(Key::from("a")).await.expect("the fourth try");
    server.sever();
    server.close(usize::MAX);
    for error in errors(&store).await {
        assert!(error.to_string().contains("after 4 tries"), "{error}");
        let kind = ErrorKind::Unavailable { retry_after: None };
        assert_eq!(error.kind(), kind, "{}", chain(&error));
        let said = chain(&error);
        assert!(said.contains(&server.address()), "{said}");
    }
    server.close(0);
    assert_eq!(read(&store, "a").await.expect("back"), vec![1; 10]);
    assert_eq!(files(&server), ["a"]);
}

/// A deletion that failed for one object is told, and deletes the others.
#[tokio::test]
async fn deletions_that_fail_are_told() {
    let server = server().await;
    let store = bare(&server);
    for name in ["a", "b", "c"] {
        put(&store, name, vec![1]).await.expect("stored");
    }
    let keys = || ["a", "b", "c"].map(Key::from).to_vec();
    for (status, kind) in [
        (StatusCode::PermissionDenied, ErrorKind::Denied),
        (StatusCode::Failure, ErrorKind::Io),
    ] {
        server.when(move |asked| {
            let is_b = asked.verb == Verb::Remove && asked.path.ends_with('b');
            is_b.then_some(Misdeed::Instead(status))
        });
        let failed = store.delete(keys()).await.expect("answered");
        let failed: Vec<_> = failed
            .iter()
            .map(|(key, error)| (key.as_str(), error.kind()))
            .collect();
        assert_eq!(failed, [("b", kind)]);
        assert_eq!(files(&server), ["b"]);
    }
    // A lost answer is no failure: gone is gone.
    let layered = layered(&server, 10);
    for (misdeed, tries) in [
        (Misdeed::Hangup { after_effect: true }, 1),
        (Misdeed::After(StatusCode::Failure), 0),
    ] {
        put(&layered, "b", vec![1]).await.expect("stored");
        let before = layered.retries();
        let mut left = 1;
        server.when(move |asked| {
            left = usize::checked_sub(left, usize::from(asked.verb == Verb::Remove))?;
            (asked.verb == Verb::Remove).then_some(misdeed)
        });
        let failed = layered.delete(keys()).await.expect("answered");
        assert!(failed.is_empty(), "{failed:?}");
        assert!(layered.retries() - before >= tries);
        assert!(files(&server).is_empty());
    }
}
