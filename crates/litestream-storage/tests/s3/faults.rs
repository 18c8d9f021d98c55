//! What goes wrong: the right kind of error, nothing lost, nothing left behind, no hang.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use litestream_storage::contract::{Abilities, check};
use litestream_storage::{
    Body, ByteRange, Condition, ErrorKind, Key, ListOptions, ObjectStore, PutOptions, RetryPolicy,
};

use crate::fake::{Answer, Fake, Fault};
use crate::place::{bare, layered, store};

const PART: usize = 5 << 20;

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 3 % 251) as u8).collect()
}

fn stream(content: &[u8]) -> Body {
    let chunks: Vec<_> = content
        .chunks(1 << 20)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    Body::Stream(stream::iter(chunks).boxed())
}

async fn put(
    store: &dyn ObjectStore,
    name: &str,
    body: Body,
) -> Result<(), litestream_storage::Error> {
    let stored = store
        .put(Key::from(name), body, PutOptions::default())
        .await;
    stored.map(drop)
}

async fn read(store: &dyn ObjectStore, name: &str) -> Result<Bytes, litestream_storage::Error> {
    let object = store.get(Key::from(name), ByteRange::ALL).await?;
    object.into_bytes().await
}

#[tokio::test]
async fn answers_have_their_kinds() {
    let fake = Fake::start().await;
    let store = bare(fake.settings());
    let unavailable = |seconds: Option<u64>| ErrorKind::Unavailable {
        retry_after: seconds.map(Duration::from_secs),
    };
    for (status, code, kind) in [
        (503, "SlowDown", unavailable(Some(9))),
        (429, "TooMany", unavailable(Some(9))),
        (500, "InternalError", unavailable(Some(9))),
        (408, "RequestTimeout", ErrorKind::Timeout),
        (403, "AccessDenied", ErrorKind::Denied),
        (400, "ExpiredToken", ErrorKind::Denied),
        (404, "NoSuchBucket", ErrorKind::Invalid),
        (301, "PermanentRedirect", ErrorKind::Invalid),
        (501, "NotImplemented", ErrorKind::Unsupported),
        (507, "Full", ErrorKind::DiskFull),
    ] {
        fake.when(move |_, _| {
            let answer = Answer::error(status, code).with("retry-after", "9");
            Some(Fault::Instead(answer.with("x-amz-bucket-region", "eu-1")))
        });
        let error = put(&store, "name", Body::from(vec![1]))
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.label(), code);
        assert!(error.to_string().contains("as told"), "{error}");
        assert_eq!(error.key(), Some(&Key::from("name")));
        if status == 301 {
            assert!(error.to_string().contains("region eu-1"), "{error}");
        }
        let error = store
            .list(String::new(), ListOptions::default())
            .try_collect::<Vec<_>>()
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn a_broken_connection_is_an_error_and_not_an_end() {
    let fake = Fake::start().await;
    let store = bare(fake.settings());
    put(&store, "name", Body::from(content(100_000)))
        .await
        .expect("stored");
    fake.when(|_, _| Some(Fault::Cut(50_000)));
    let error = read(&store, "name").await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    fake.when(|_, _| Some(Fault::Cut(60)));
    let listing = store.list(String::new(), ListOptions::default());
    let error = listing.try_collect::<Vec<_>>().await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    fake.when(|_, _| {
        Some(Fault::Hangup {
            after_effect: false,
        })
    });
    let error = store.head(Key::from("name")).await.expect_err("hung up");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

/// A service that does not know ranges sends the whole object; what was asked for is cut out of it.
#[tokio::test]
async fn ranges_are_cut_out_where_the_service_ignores_them() {
    let fake = Fake::start().await;
    let whole = content(300_000);
    let sent = whole.clone();
    fake.when(move |request, _| {
        assert_eq!(request.method, "GET");
        Some(Fault::Instead(Answer {
            body: sent.clone(),
            ..Answer::of(200)
        }))
    });
    let store = bare(fake.settings());
    for (range, expected) in [
        (ByteRange::ALL, 0..300_000),
        (ByteRange::from(299_990), 299_990..300_000),
        (ByteRange::from(300_000), 300_000..300_000),
        (ByteRange::from(400_000), 300_000..300_000),
        (ByteRange::new(0, 1), 0..1),
        (ByteRange::new(100_000, 70_000), 100_000..170_000),
        (ByteRange::new(299_990, 100), 299_990..300_000),
    ] {
        let object = store.get(Key::from("a"), range).await.expect("there");
        assert_eq!(object.meta.size, 300_000);
        let found = object.into_bytes().await.expect("read");
        assert!(found == whole[expected], "{range:?}: {} bytes", found.len());
    }
}

#[tokio::test]
async fn layers_make_good_what_can_be_made_good() {
    let fake = Fake::start().await;
    let store = layered(fake.settings());
    // Every second request fails, each time in another way.
    let mut number = 0_usize;
    fake.when(move |request, _| {
        // Whether a lost conditional deletion was ours cannot be known.
        if request.path.contains("/delete_if/") {
            return None;
        }
        number += 1;
        let slow = || Answer::error(503, "SlowDown");
        match (number % 2, number / 2 % 6) {
            (0, _) => None,
            (_, 0) => Some(Fault::Instead(slow())),
            (_, 1) => Some(Fault::Hangup {
                after_effect: false,
            }),
            (_, 2) => Some(Fault::Cut(30)),
            (_, 3) => Some(Fault::Deaf(20)),
            (_, 4) => Some(Fault::Hangup { after_effect: true }),
            (_, _) => Some(Fault::After(slow())),
        }
    });
    let few = Abilities {
        many: 20,
        ..Abilities::full()
    };
    check(Arc::new(store.clone()), few).await;
    assert!(store.retries() > 100, "{}", store.retries());
    fake.check();
}

#[tokio::test]
async fn parts_of_a_stream_are_sent_again() {
    let fake = Fake::start().await;
    let store = layered(fake.settings());
    fake.when(
        |request, number| match (request.parameter("partNumber"), number) {
            (Some(part), _) if part == "2" && number < 5 => Some(Fault::Deaf(100_000)),
            (Some(part), _) if part == "3" && number < 6 => {
                Some(Fault::Hangup { after_effect: true })
            }
            _ => None,
        },
    );
    let all = content(PART * 3 + 17);
    put(&store, "large", stream(&all)).await.expect("stored");
    assert!(fake.bucket().objects["app/large"].content == all);
    assert!(store.retries() == 0, "not the whole again");
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_found_out() {
    let fake = Fake::start().await;
    let store = layered(fake.settings());
    let mut lost = false;
    fake.when(move |request, _| {
        let completes = request.method == "POST" && request.parameter("uploadId").is_some();
        (completes && !std::mem::replace(&mut lost, completes))
            .then_some(Fault::Hangup { after_effect: true })
    });
    put(&store, "large", stream(&content(PART * 2)))
        .await
        .expect("stored");
    assert!(fake.bucket().objects["app/large"].content == content(PART * 2));
}

#[tokio::test]
async fn an_upload_that_fails_leaves_nothing_behind() {
    let fake = Fake::start().await;
    let store = layered(fake.settings());
    for refused in ["2", "complete"] {
        fake.when(move |request, _| {
            let part = request.parameter("partNumber");
            let completes = request.method == "POST" && request.parameter("uploadId").is_some();
            let hit = part.as_deref() == Some(refused) || completes && refused == "complete";
            hit.then(|| Fault::Instead(Answer::error(403, "AccessDenied")))
        });
        let error = put(&store, "large", stream(&content(PART * 3)))
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(fake.bucket().objects.is_empty());
        assert!(fake.bucket().uploads.is_empty(), "aborted");
    }
    // A source that fails is the end of the upload as well.
    fake.when(|_, _| None);
    let good = content(PART * 2);
    let chunks = vec![
        Ok(Bytes::from(good)),
        Err(litestream_storage::Error::from_body("the source failed")),
    ];
    let body = Body::Stream(stream::iter(chunks).boxed());
    let error = put(&store, "large", body).await.expect_err("failed");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(fake.bucket().objects.is_empty() && fake.bucket().uploads.is_empty());
}

#[tokio::test]
async fn an_abort_that_fails_is_tried_again() {
    let fake = Fake::start().await;
    let store = layered(fake.settings());
    let mut aborts = 0;
    fake.when(move |request, _| {
        if request.method == "DELETE" {
            aborts += 1;
            return (aborts <= 3).then(|| Fault::Instead(Answer::error(503, "SlowDown")));
        }
        let part = request.parameter("partNumber");
        let is_second = part.as_deref() == Some("2");
        is_second.then(|| Fault::Instead(Answer::error(403, "AccessDenied")))
    });
    let body = stream(&content(PART * 3));
    let error = put(&store, "large", body).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(fake.bucket().uploads.is_empty(), "aborted in the end");
}

#[tokio::test]
async fn an_upload_that_is_dropped_is_aborted() {
    let fake = Fake::start().await;
    let store = bare(fake.settings());
    let chunks = stream::iter([Ok(Bytes::from(content(PART * 2)))]).chain(stream::pending());
    let mut upload = store.put(
        Key::from("large"),
        Body::Stream(chunks.boxed()),
        PutOptions::default(),
    );
    let begun = Instant::now();
    while fake
        .bucket()
        .uploads
        .values()
        .all(|upload| upload.parts.is_empty())
    {
        assert!(begun.elapsed() < Duration::from_mins(1), "no part arrived");
        // The upload goes on while it is waited for.
        let step = tokio::time::timeout(Duration::from_millis(5), &mut upload).await;
        assert!(step.is_err(), "the source never ends");
    }
    drop(upload);
    while !fake.bucket().uploads.is_empty() {
        assert!(begun.elapsed() < Duration::from_mins(1), "not aborted");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_deletion_must_be_confirmed() {
    let fake = Fake::start().await;
    let store = bare(fake.settings());
    let answer = "<DeleteResult><Deleted><Key>app/a</Key></Deleted>\
                  <Error><Key>app/b</Key><Code>AccessDenied</Code><Message>no</Message></Error>\
                  <Error><Key>app/c</Key><Code>NoSuchKey</Code></Error></DeleteResult>";
    fake.when(move |_, _| {
        let answer = Answer {
            body: answer.into(),
            ..Answer::of(200)
        };
        Some(Fault::Instead(answer))
    });
    let keys = ["a", "b", "c", "d"].map(Key::from).to_vec();
    let mut failed = store.delete(keys).await.expect("an answer");
    failed.sort_by(|one, other| one.0.cmp(&other.0));
    let kinds: Vec<_> = failed
        .iter()
        .map(|(key, error)| (key.as_str(), error.kind()))
        .collect();
    assert_eq!(kinds, [("b", ErrorKind::Denied), ("d", ErrorKind::Io)]);
}

#[tokio::test]
async fn without_bulk_deletion_objects_are_deleted_one_by_one() {
    let fake = Fake::start().await;
    let store = bare(fake.settings());
    put(&store, "a", Body::from(vec![1])).await.expect("stored");
    fake.when(|request, _| {
        let bulk = request.parameter("delete").is_some();
        bulk.then(|| Fault::Instead(Answer::error(501, "NotImplemented")))
    });
    let failed = store
        .delete(vec![Key::from("a"), Key::from("b")])
        .await
        .expect("deleted");
    assert!(failed.is_empty(), "{failed:?}");
    assert!(fake.bucket().objects.is_empty());
}

#[tokio::test]
async fn a_listing_that_turns_in_circles_ends() {
    let fake = Fake::start().await;
    let store = bare(fake.settings());
    let answer = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                  <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
    fake.when(move |_, _| {
        let answer = Answer {
            body: answer.into(),
            ..Answer::of(200)
        };
        Some(Fault::Instead(answer))
    });
    let listing = store.list(String::new(), ListOptions::default());
    let error = listing
        .try_collect::<Vec<_>>()
        .await
        .expect_err("in circles");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn tries_of_a_part_are_not_multiplied() {
    let fake = Fake::start().await;
    let policy = RetryPolicy {
        tries: 3,
        first_delay: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    let store = store(fake.settings(), policy);
    fake.when(|request, _| {
        let part = request.parameter("partNumber").is_some();
        part.then(|| Fault::Instead(Answer::error(503, "SlowDown")))
    });
    let error = put(&store, "large", Body::from(content(PART + 1)))
        .await
        .expect_err("overloaded");
    assert!(
        error.to_string().contains("given up after 3 tries"),
        "{error}"
    );
    let log = fake.take_log();
    let firsts = log
        .iter()
        .filter(|request| request.parameter("partNumber").as_deref() == Some("1"));
    assert_eq!(firsts.count(), 3);
}

fn if_absent() -> PutOptions {
    PutOptions {
        condition: Condition::IfAbsent,
        ..PutOptions::default()
    }
}

/// Amazon answers 409 when two conditional writes meet: nothing is decided, it must be asked again.
#[tokio::test]
async fn conditional_writes_that_meet_are_tried_again() {
    let fake = Fake::start().await;
    let conflict = |most: usize| {
        fake.when(move |request, number| {
            let conditional = request
                .header("if-none-match")
                .or(request.header("if-match"));
            let answer = || Answer::error(409, "ConditionalRequestConflict");
            (conditional.is_some() && number <= most).then(|| Fault::Instead(answer()))
        });
    };
    // Each with a content of its own: an equal one would be taken for ours.
    let body = |content: u8| Body::from(vec![content; 10]);
    conflict(1);
    let store = bare(fake.settings());
    let error = store
        .put(Key::from("a"), body(1), if_absent())
        .await
        .expect_err("a conflict");
    assert_eq!(
        error.kind(),
        ErrorKind::Unavailable { retry_after: None },
        "{error}"
    );
    assert_eq!(error.label(), "ConditionalRequestConflict");

    let store = layered(fake.settings());
    conflict(3);
    let stored = store
        .put(Key::from("a"), body(2), if_absent())
        .await
        .expect("alone now");
    assert_eq!(fake.take_log().len(), 4);
    // Who was first is found out by trying again.
    conflict(2);
    let error = store
        .put(Key::from("a"), body(3), if_absent())
        .await
        .expect_err("there");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let replace = |etag: &str| PutOptions {
        condition: Condition::IfMatch(etag.to_owned()),
        ..PutOptions::default()
    };
    let etag = stored.etag.expect("a version");
    conflict(2);
    store
        .put(Key::from("a"), body(4), replace(&etag))
        .await
        .expect("replaced");
    conflict(2);
    let error = store
        .put(Key::from("a"), body(5), replace(&etag))
        .await
        .expect_err("another");
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
    conflict(1);
    let large = Body::from(content(PART + 1));
    let error = store
        .put(Key::from("a"), large, if_absent())
        .await
        .expect_err("there");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(fake.bucket().uploads.is_empty(), "aborted");
    fake.check();
}

#[tokio::test]
async fn services_without_conditions_say_so() {
    let fake = Fake::start().await;
    let store = layered(fake.settings());
    for (status, code) in [(501, "NotImplemented"), (400, "NotImplemented")] {
        fake.when(move |request, _| {
            let conditional = request
                .header("if-none-match")
                .or(request.header("if-match"));
            conditional.map(|_| Fault::Instead(Answer::error(status, code)))
        });
        let put = store.put(Key::from("a"), Body::from(vec![1]), if_absent());
        let error = put.await.expect_err("not there");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(fake.take_log().len(), 1, "asked once");
        let error = store
            .delete_if(Key::from("a"), "\"1\"".into())
            .await
            .expect_err("not there");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

#[tokio::test]
async fn a_service_that_ignores_ranges_is_noticed_and_read_right() {
    let fake = Fake::start().await;
    let store = bare(fake.settings());
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    let put = store.put(
        Key::from("a"),
        content.clone().into(),
        PutOptions::default(),
    );
    put.await.expect("stored");
    assert!(store.reads_parts());

    let all = content.clone();
    fake.when(move |request, _| {
        let whole = || Answer {
            body: all.clone(),
            ..Answer::of(200)
        };
        (request.method == "GET").then(|| Fault::Instead(whole().with("etag", "\"1\"")))
    });
    let object = store.get(Key::from("a"), ByteRange::new(0, 1000)).await;
    let first = object.expect("there").into_bytes().await.expect("readable");
    assert!(first == content[..1000]);
    assert!(!store.reads_parts());
    let object = store.get(Key::from("a"), ByteRange::from(2_500_000)).await;
    let body = object.expect("there").body;
    let chunks: Vec<_> = body.try_collect().await.expect("readable");
    // What was passed over showed itself.
    assert!(chunks.first().is_some_and(Bytes::is_empty));
    assert!(chunks.concat() == content[2_500_000..]);

    fake.when(|_, _| None);
    let object = store.get(Key::from("a"), ByteRange::new(5, 1000)).await;
    let part = object.expect("there").into_bytes().await.expect("readable");
    assert!(part == content[5..1005]);
    assert!(store.reads_parts());
    fake.check();
}
