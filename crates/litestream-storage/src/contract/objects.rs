//! Single objects: what is put is what is got.

use bytes::Bytes;

use super::{Case, pattern};
use crate::{Body, ByteRange, ListOptions, PutOptions};

pub(super) async fn put_get_head(case: &Case) {
    let content = pattern(10_000);
    let put = case.put("dir/object", content.clone()).await;
    assert_eq!(put.key, case.key("dir/object"));
    assert_eq!(put.size, 10_000);

    let object = case.store.get(case.key("dir/object"), ByteRange::ALL);
    let object = object.await.expect("it was just put");
    assert_eq!(object.meta.key, put.key);
    assert_eq!(object.meta.size, put.size);
    assert_eq!(object.meta.etag, put.etag);
    assert_eq!(object.into_bytes().await.expect("readable"), content);

    let head = case.head("dir/object").await;
    assert_eq!((head.size, &head.etag), (put.size, &put.etag));
    let listed = case.list_with("dir/", ListOptions::default()).await;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].size, &listed[0].etag), (put.size, &put.etag));
}

pub(super) async fn missing_objects(case: &Case) {
    case.absent("nothing").await;
    case.absent("no/such/place").await;
    case.put("dir/object", vec![1]).await;
    // Neither a directory nor a name below an object is an object.
    case.absent("dir").await;
    case.absent("dir/object/below").await;
}

pub(super) async fn ranges(case: &Case) {
    const SIZE: u64 = 3_000_001;
    let content = pattern(SIZE as usize);
    case.put("object", content.clone()).await;
    let ranges = [
        ByteRange::ALL,
        ByteRange::from(1),
        ByteRange::from(SIZE - 1),
        ByteRange::from(SIZE),
        ByteRange::from(SIZE + 100),
        ByteRange::new(0, 1),
        ByteRange::new(0, 100),
        ByteRange::new(1_048_575, 2),
        ByteRange::new(1_048_576, 1_048_576),
        ByteRange::new(5, SIZE),
        ByteRange::new(SIZE - 100, 100),
        ByteRange::new(SIZE - 100, 101),
        ByteRange::new(SIZE, 1),
        ByteRange::new(SIZE + 1, 5),
        ByteRange::new(7, u64::MAX),
        ByteRange::new(u64::MAX, u64::MAX),
        ByteRange::new(0, 0),
        ByteRange::new(10, 0),
    ];
    for range in ranges {
        let object = case.store.get(case.key("object"), range).await;
        let object = object.unwrap_or_else(|error| case.fail("object", &error));
        assert_eq!(
            object.meta.size, SIZE,
            "{range:?}: size of the whole object"
        );
        let found = object.into_bytes().await.expect("readable");
        let start = range.offset.min(SIZE) as usize;
        let end = start + range.len_in(SIZE) as usize;
        assert!(
            found == content[start..end],
            "{range:?}: {} bytes",
            found.len()
        );
    }
}

pub(super) async fn empty_object(case: &Case) {
    let streams = [
        ("bytes", Body::Bytes(Bytes::new())),
        (
            "stream",
            Body::Stream(Box::pin(futures_util::stream::empty())),
        ),
    ];
    for (name, body) in streams {
        assert_eq!(case.put(name, body).await.size, 0);
        assert_eq!(case.head(name).await.size, 0);
        for range in [ByteRange::ALL, ByteRange::from(1), ByteRange::new(0, 10)] {
            assert!(case.get(name, range).await.is_empty());
        }
    }
    assert_eq!(case.list("", None).await, ["bytes", "stream"]);
}

pub(super) async fn overwrite(case: &Case) {
    let first = case.put("object", pattern(5000)).await;
    let second = case.put("object", vec![7; 20]).await;
    assert_eq!(case.get("object", ByteRange::ALL).await, vec![7; 20]);
    assert_eq!(case.head("object").await.size, 20);
    if first.etag.is_some() {
        assert_ne!(first.etag, second.etag, "etag after an overwrite");
    }
    assert_eq!(case.list("", None).await, ["object"]);
}

