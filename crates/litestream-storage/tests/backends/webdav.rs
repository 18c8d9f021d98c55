//! `WebDAV` against nginx, `WsgiDAV` with each way of logging in, and rclone.

use std::sync::Arc;

use futures_util::StreamExt as _;
use litestream_storage::contract::{Abilities, check};
use litestream_storage::{
    Body, ByteRange, ErrorKind, HttpClient, HttpSettings, Key, ObjectStore, PutOptions, Retry,
    RetryPolicy, Retrying, WebdavSettings, WebdavStore,
};
use testkit::server::{FILES_PASSWORD, FILES_USER, Nginx, RcloneWebdav, Wsgidav, WsgidavLogin};

use crate::{chain, proxy::Proxy};

const ABILITIES: Abilities = Abilities {
    conditional_put: false,
    if_match: false,
    conditional_delete: false,
    timestamps: false,
    // nginx lists no names with a dot in front, and WsgiDAV moves nothing to one with `?`, `#` or `;`.
    odd_names: false,
    steady_bodies: true,
    many: 530,
};

fn settings(url: String, login: bool) -> WebdavSettings {
    WebdavSettings {
        url,
        username: login.then(|| FILES_USER.to_owned()),
        password: login.then(|| FILES_PASSWORD.to_owned()),
        root: "/deep root/%41".to_owned(),
    }
}

fn made(settings: WebdavSettings, client: HttpClient) -> litestream_storage::Result<WebdavStore> {
    WebdavStore::new(settings, client, Retrying::new(RetryPolicy::default()))
}

fn open(settings: WebdavSettings) -> WebdavStore {
    let client = HttpClient::new(HttpSettings::default()).expect("no certificates needed");
    made(settings, client).expect("an address")
}

/// Servers that lock or move in two steps answer so when several calls come at once.
fn retry(store: WebdavStore) -> Retry<WebdavStore> {
    Retry::new(store, Retrying::new(RetryPolicy::default()))
}

async fn works(store: &WebdavStore) {
    let content = vec![5; 100_000];
    let put = store.put(
        Key::from("a/b"),
        content.clone().into(),
        PutOptions::default(),
    );
    assert_eq!(put.await.expect("storable").size, 100_000);
    let object = store.get(Key::from("a/b"), ByteRange::new(1, 5)).await;
    let read = object.expect("there").into_bytes().await.expect("readable");
    assert_eq!(read, content[1..6]);
}

async fn refused(settings: WebdavSettings, kind: ErrorKind, text: &str) {
    let store = open(settings);
    for error in [
        store.head(Key::from("a")).await.expect_err(text),
        store
            .put(Key::from("a"), vec![1].into(), PutOptions::default())
            .await
            .expect_err(text),
    ] {
        let said = chain(&error);
        assert_eq!(error.kind(), kind, "{said}");
        assert!(said.contains(text), "{said:?} lacks {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_keeps_the_contract() {
    let Some(nginx) = Nginx::start_or_skip() else {
        return;
    };
    check(Arc::new(open(settings(nginx.endpoint(), false))), ABILITIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wsgidav_keeps_the_contract() {
    let Some(wsgidav) = Wsgidav::start_or_skip(WsgidavLogin::Anonymous) else {
        return;
    };
    let few = Abilities {
        many: 60,
        ..ABILITIES
    };
    let store = open(settings(wsgidav.endpoint(), false));
    check(Arc::new(retry(store)), few).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_keeps_the_contract() {
    let Some(rclone) = RcloneWebdav::start_or_skip() else {
        return;
    };
    // It opens files again while it sends them.
    let unsteady = Abilities {
        steady_bodies: false,
        ..ABILITIES
    };
    let store = open(settings(rclone.endpoint(), true));
    check(Arc::new(retry(store)), unsteady).await;
    let wrong = WebdavSettings {
        password: Some("wrong".to_owned()),
        ..settings(rclone.endpoint(), true)
    };
    refused(wrong, ErrorKind::Denied, "401").await;
    refused(settings(rclone.endpoint(), false), ErrorKind::Denied, "401").await;
}

#[tokio::test]
async fn both_ways_of_logging_in() {
    for login in [WsgidavLogin::Basic, WsgidavLogin::Digest] {
        let Some(wsgidav) = Wsgidav::start_or_skip(login) else {
            return;
        };
        let right = settings(wsgidav.endpoint(), true);
        assert!(!format!("{:?}", open(right.clone())).contains(FILES_PASSWORD));
        works(&open(right.clone())).await;
        let wrong = WebdavSettings {
            password: Some("wrong".to_owned()),
            ..right
        };
        refused(wrong, ErrorKind::Denied, "401").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_loses_nothing() {
    let Some(nginx) = Nginx::start_or_skip() else {
        return;
    };
    let proxy = Proxy::start(nginx.endpoint().replace("http://", "")).await;
    let store = open(settings(format!("http://{}", proxy.address()), false));
    let retry = retry(store.clone());
    let key = Key::from("dir/object");
    let content: Vec<u8> = (0..5_000_000_u32).map(|at| (at / 7) as u8).collect();
    let put = store.put(key.clone(), content.clone().into(), PutOptions::default());
    put.await.expect("storable");

    proxy.cut_down_after(1_000_000);
    let object = store.get(key.clone(), ByteRange::ALL).await.expect("there");
    let error = object.into_bytes().await.expect_err("it was cut");
    assert!(error.is_retryable(), "{error}");
    proxy.cut_down_after(1_000_000);
    let object = retry.get(key.clone(), ByteRange::ALL).await.expect("there");
    assert!(object.into_bytes().await.expect("goes on") == content);

    proxy.cut_up_after(1_000_000);
    let put = store.put(
        key.clone(),
        vec![1; 5_000_000].into(),
        PutOptions::default(),
    );
    let error = put.await.expect_err("it was cut");
    assert!(error.is_retryable(), "{error}");
    let object = store.get(key.clone(), ByteRange::ALL).await.expect("there");
    assert!(object.into_bytes().await.expect("readable") == content);
    // A stream is staged, so it can be sent again even by the store itself.
    let body = futures_util::stream::iter((0..3).map(|_| Ok(vec![2; 3_000_000].into())));
    let put = store.put(
        key.clone(),
        Body::Stream(body.boxed()),
        PutOptions::default(),
    );
    assert_eq!(put.await.expect("storable").size, 9_000_000);
    let head = store.head(key).await.expect("there");
    assert_eq!(head.size, 9_000_000);
}

#[tokio::test]
async fn no_server_is_unavailable_and_no_address_is_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let kind = ErrorKind::Unavailable { retry_after: None };
    refused(
        settings(format!("http://{address}"), false),
        kind,
        "127.0.0.1",
    )
    .await;
    let client = HttpClient::new(HttpSettings::default()).expect("no certificates needed");
    for url in [
        "",
        "host",
        "ftp://host",
        "/path",
        "http://",
        "http://user:pw@host",
    ] {
        let made = made(settings(url.to_owned(), false), client.clone());
        assert_eq!(made.expect_err(url).kind(), ErrorKind::Invalid, "{url}");
    }
}
