//! Answers that say what went wrong: the right kind of error, tried again or not.

use std::time::Duration;

use litestream_storage::{ByteRange, ErrorKind, Key, ObjectStore, Operation};
use testkit::server::stand_in::{Misdeed, Said};

use crate::place::{Place, chain, content, list, put, read, tries};

/// All calls, each of which must fail. A deletion says so by key.
async fn errors(store: &dyn ObjectStore) -> Vec<litestream_storage::Error> {
    let key = || Key::from("dir/name");
    let mut errors = vec![
        put(store, "dir/name", vec![1]).await.expect_err("put"),
        store.get(key(), ByteRange::ALL).await.expect_err("get"),
        store.get(key(), ByteRange::from(1)).await.expect_err("get"),
        store.head(key()).await.expect_err("head"),
        list(store).await.expect_err("list"),
    ];
    match store.delete(vec![key()]).await {
        Ok(mut failures) => errors.push(failures.pop().expect("not deleted").1),
        Err(error) => errors.push(error),
    }
    errors
}

pub(crate) async fn answers_have_their_kinds<P: Place>(place: P) {
    let store = place.bare();
    let unavailable = ErrorKind::Unavailable {
        retry_after: Some(Duration::from_secs(9)),
    };
    for (status, kind) in [
        (503, unavailable),
        (429, unavailable),
        (500, unavailable),
        (502, unavailable),
        (408, P::TIMEOUT),
        (401, ErrorKind::Denied),
        (403, ErrorKind::Denied),
        (400, ErrorKind::Invalid),
        (507, ErrorKind::DiskFull),
    ] {
        place
            .server()
            .when(move |_| Some(Misdeed::Instead(said(status))));
        for error in errors(&*store).await {
            assert_eq!(error.kind(), kind, "{status}: {}", chain(&error));
            assert!(error.to_string().contains(&status.to_string()), "{error}");
            assert_eq!(error.backend(), Some(store.kind()), "{error}");
            if error.operation() != Operation::List && error.key().is_some() {
                assert_eq!(error.key(), Some(&Key::from("dir/name")), "{error}");
            }
        }
    }
    assert!(place.names().is_empty());
}

fn said(status: u16) -> Said {
    Said::status(status).header("Retry-After", "9")
}

/// Credentials that expired are no reason to try again, and nothing else is when they are renewed.
pub(crate) async fn refusals_are_final_and_leave_no_trace<P: Place>(place: P) {
    let store = place.layered();
    put(&store, "dir/name", vec![7; 10]).await.expect("stored");
    for status in [401, 403] {
        place
            .server()
            .when(move |_| Some(Misdeed::Instead(Said::status(status))));
        for error in errors(&store).await {
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        }
        let body = content(crate::place::PART * 3);
        let large = put(&store, "large", body).await.expect_err("refused");
        assert_eq!(large.kind(), ErrorKind::Denied, "{large}");
    }
    assert_eq!(store.retries(), 0);
    place.server().behave();
    assert_eq!(read(&store, "dir/name").await.expect("there"), vec![7; 10]);
    assert_eq!(list(&store).await.expect("listable"), ["dir/name"]);
    let gone = store.delete(vec![Key::from("dir/name")]).await;
    assert!(gone.expect("deletable").is_empty());
}

/// An outage ends by itself: within its tries every call works; beyond them it says how many.
pub(crate) async fn outages_end_by_themselves<P: Place>(place: P) {
    let store = place.layered_with(crate::place::patient(), tries(4));
    let outage = |failing: usize| {
        let mut left = failing;
        place.server().when(move |_| {
            left = left.checked_sub(1)?;
            Some(Misdeed::Instead(
                Said::status(429).header("Retry-After", "60"),
            ))
        });
    };
    outage(3);
    put(&store, "a", vec![1; 10]).await.expect("the fourth try");
    outage(3);
    assert_eq!(
        read(&store, "a").await.expect("the fourth try"),
        vec![1; 10]
    );
    outage(3);
    assert_eq!(list(&store).await.expect("the fourth try"), ["a"]);
    outage(3);
    store.head(Key::from("a")).await.expect("the fourth try");
    outage(3);
    let failed = store.delete(vec![Key::from("a")]).await;
    assert!(failed.expect("the fourth try").is_empty());
    outage(usize::MAX);
    for error in errors(&store).await {
        assert!(error.to_string().contains("after 4 tries"), "{error}");
    }
}

/// A deletion that failed for one object is told, and deletes the others.
pub(crate) async fn deletions_that_fail_are_told<P: Place>(place: P) {
    let store = place.bare();
    for name in ["a", "b", "c"] {
        put(&*store, name, vec![1]).await.expect("stored");
    }
    let mut number = 0;
    place.server().when(move |asked| {
        let is_b = asked.method == "DELETE" && asked.path.ends_with('b');
        number += usize::from(is_b);
        match number {
            1 if is_b => Some(Misdeed::Instead(Said::status(403))),
            2 if is_b => Some(Misdeed::overloaded()),
            3 if is_b => Some(Misdeed::Hangup { after_effect: true }),
            _ => None,
        }
    });
    let keys = || ["a", "b", "c"].map(Key::from).to_vec();
    for kind in [
        ErrorKind::Denied,
        ErrorKind::Unavailable { retry_after: None },
    ] {
        let failed = store.delete(keys()).await.expect("answered");
        let failed: Vec<_> = failed
            .iter()
            .map(|(key, error)| (key.as_str(), error.kind()))
            .collect();
        assert_eq!(failed, [("b", kind)]);
        assert_eq!(place.names(), ["b"]);
    }
    // A lost answer is no failure: gone is gone.
    let layered = place.layered();
    let failed = layered.delete(keys()).await.expect("answered");
    assert!(failed.is_empty(), "{failed:?}");
    assert!(place.names().is_empty());
}
