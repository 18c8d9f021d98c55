//! What is sent again, and what is not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self};
use litestream_storage::{
    Body, Clock as _, Condition, Error, ErrorKind, Fault, Key, ObjectStore as _, Operation,
    PutOptions, Retry, Retrying, SystemClock,
};
use tokio::time::Instant;

use crate::scripted::{Scripted, Staging};
use crate::{Fixed, UNAVAILABLE, faulty, fill, key, policy, retry};

fn stream_of(chunks: Vec<Vec<u8>>) -> Body {
    let chunks = chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk)));
    Body::Stream(stream::iter(chunks.collect::<Vec<_>>()).boxed())
}

#[tokio::test(start_paused = true)]
async fn a_short_stream_is_sent_again_whole() {
    for fault in [
        Fault::After(ErrorKind::Io),
        Fault::Break {
            after: 300,
            kind: ErrorKind::Io,
        },
    ] {
        let store = faulty();
        store.inner().fail_nth(Operation::Put, 1, fault);
        store.inner().fail_nth(Operation::Put, 2, fault);
        let chunks = vec![vec![1; 200], vec![], vec![2; 200], vec![3; 600]];
        let body = stream_of(chunks.clone());
        store
            .put(key(), body, PutOptions::default())
            .await
            .expect("within the limit");
        assert_eq!(store.inner().calls(Operation::Put), 3);
        let stored = store
            .inner()
            .inner()
            .snapshot()
            .remove(&key())
            .expect("stored");
        assert_eq!(stored.content, chunks.concat());
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_stream_is_sent_again_only_while_little_of_it_was_read() {
    let chunks = || stream_of(vec![vec![1; 600]; 5]);
    let unread = [
        Fault::Before(ErrorKind::Io),
        // One chunk is read, and within the limit.
        Fault::Break {
            after: 10,
            kind: ErrorKind::Io,
        },
    ];
    for fault in unread {
        let store = faulty();
        store.inner().fail_nth(Operation::Put, 1, fault);
        let stored = store.put(key(), chunks(), PutOptions::default()).await;
        assert_eq!(stored.expect("nothing was lost").size, 3000, "{fault:?}");
    }
    for fault in [
        Fault::After(ErrorKind::Io),
        Fault::Break {
            after: 700,
            kind: ErrorKind::Io,
        },
    ] {
        let store = faulty();
        store.inner().fail_nth(Operation::Put, 1, fault);
        let put = store.put(key(), chunks(), PutOptions::default()).await;
        assert_eq!(put.expect_err("cannot be sent again").kind(), ErrorKind::Io);
        assert_eq!(store.inner().calls(Operation::Put), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_or_is_slow_is_not_the_stores_fault() {
    let store = faulty();
    let failing = stream::iter([
        Ok(Bytes::from_static(b"x")),
        Err(Error::from_body("broken")),
    ]);
    let put = store
        .put(key(), Body::Stream(failing.boxed()), PutOptions::default())
        .await;
    assert_eq!(put.expect_err("broken").kind(), ErrorKind::Invalid);
    assert_eq!(store.inner().calls(Operation::Put), 1);

    let slow = stream::iter(0..3).then(|_| async {
        SystemClock::new().sleep(Duration::from_secs(1000)).await;
        Ok(Bytes::from_static(b"x"))
    });
    let put = store
        .put(key(), Body::Stream(slow.boxed()), PutOptions::default())
        .await;
    assert_eq!(put.expect("however long it takes").size, 3);
    assert_eq!(store.retries(), 0);

    // A store that takes nothing any more is at fault, whatever the body.
    store.inner().fail_all(Fault::Hang);
    for body in [stream_of(vec![vec![1; 10]]), Body::from(vec![1; 10])] {
        let put = store.put(key(), body, PutOptions::default()).await;
        assert_eq!(put.expect_err("hangs").kind(), ErrorKind::Timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_has_time_for_its_size() {
    let store = faulty();
    store.inner().fail_nth(Operation::Put, 1, Fault::Hang);
    let started = Instant::now();
    fill(&store, vec![1; 100_000]).await;
    // 30 s, and 100 s for the bytes at the least rate.
    assert_eq!(started.elapsed().as_secs(), 130);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_staged_has_time_for_its_size_once_it_has_ended() {
    let staged = |sending| {
        let mut policy = policy();
        policy.in_flight = u64::MAX;
        let jitter = Arc::new(Fixed(0.0));
        let retrying = Retrying::with(policy, Arc::new(SystemClock::new()), jitter);
        Retry::new(Staging { sending }, retrying)
    };
    let body = || stream_of(vec![vec![1; 100_000]; 10]);
    let ten_minutes = staged(Duration::from_mins(10));
    let put = ten_minutes.put(key(), body(), PutOptions::default());
    assert_eq!(put.await.expect("it has the time").size, 1_000_000);

    // 30 s, and 1000 s for the bytes at the least rate.
    let started = Instant::now();
    let never = staged(Duration::MAX);
    let put = never.put(key(), body(), PutOptions::default());
    let error = put.await.expect_err("it stands still");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("1030000 ms"), "{error}");
    assert_eq!(started.elapsed().as_secs(), 1030);

    // Little cannot be on the way for long, whatever the store may have there.
    let started = Instant::now();
    let put = never.put(key(), stream_of(vec![vec![1; 2000]]), PutOptions::default());
    put.await.expect_err("it stands still");
    assert_eq!(started.elapsed().as_secs(), 32);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_condition_is_looked_into() {
    let lost = Fault::After(ErrorKind::Timeout);
    let on = |condition| PutOptions {
        condition,
        ..PutOptions::default()
    };
    for body in [
        || Body::from(vec![1; 500]),
        || stream_of(vec![vec![1; 250], vec![1; 250]]),
    ] {
        let store = faulty();
        store.inner().fail_next(Operation::Put, lost);
        let first = store
            .put(key(), body(), on(Condition::IfAbsent))
            .await
            .expect("ours");
        assert_eq!(first, store.head(key()).await.expect("there"));

        store.inner().fail_next(Operation::Put, lost);
        let condition = Condition::IfMatch(first.etag.expect("memory etags exist"));
        let second = store.put(key(), body(), on(condition)).await.expect("ours");
        assert_eq!(second, store.head(key()).await.expect("there"));

        store.inner().fail_next(Operation::Delete, lost);
        let etag = second.etag.expect("memory etags exist");
        store.delete_if(key(), etag).await.expect("gone as wanted");
    }
    // Nothing of ours got through, and somebody else was there.
    for (content, condition, kind) in [
        (vec![9; 500], Condition::IfAbsent, ErrorKind::AlreadyExists),
        (vec![1; 499], Condition::IfAbsent, ErrorKind::AlreadyExists),
        (vec![1; 501], Condition::IfAbsent, ErrorKind::AlreadyExists),
        (
            vec![9; 500],
            Condition::IfMatch("x".into()),
            ErrorKind::PreconditionFailed,
        ),
    ] {
        let store = faulty();
        fill(store.inner().inner(), content.clone()).await;
        store
            .inner()
            .fail_next(Operation::Put, Fault::Before(ErrorKind::Timeout));
        let put = store.put(key(), vec![1; 500].into(), on(condition)).await;
        assert_eq!(put.expect_err("not ours").kind(), kind);
        let found = store
            .inner()
            .inner()
            .snapshot()
            .remove(&key())
            .expect("there");
        assert_eq!(found.content, content);
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_delete_only_what_failed_is_tried_again() {
    let deletes = VecDeque::from([
        vec![
            ("a", ErrorKind::Io),
            ("b", ErrorKind::Denied),
            ("c", UNAVAILABLE),
        ],
        vec![("c", UNAVAILABLE)],
    ]);
    let store = retry(
        Scripted {
            deletes: deletes.into(),
            ..Scripted::default()
        },
        0.0,
    );
    let keys = ["a", "b", "c", "d"].map(Key::from).to_vec();
    let failures = store.delete(keys).await.expect("answers for each key");
    let failures: Vec<_> = failures
        .iter()
        .map(|(key, error)| (key.as_str(), error.kind()))
        .collect();
    assert_eq!(failures, [("b", ErrorKind::Denied)]);
    let asked = store
        .inner()
        .asked
        .lock()
        .expect("no panics while locked")
        .clone();
    assert_eq!(asked, [vec!["a", "b", "c", "d"], vec!["a", "c"], vec!["c"]]);

    // What never works is answered in the end, with the number of tries.
    let deletes = VecDeque::from(vec![vec![("a", UNAVAILABLE)]; 10]);
    let store = retry(
        Scripted {
            deletes: deletes.into(),
            ..Scripted::default()
        },
        0.0,
    );
    let failures = store
        .delete(vec![Key::from("a")])
        .await
        .expect("answers for each key");
    assert!(
        failures[0].1.to_string().contains("4 tries"),
        "{failures:?}"
    );
    assert_eq!(
        store
            .inner()
            .asked
            .lock()
            .expect("no panics while locked")
            .len(),
        4
    );
}
