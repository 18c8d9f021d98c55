//! The requests on the wire: names, headers, signatures, and how many there are.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use litestream_storage::contract::{Abilities, check};
use litestream_storage::{
    Body, ByteRange, Key, ListOptions, ObjectStore as _, PutOptions, S3CustomerKey, S3Encryption,
    S3Settings,
};

use crate::fake::Fake;
use crate::place::{bare, layered};

const TIME: PutOptions = PutOptions {
    timestamp: Some(1_795_321_727_800),
    condition: litestream_storage::Condition::None,
    size_hint: None,
};
const PART: usize = 5 << 20;

fn lines(fake: &Fake) -> Vec<String> {
    fake.take_log()
        .iter()
        .map(crate::fake::Request::line)
        .collect()
}

#[tokio::test]
async fn the_contract_is_kept_and_all_is_signed() {
    let fake = Fake::start().await;
    check(Arc::new(bare(fake.settings())), Abilities::full()).await;
    fake.check();
}

#[tokio::test]
async fn the_contract_is_kept_page_by_page_without_signed_content() {
    let fake = Fake::start().await;
    fake.bucket().page = 3;
    let settings = S3Settings {
        sign_payload: false,
        prefix: "a//b/./".into(),
        ..fake.settings()
    };
    let few = Abilities {
        many: 40,
        ..Abilities::full()
    };
    check(Arc::new(layered(settings)), few).await;
    fake.check();
}