pub(super) async fn delete(case: &Case) {
    for name in ["a", "b", "c/d"] {
        case.put(name, vec![1]).await;
    }
    let keys = vec![
        case.key("a"),
        case.key("missing"),
        case.key("c/d"),
        case.key("c/e/f"),
    ];
    let failures = case.store.delete(keys.clone()).await.expect("deletable");
    assert!(failures.is_empty(), "{failures:?}");
    case.absent("a").await;
    case.absent("c/d").await;
    assert_eq!(case.list("", None).await, ["b"]);
    // Again: all of them are missing now.
    let failures = case.store.delete(keys).await.expect("deletable");
    assert!(failures.is_empty(), "{failures:?}");
    let failures = case.store.delete(Vec::new()).await.expect("nothing to do");
    assert!(failures.is_empty(), "{failures:?}");
    case.put("a", vec![2, 2]).await;
    assert_eq!(case.get("a", ByteRange::ALL).await, vec![2, 2]);
}

pub(super) async fn timestamps(case: &Case) {
    let times = [
        1_763_785_727_800,
        1_763_785_727_001,
        1_763_785_727_999,
        1_763_785_728_000,
        1,
    ];
    for (number, time) in times.into_iter().enumerate() {
        let expected = case.abilities.timestamps.then_some(time);
        // The last one replaces the first, with a new timestamp.
        let name = format!("object-{}", number % 4);
        let options = PutOptions {
            timestamp: Some(time),
            ..PutOptions::default()
        };
        let put = case.put_with(&name, vec![1; number], options).await;
        assert_eq!(put.expect("storable").timestamp, expected);
        assert_eq!(case.head(&name).await.timestamp, expected);
        let object = case
            .store
            .get(case.key(&name), ByteRange::ALL)
            .await
            .expect("readable");
        assert_eq!(object.meta.timestamp, expected);
        let listed = case.list_with(
            &name,
            ListOptions {
                start_after: None,
                timestamps: true,
            },
        );
        assert_eq!(listed.await[0].timestamp, expected);
    }
    // Not asked for, it may be missing, but never wrong.
    for meta in case.list_with("", ListOptions::default()).await {
        if let Some(time) = meta.timestamp {
            assert!(times.contains(&time), "{meta:?}");
        }
    }
    case.put("without", vec![1]).await;
    let head = case.head("without").await;
    assert!(
        head.modified > 1_700_000_000_000 || head.modified == 0,
        "{head:?}"
    );
}

pub(super) async fn odd_keys(case: &Case) {
    let long = "n".repeat(200);
    let mut names = vec![
        "space in name",
        "percent%2Fencoded%",
        "plus+and&and=and?and#",
        "quote'double\"back\\slash",
        "colon:semi;comma,at@dollar$",
        "tilde~star*(paren)[bracket]{brace}|<angle>^`!",
        "\u{e9}\u{4e2d}\u{1f600}",
        "..dots..",
        ".hidden",
        "-dash",
        "upper/UPPER",
        "deep/er/and/deep/er/still",
        &long,
    ];
    if !case.abilities.odd_names {
        names.retain(|name| !name.starts_with('.') && !name.contains(['?', '#', ';']));
    }
    for name in &names {
        case.put(name, name.as_bytes().to_vec()).await;
    }
    names.sort_unstable();
    assert_eq!(case.list("", None).await, names);
    for name in &names {
        assert_eq!(
            case.get(name, ByteRange::ALL).await,
            name.as_bytes(),
            "{name}"
        );
        assert_eq!(case.list(name, None).await, [*name]);
    }
    let keys = names.iter().map(|name| case.key(name)).collect();
    let failures = case.store.delete(keys).await.expect("deletable");
    assert!(failures.is_empty(), "{failures:?}");
    assert!(case.list("", None).await.is_empty());
}

pub(super) async fn nothing_before_poll(case: &Case) {
    drop(case.store.put(
        case.key("object"),
        Body::from(vec![1]),
        PutOptions::default(),
    ));
    case.absent("object").await;
    case.put("object", vec![1]).await;
    drop(case.store.delete(vec![case.key("object")]));
    assert_eq!(case.get("object", ByteRange::ALL).await, vec![1]);
}
