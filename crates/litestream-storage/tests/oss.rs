//! Alibaba Cloud OSS against a stand-in that verifies signatures.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use litestream_storage::contract::{Abilities, check};
use litestream_storage::{
    Body, ByteRange, ErrorKind, HttpClient, HttpSettings, Key, ListOptions, ObjectStore as _,
    OssSettings, OssStore, PutOptions, RetryPolicy, Retrying,
};
use testkit::server::stand_in::Said;
use testkit::server::{OSS_ACCESS_KEY, OSS_REGION, OSS_SECRET_KEY, OssStandIn};

const ABILITIES: Abilities = Abilities {
    conditional_put: false,
    conditional_delete: false,
    ..Abilities::full()
};

fn settings(endpoint: String, prefix: &str) -> OssSettings {
    OssSettings {
        bucket: "bkt".into(),
        prefix: prefix.into(),
        region: OSS_REGION.into(),
        endpoint,
        access_key: OSS_ACCESS_KEY.into(),
        secret_key: OSS_SECRET_KEY.into(),
        session_token: None,
        part_size: 1 << 20,
        concurrency: 3,
    }
}

fn open(settings: OssSettings) -> OssStore {
    let http = HttpClient::new(HttpSettings::default()).expect("sound settings");
    OssStore::new(settings, http, Retrying::new(quick())).expect("sound settings")
}

/// The usual tries with hardly a wait.
fn quick() -> RetryPolicy {
    RetryPolicy {
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(2),
        ..RetryPolicy::default()
    }
}

fn start(prefix: &str) -> (OssStandIn, OssStore) {
    let server = OssStandIn::start("bkt").expect("loopback");
    let store = open(settings(server.endpoint(), prefix));
    (server, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_keeps_the_contract() {
    let (server, store) = start("app/");
    check(Arc::new(store), ABILITIES).await;
    assert_eq!(server.open_uploads(), 0, "uploads that failed are aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_paths_are_kept() {
    for prefix in ["./", "/", "/lead/trail//", "a b/%2F/"] {
        let (server, store) = start(prefix);
        let key = "0000/x.ltx";
        let put = store.put(key.into(), Body::from(vec![1, 2]), PutOptions::default());
        put.await.expect("storable");
        assert_eq!(server.names(), [format!("{prefix}{key}")]);
        let object = store
            .get(key.into(), ByteRange::ALL)
            .await
            .expect("readable");
        assert_eq!(object.into_bytes().await.expect("readable"), vec![1, 2]);
        store.delete(vec![key.into()]).await.expect("deletable");
        assert!(server.names().is_empty(), "{prefix}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_are_refused() {
    let server = OssStandIn::start("bkt").expect("loopback");
    let store = open(OssSettings {
        secret_key: "wrong".into(),
        ..settings(server.endpoint(), "")
    });
    let error = store.head("key".into()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let put = store.put("key".into(), Body::from(vec![1]), PutOptions::default());
    let error = put.await.expect_err("refused");
    assert_eq!(error.label(), "SignatureDoesNotMatch", "{error}");
    assert!(server.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_says_how_long_to_wait() {
    let (server, store) = start("");
    server.server().misbehave(Some(Box::new(|_| {
        Some(Said::status(503).header("Retry-After", "7"))
    })));
    let error = store.head("key".into()).await.expect_err("overloaded");
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(error.kind(), ErrorKind::Unavailable { retry_after });
    assert!(error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fails_aborts_the_upload() {
    let (server, store) = start("");
    server.server().misbehave(Some(Box::new(|asked| {
        (asked.parameter("partNumber")? == "3").then(|| Said::status(500))
    })));
    let body = Body::from(vec![7; 5 << 20]);
    let put = store.put("key".into(), body, PutOptions::default());
    let error = put.await.expect_err("a part fails");
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains("after 10 tries"), "{error}");
    assert_eq!(server.open_uploads(), 0);
    assert!(server.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_dropped_is_aborted() {
    let (server, store) = start("");
    let (arrived, mut parts) = tokio::sync::mpsc::unbounded_channel();
    server.server().misbehave(Some(Box::new(move |asked| {
        if asked.parameter("partNumber").is_some() || asked.method == "DELETE" {
            arrived.send(asked.method.clone()).expect("listened to");
        }
        None
    })));
    let chunks = stream::iter([Ok(Bytes::from(vec![7; 3 << 20]))]).chain(stream::pending());
    let body = Body::Stream(chunks.boxed());
    let put = store.put("key".into(), body, PutOptions::default());
    tokio::select! {
        done = put => panic!("the source never ends: {done:?}"),
        method = parts.recv() => assert_eq!(method.as_deref(), Some("PUT")),
    }
    let aborted = async { while parts.recv().await.expect("a request") != "DELETE" {} };
    tokio::time::timeout(Duration::from_mins(1), aborted)
        .await
        .expect("aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_download_is_an_error() {
    let (server, store) = start("");
    let body = Body::from(vec![7; 3 << 20]);
    let put = store.put("key".into(), body, PutOptions::default());
    put.await.expect("storable");
    server.server().misbehave(Some(Box::new(|_| {
        let mut said = Said::status(200).with(vec![7; 3 << 20]);
        said.cut_after = Some(2 << 20);
        Some(said)
    })));
    let object = store
        .get("key".into(), ByteRange::ALL)
        .await
        .expect("begins");
    let error = object.into_bytes().await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(error.key().map(Key::as_str), Some("key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_upload_is_noticed() {
    let (server, store) = start("");
    server.server().misbehave(Some(Box::new(|asked| {
        (asked.method == "PUT").then(|| {
            Said::status(200)
                .header("ETag", "\"x\"")
                .header("x-oss-hash-crc64ecma", "1")
        })
    })));
    let put = store.put("key".into(), Body::from(vec![7; 10]), PutOptions::default());
    let error = put.await.expect_err("changed on the way");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_that_do_not_delete_are_told() {
    let (server, store) = start("");
    server.server().misbehave(Some(Box::new(|_| {
        Some(Said::status(200).with("<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>"))
    })));
    let failures = store
        .delete(vec!["a".into(), "b".into()])
        .await
        .expect("answered");
    let keys: Vec<_> = failures.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_objects_take_one_request_and_listings_start_at_their_bound() {
    let (server, store) = start("p/");
    let put = store.put("a".into(), Body::from(vec![1]), PutOptions::default());
    put.await.expect("storable");
    assert_eq!(server.server().asked(), ["PUT /bkt/p/a"]);
    let options = ListOptions {
        start_after: Some("0000/0000000000000005".into()),
        timestamps: false,
    };
    let mut listing = store.list("0000/".into(), options);
    assert!(futures_util::StreamExt::next(&mut listing).await.is_none());
    let asked = server.server().asked();
    let last = asked.last().expect("a listing");
    assert!(
        last.contains("start-after=p%2F0000%2F0000000000000005"),
        "{last}"
    );
}
