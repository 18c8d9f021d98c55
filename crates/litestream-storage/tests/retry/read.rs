//! Where reading goes on after a break.

use futures_util::{StreamExt as _, TryStreamExt as _};
use litestream_storage::{
    ByteRange, ErrorKind, Fault, Key, ListOptions, ObjectStore as _, Operation, PutOptions,
};
use tokio::time::Instant;

use crate::scripted::Scripted;
use crate::{faulty, fill, key, list, pattern, retry};

#[tokio::test(start_paused = true)]
async fn a_broken_body_goes_on_at_its_offset() {
    let content = pattern(100_000);
    let ends = [
        Fault::CutOff { after: 999 },
        Fault::Break {
            after: 999,
            kind: ErrorKind::Io,
        },
    ];
    for end in ends {
        for range in [
            ByteRange::ALL,
            ByteRange::new(500, 50_000),
            ByteRange::from(99_000),
        ] {
            let store = faulty();
            fill(store.inner().inner(), content.clone()).await;
            store.inner().when(move |_| Some(end));
            let object = store.get(key(), range).await.expect("readable");
            let found = object
                .into_bytes()
                .await
                .expect("goes on for ever: each try advances");
            let len = range.len_in(100_000);
            let start = range.offset as usize;
            assert!(
                found == content[start..start + len as usize],
                "{range:?} {end:?}"
            );
            // No byte was asked for twice. A last piece that fits exactly needs no further try.
            assert_eq!(
                store.inner().calls(Operation::Get),
                len.div_ceil(999),
                "{range:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_advance_is_given_up() {
    let store = faulty();
    fill(store.inner().inner(), pattern(5000)).await;
    let first = Fault::Break {
        after: 1000,
        kind: ErrorKind::Io,
    };
    store.inner().fail_nth(Operation::Get, 1, first);
    store.inner().when(|_| {
        Some(Fault::Break {
            after: 0,
            kind: ErrorKind::Timeout,
        })
    });
    let mut body = store.get(key(), ByteRange::ALL).await.expect("opened").body;
    assert_eq!(
        body.try_next()
            .await
            .expect("first part")
            .expect("data")
            .len(),
        1000
    );
    let error = body.try_next().await.expect_err("given up");
    assert_eq!(
        (error.kind(), error.key()),
        (ErrorKind::Timeout, Some(&key()))
    );
    // The break after the progress is the first failure of four in a row.
    assert_eq!(store.inner().calls(Operation::Get), 4);
    assert!(body.next().await.is_none());
}

/// A connection that brought a byte gave all tries back, so a server that cut each after one byte was
/// asked as often as the object has bytes.
#[tokio::test(start_paused = true)]
async fn a_byte_per_connection_ends() {
    // Steps of 500 bytes, four tries: it takes 125 bytes with each.
    for (after, tries) in [(1, Some(4)), (124, Some(4)), (167, None), (999, None)] {
        let store = faulty();
        fill(store.inner().inner(), pattern(5000)).await;
        store.inner().when(move |_| {
            Some(Fault::Break {
                after,
                kind: ErrorKind::Io,
            })
        });
        let object = store.get(key(), ByteRange::ALL).await.expect("opened");
        let read = object.into_bytes().await;
        let calls = store.inner().calls(Operation::Get);
        if let Some(tries) = tries {
            let error = read.expect_err("hardly advances");
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            assert_eq!(calls, tries, "{after}");
        } else {
            assert_eq!(read.expect("advances"), pattern(5000));
            assert_eq!(calls, 5000_u64.div_ceil(after), "{after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_never_goes_on_in_another_version() {
    for deleted in [false, true] {
        let store = faulty();
        let memory = store.inner().inner();
        fill(memory, pattern(5000)).await;
        let fault = Fault::Break {
            after: 1000,
            kind: ErrorKind::Io,
        };
        store.inner().fail_nth(Operation::Get, 1, fault);
        let mut body = store.get(key(), ByteRange::ALL).await.expect("opened").body;
        assert_eq!(
            body.try_next()
                .await
                .expect("first part")
                .expect("data")
                .len(),
            1000
        );
        let expected = if deleted {
            memory.delete(vec![key()]).await.expect("deletable");
            ErrorKind::NotFound
        } else {
            fill(memory, pattern(5000)).await;
            ErrorKind::PreconditionFailed
        };
        let error = body.try_next().await.expect_err("another version");
        assert_eq!(error.kind(), expected, "{error}");
        assert_eq!(store.inner().calls(Operation::Get), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_listing_goes_on_after_its_last_key() {
    let store = faulty();
    let names: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
    for name in &names {
        let memory = store.inner().inner();
        let put = memory.put(Key::from(&**name), vec![1].into(), PutOptions::default());
        put.await.expect("stored");
    }
    store.inner().when(|_| {
        Some(Fault::Break {
            after: 3,
            kind: ErrorKind::Io,
        })
    });
    let listing = store.list(String::new(), ListOptions::default());
    let found: Vec<_> = listing
        .take(50)
        .try_collect()
        .await
        .expect("each try advances");
    let found: Vec<_> = found.into_iter().map(|meta| meta.key.to_string()).collect();
    assert_eq!(found, names);
    assert_eq!(store.inner().calls(Operation::List), 17);

    store.inner().heal();
    store.inner().when(|_| {
        Some(Fault::Break {
            after: 0,
            kind: ErrorKind::Io,
        })
    });
    let error = list(&store).await.expect_err("does not advance");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(store.inner().calls(Operation::List), 21);
}

#[tokio::test(start_paused = true)]
async fn a_listing_out_of_order_is_not_trusted() {
    for listed in [vec!["b", "a"], vec!["a", "a"]] {
        let store = retry(
            Scripted {
                listed,
                ..Scripted::default()
            },
            0.0,
        );
        let error = list(&store).await.expect_err("out of order");
        assert_eq!(
            (error.kind(), error.key()),
            (ErrorKind::Corrupt, Some(&Key::from("a")))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_answering_is_taken_up_again() {
    let store = retry(
        Scripted {
            stuck: true.into(),
            ..Scripted::default()
        },
        0.0,
    );
    let object = store.get(key(), ByteRange::ALL).await.expect("opened");
    let started = Instant::now();
    assert_eq!(object.into_bytes().await.expect("readable"), "abcd");
    assert_eq!(started.elapsed().as_secs(), 30);
    assert_eq!(store.retries(), 1);
}

/// A server that knows no offsets sends what is before the range, which may be a lot.
#[tokio::test(start_paused = true)]
async fn passing_over_is_no_standstill() {
    let store = retry(
        Scripted {
            passed_over: 9,
            ..Scripted::default()
        },
        0.0,
    );
    let object = store.get(key(), ByteRange::from(2)).await.expect("opened");
    let started = Instant::now();
    assert_eq!(object.into_bytes().await.expect("readable"), "cd");
    assert_eq!(started.elapsed().as_secs(), 180);
    assert_eq!(store.retries(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_with_too_many_bytes_is_corrupt() {
    // The script ignores the length of a range.
    let store = retry(Scripted::default(), 0.0);
    let object = store
        .get(key(), ByteRange::new(0, 3))
        .await
        .expect("opened");
    let error = object.into_bytes().await.expect_err("one byte too many");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
