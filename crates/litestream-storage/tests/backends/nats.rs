//! NATS object stores against nats-server.

mod faults;
mod login;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use litestream_storage::contract::{Abilities, check};
use litestream_storage::{
    Body, ByteRange, Error, ErrorKind, Key, ListOptions, NatsLogin, NatsSettings, NatsStore,
    ObjectStore, PutOptions, Retry, RetryPolicy, Retrying,
};
use testkit::server::Nats;

use crate::{chain, proxy::Proxy};

const BUCKET: &str = "bkt";

fn start() -> Option<Nats> {
    let nats = Nats::start_or_skip()?;
    nats.create_bucket(BUCKET, "").expect("bucket");
    Some(nats)
}

fn open(nats: &Nats) -> NatsStore {
    NatsStore::new(NatsSettings::new(nats.url(), BUCKET))
}

async fn error_of(settings: NatsSettings) -> Error {
    let store = NatsStore::new(settings);
    store.head(Key::from("a")).await.expect_err("no way in")
}

async fn refused(settings: NatsSettings, kind: ErrorKind, text: &str) {
    let error = error_of(settings).await;
    let said = chain(&error);
    assert_eq!(error.kind(), kind, "{said}");
    assert!(said.contains(text), "{said:?} lacks {text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_keeps_the_contract() {
    let Some(nats) = start() else { return };
    check(Arc::new(open(&nats)), Abilities::full()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_keeps_stores_apart() {
    let Some(nats) = start() else { return };
    let with = |path: &str| {
        NatsStore::new(NatsSettings {
            path: path.to_owned(),
            ..NatsSettings::new(nats.url(), BUCKET)
        })
    };
    let (a, ab, all) = (with("a"), with("/ab/"), with(""));
    for store in [&a, &ab] {
        let put = store.put(Key::from("x"), vec![1].into(), PutOptions::default());
        put.await.expect("storable");
    }
    assert_eq!(listed(&a).await, ["x"]);
    assert_eq!(listed(&ab).await, ["x"]);
    assert_eq!(listed(&all).await, ["a/x", "ab/x"]);
}

async fn listed(store: &NatsStore) -> Vec<String> {
    let metas = store.list(String::new(), ListOptions::default());
    metas
        .map(|meta| meta.expect("listable").key.to_string())
        .collect()
        .await
}

#[tokio::test]
async fn a_missing_bucket_is_never_made() {
    let Some(nats) = Nats::start_or_skip() else {
        return;
    };
    let settings = NatsSettings::new(nats.url(), BUCKET);
    refused(settings.clone(), ErrorKind::Invalid, "create it first").await;
    let store = NatsStore::new(settings);
    let put = store.put(Key::from("a"), vec![1].into(), PutOptions::default());
    assert_eq!(put.await.expect_err("no bucket").kind(), ErrorKind::Invalid);
    // Once it is there, the same store works.
    nats.create_bucket(BUCKET, "").expect("bucket");
    let put = store.put(Key::from("a"), vec![1].into(), PutOptions::default());
    put.await.expect("storable");
}

#[tokio::test]
async fn users_and_tokens_are_checked() {
    let more = r#"authorization { users: [ { user: "u", password: "p w" } ] }"#;
    let Some(nats) = Nats::start_with_or_skip(more) else {
        return;
    };
    nats.create_bucket(BUCKET, r#""user":"u","pass":"p w""#)
        .expect("bucket");
    let with = |login| NatsSettings {
        login,
        ..NatsSettings::new(nats.url(), BUCKET)
    };
    let user = |password: &str| NatsLogin::User {
        name: "u".to_owned(),
        password: password.to_owned(),
    };
    works(with(user("p w"))).await;
    assert!(!format!("{:?}", with(user("p w"))).contains("p w"));
    refused(with(user("wrong")), ErrorKind::Denied, "authorization").await;
    refused(with(NatsLogin::None), ErrorKind::Denied, "authorization").await;

    let Some(nats) = Nats::start_with_or_skip(r#"authorization { token: "t0" }"#) else {
        return;
    };
    nats.create_bucket(BUCKET, r#""auth_token":"t0""#)
        .expect("bucket");
    let with = |token: &str| NatsSettings {
        login: NatsLogin::Token(token.to_owned()),
        ..NatsSettings::new(nats.url(), BUCKET)
    };
    works(with("t0")).await;
    refused(with("t1"), ErrorKind::Denied, "authorization").await;
}

/// A user key pair made for this test; it opens nothing anywhere else.
const NKEY: (&str, &str) = (
    "SUAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6IC5CQ",
    "UB43KVROR7TFJ6KAPCYRF2FJROTZAH4FHLTJLPWX4DRZCC5NASLGJBFE",
);

#[tokio::test]
async fn nkeys_are_checked() {
    let more = format!(
        "authorization {{ users: [ {{ nkey: {} }}, {{ user: u, password: p }} ] }}",
        NKEY.1
    );
    let Some(nats) = Nats::start_with_or_skip(&more) else {
        return;
    };
    nats.create_bucket(BUCKET, r#""user":"u","pass":"p""#)
        .expect("bucket");
    let with = |seed: &str| NatsSettings {
        login: NatsLogin::Nkey(seed.to_owned()),
        ..NatsSettings::new(nats.url(), BUCKET)
    };
    works(with(NKEY.0)).await;
    refused(
        with("SUnonsense"),
        ErrorKind::Invalid,
        "nkey is not the seed",
    )
    .await;
    let other = nkeys::KeyPair::new_user().seed().expect("has one");
    refused(with(&other), ErrorKind::Denied, "authorization").await;
}

#[tokio::test]
async fn missing_files_are_named() {
    let Some(nats) = start() else { return };
    let settings = NatsSettings {
        login: NatsLogin::Credentials(PathBuf::from("no/such/file")),
        ..NatsSettings::new(nats.url(), BUCKET)
    };
    refused(settings, ErrorKind::Invalid, "no/such/file").await;
}

async fn works(settings: NatsSettings) {
    let store = NatsStore::new(settings);
    let put = store.put(Key::from("a"), vec![1; 10].into(), PutOptions::default());
    put.await.expect("storable");
    assert_eq!(store.head(Key::from("a")).await.expect("there").size, 10);
}

#[tokio::test]
async fn no_server_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let settings = NatsSettings::new(format!("nats://{address}"), BUCKET);
    let kind = ErrorKind::Unavailable { retry_after: None };
    refused(settings, kind, &address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_loses_nothing() {
    let Some(nats) = start() else { return };
    let proxy = Proxy::start(nats.address()).await;
    let store = NatsStore::new(NatsSettings {
        reconnect_wait: Duration::from_millis(1),
        timeout: Duration::from_secs(2),
        ..NatsSettings::new(format!("nats://{}", proxy.address()), BUCKET)
    });
    let retry = Retry::new(store.clone(), Retrying::new(RetryPolicy::default()));
    let key = Key::from("dir/object");
    let content: Vec<u8> = (0..5_000_000_u32).map(|at| (at / 7) as u8).collect();
    proxy.cut_up_after(1_000_000);
    let put = retry.put(key.clone(), content.clone().into(), PutOptions::default());
    put.await.expect("tried again");
    proxy.cut_down_after(1_000_000);
    let object = retry.get(key.clone(), ByteRange::ALL).await.expect("there");
    assert!(object.into_bytes().await.expect("goes on") == content);
    assert!(proxy.connections() >= 3, "{}", proxy.connections());
}

#[tokio::test]
async fn a_full_bucket_says_so() {
    let Some(nats) = Nats::start_with_or_skip("") else {
        return;
    };
    nats.create_limited_bucket(BUCKET, "", 1_000_000)
        .expect("bucket");
    let store = open(&nats);
    let put = store.put(
        Key::from("a"),
        Body::from(vec![1; 3_000_000]),
        PutOptions::default(),
    );
    let error: Error = put.await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    let missing = store.head(Key::from("a")).await;
    assert_eq!(missing.expect_err("not there").kind(), ErrorKind::NotFound);
}