#[tokio::test]
async fn small_objects_are_one_request() {
    let fake = Fake::start().await;
    let store = bare(S3Settings {
        storage_class: Some("STANDARD_IA".into()),
        ..fake.settings()
    });
    let key = Key::from("0000/a b.ltx");
    let put = store.put(key.clone(), Body::from(vec![1; 10]), TIME).await;
    put.expect("stored");
    let log = fake.take_log();
    assert_eq!(log.len(), 1);
    let put = &log[0];
    assert_eq!(put.line(), "PUT /bkt/app/0000/a%20b.ltx?x-id=PutObject");
    for (name, value) in [
        ("x-amz-meta-litestream-timestamp", "2026-11-22T04:28:47.8Z"),
        ("content-type", "application/octet-stream"),
        ("content-length", "10"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ] {
        assert_eq!(put.header(name), Some(value), "{name}");
    }
    let agent = put.header("user-agent").expect("there");
    assert!(agent.starts_with("litestream "), "{agent}");
    for unwanted in [
        "x-amz-checksum-crc32",
        "x-amz-sdk-checksum-algorithm",
        "content-encoding",
    ] {
        assert_eq!(put.header(unwanted), None, "{unwanted}");
    }

    store
        .get(key.clone(), ByteRange::new(2, 3))
        .await
        .expect("there");
    store
        .get(key.clone(), ByteRange::from(2))
        .await
        .expect("there");
    store.head(key.clone()).await.expect("there");
    let log = fake.take_log();
    assert_eq!(log[0].line(), "GET /bkt/app/0000/a%20b.ltx?x-id=GetObject");
    assert_eq!(log[0].header("range"), Some("bytes=2-4"));
    assert_eq!(log[1].header("range"), Some("bytes=2-"));
    assert_eq!(log[2].line(), "HEAD /bkt/app/0000/a%20b.ltx?");
    fake.check();
}

#[tokio::test]
async fn lists_and_deletions_are_as_large_as_may_be() {
    let fake = Fake::start().await;
    let store = bare(fake.settings());
    for name in ["0000/1", "0000/2", "0000/3", "0001/1"] {
        let put = store.put(Key::from(name), Body::from(vec![1]), TIME).await;
        put.expect("stored");
    }
    fake.take_log();
    let options = ListOptions {
        start_after: Some(Key::from("0000/1")),
        timestamps: false,
    };
    let listed: Vec<_> = store
        .list("0000/".into(), options)
        .try_collect()
        .await
        .expect("listed");
    assert_eq!(listed.len(), 2);
    assert_eq!(
        lines(&fake),
        ["GET /bkt?list-type=2&prefix=app%2F0000%2F&start-after=app%2F0000%2F1"]
    );

    let keys: Vec<Key> = (0..1001).map(|at| Key::new(format!("0000/{at}"))).collect();
    let failed = store.delete(keys).await.expect("deleted");
    assert!(failed.is_empty());
    let log = fake.take_log();
    assert_eq!(log.len(), 2, "a thousand at a time");
    let deletion = &log[0];
    assert_eq!(deletion.line(), "POST /bkt/?delete");
    assert!(deletion.header("content-md5").is_some());
    assert!(deletion.header("x-amz-checksum-crc32").is_some());
    fake.check();
}

#[tokio::test]
async fn times_cost_a_request_each() {
    let fake = Fake::start().await;
    let store = bare(fake.settings());
    for name in ["0000/1", "0000/2"] {
        let put = store.put(Key::from(name), Body::from(vec![1]), TIME).await;
        put.expect("stored");
    }
    fake.take_log();
    let cheap: Vec<_> = store
        .list("0000/".into(), ListOptions::default())
        .try_collect()
        .await
        .expect("listed");
    assert_eq!(cheap[0].timestamp, None);
    assert_eq!(fake.take_log().len(), 1);
    let options = ListOptions {
        timestamps: true,
        ..ListOptions::default()
    };
    let exact: Vec<_> = store
        .list("0000/".into(), options)
        .try_collect()
        .await
        .expect("listed");
    assert!(exact.iter().all(|meta| meta.timestamp == TIME.timestamp));
    assert_eq!(fake.take_log().len(), 3);
}

#[tokio::test]
async fn large_objects_go_in_parts_with_all_that_belongs_to_them() {
    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let fake = Fake::start().await;
    let store = bare(S3Settings {
        encryption: S3Encryption::Customer(S3CustomerKey::new("AES256", KEY).expect("a key")),
        storage_class: Some("GLACIER_IR".into()),
        ..fake.settings()
    });
    let content: Vec<u8> = (0..=PART * 2).map(|at| (at % 251) as u8).collect();
    let key = Key::from("large");
    let stored = store
        .put(key.clone(), Body::from(content.clone()), TIME)
        .await;
    assert_eq!(stored.expect("stored").size, content.len() as u64);
    let log = fake.take_log();
    assert_eq!(log.len(), 5, "begin, three parts, complete");
    assert_eq!(log[0].header("x-amz-storage-class"), Some("GLACIER_IR"));
    assert_eq!(
        log[0].header("x-amz-meta-litestream-timestamp"),
        Some("2026-11-22T04:28:47.8Z")
    );
    for request in &log {
        let line = request.line();
        let key_header = "x-amz-server-side-encryption-customer-key";
        assert_eq!(request.header(key_header), Some(KEY), "{line}");
    }
    assert!(fake.bucket().objects["app/large"].content == content);
    assert!(fake.bucket().uploads.is_empty());
    store.get(key.clone(), ByteRange::ALL).await.expect("there");
    store.head(key).await.expect("there");
    let log = fake.take_log();
    assert_eq!(log.len(), 2);
    for (request, method) in log.iter().zip(["GET", "HEAD"]) {
        assert_eq!(request.method, method);
        for (name, value) in [
            ("algorithm", "AES256"),
            ("key", KEY),
            ("key-md5", "hRasmdxgYDKV3nvbahU1MA=="),
        ] {
            let name = format!("x-amz-server-side-encryption-customer-{name}");
            assert_eq!(request.header(&name), Some(value), "{method} {name}");
        }
    }
    // Where no object is touched nobody needs it.
    let listed = store.list(String::new(), ListOptions::default());
    listed.try_collect::<Vec<_>>().await.expect("listed");
    store.delete(vec![Key::from("a")]).await.expect("deleted");
    for request in fake.take_log() {
        let name = "x-amz-server-side-encryption-customer-key";
        assert_eq!(request.header(name), None, "{}", request.line());
    }
    fake.check();
}

#[tokio::test]
async fn the_key_of_the_service_is_named_where_an_upload_begins() {
    let fake = Fake::start().await;
    let store = bare(S3Settings {
        encryption: S3Encryption::Kms("key-id".into()),
        ..fake.settings()
    });
    let body = Body::from(vec![1; PART + 1]);
    store.put(Key::from("a"), body, TIME).await.expect("stored");
    let log = fake.take_log();
    assert_eq!(log.len(), 4, "begin, two parts, complete");
    for (at, request) in log.iter().enumerate() {
        let header = |name: &str| request.header(&format!("x-amz-server-side-encryption{name}"));
        let expected = (at == 0).then_some(("aws:kms", "key-id"));
        let found = header("").zip(header("-aws-kms-key-id"));
        assert_eq!(found, expected, "{}", request.line());
    }
    fake.check();
}

#[tokio::test]
async fn switches_change_the_requests() {
    let fake = Fake::start().await;
    let store = bare(S3Settings {
        sign_payload: false,
        content_md5: false,
        consistent: true,
        encryption: S3Encryption::Kms("key-id".into()),
        ..fake.settings()
    });
    store
        .put(Key::from("a"), Body::from(vec![1]), TIME)
        .await
        .expect("stored");
    store.delete(vec![Key::from("a")]).await.expect("deleted");
    store
        .get(Key::from("a"), ByteRange::ALL)
        .await
        .expect_err("deleted");
    let log = fake.take_log();
    for request in &log {
        let line = request.line();
        assert_eq!(
            request.header("x-amz-content-sha256"),
            Some("UNSIGNED-PAYLOAD"),
            "{line}"
        );
        assert_eq!(
            request.header("x-tigris-consistent"),
            Some("true"),
            "{line}"
        );
        assert_eq!(request.header("content-md5"), None, "{line}");
    }
    assert_eq!(
        log[0].header("x-amz-server-side-encryption"),
        Some("aws:kms")
    );
    let id = log[0].header("x-amz-server-side-encryption-aws-kms-key-id");
    assert_eq!(id, Some("key-id"));
    fake.check();
}

/// Some services alter `Accept-Encoding` on its way: signed, it would spoil the signature there.
#[tokio::test]
async fn accept_encoding_is_signed_or_not_there() {
    let fake = Fake::start().await;
    for (sign_accept_encoding, expected) in [(true, Some("identity")), (false, None)] {
        let store = bare(S3Settings {
            sign_accept_encoding,
            ..fake.settings()
        });
        let key = Key::from("a");
        for body in [vec![1], vec![2; PART + 1]] {
            let put = store.put(key.clone(), Body::from(body), TIME).await;
            put.expect("stored");
        }
        store.head(key.clone()).await.expect("there");
        store.get(key.clone(), ByteRange::ALL).await.expect("there");
        let listed = store.list(String::new(), ListOptions::default());
        listed.try_collect::<Vec<_>>().await.expect("listed");
        store.delete(vec![key]).await.expect("deleted");
        let log = fake.take_log();
        assert!(log.len() >= 9, "{}", log.len());
        for request in log {
            let line = request.line();
            assert_eq!(request.header("accept-encoding"), expected, "{line}");
            let signed = request.header("authorization").expect("signed");
            let names = signed.contains("accept-encoding");
            assert_eq!(names, sign_accept_encoding, "{line}: {signed}");
        }
        fake.check();
    }
}
