//! The contract against real servers.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use litestream_storage::contract::{Abilities, check_without};
use litestream_storage::{
    Body, ByteRange, Condition, ErrorKind, Key, ListOptions, ObjectStore as _, PutOptions,
    S3Settings,
};
use testkit::server::{Moto, RcloneS3, S3_ACCESS_KEY, S3_SECRET_KEY};

use crate::place::{BUCKET, bare, layered, settings};

const MIB: usize = 1 << 20;

/// Listings over one page.
const MANY: Abilities = Abilities {
    many: 1050,
    ..Abilities::full()
};

/// Of requests at the same time moto lets several win, or answers 500.
const RACES: [&str; 3] = [
    "writers_of_one_key",
    "creators_of_one_key",
    "changers_of_one_version",
];

#[tokio::test(flavor = "multi_thread")]
async fn moto_keeps_the_contract() {
    let Some(moto) = Moto::start_or_skip(BUCKET) else {
        return;
    };
    let store = bare(settings(moto.endpoint(), "x", "y"));
    check_without(Arc::new(store), MANY, &RACES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_keeps_the_contract_in_all_layers() {
    let Some(moto) = Moto::start_or_skip(BUCKET) else {
        return;
    };
    let unsigned = S3Settings {
        sign_payload: false,
        content_md5: false,
        prefix: "./".into(),
        ..settings(moto.endpoint(), "x", "y")
    };
    let few = Abilities { many: 20, ..MANY };
    check_without(Arc::new(layered(unsigned)), few, &RACES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_finds_the_signatures_right() {
    let Some(rclone) = RcloneS3::start_or_skip(BUCKET) else {
        return;
    };
    let given = S3Settings {
        // Its answers about uploads in parts have names of their own, which the SDK does not take.
        part_size: 64 << 20,
        ..settings(rclone.endpoint(), S3_ACCESS_KEY, S3_SECRET_KEY)
    };
    // It has no conditions, its file system knows directories, what is replaced while it is read
    // changes for the reader, and of several writers of one key some are told of an internal error.
    let beyond = [
        "odd_keys",
        "if_absent",
        "if_match",
        "delete_if",
        "replaced_while_read",
        "creators_of_one_key",
        "writers_of_one_key",
        "changers_of_one_version",
        "order_and_prefix",
        "lower_bound",
    ];
    let few = Abilities { many: 20, ..MANY };
    check_without(Arc::new(bare(given.clone())), few, &beyond).await;

    let wrong = settings(rclone.endpoint(), S3_ACCESS_KEY, "ANOTHERSECRET");
    let refused = bare(wrong).head(Key::from("object")).await;
    assert_eq!(refused.expect_err("wrong secret").kind(), ErrorKind::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_arrive_whole() {
    let Some(moto) = Moto::start_or_skip(BUCKET) else {
        return;
    };
    let store = bare(settings(moto.endpoint(), "x", "y"));
    for (name, len) in [
        ("equal", 5 * MIB),
        ("more", 5 * MIB + 1),
        ("many", 17 * MIB),
    ] {
        let content: Vec<u8> = (0..len).map(|at| (at / 7 % 251) as u8).collect();
        let chunks: Vec<_> = content
            .chunks(700_001)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        let options = PutOptions {
            timestamp: Some(1_795_321_727_800),
            ..PutOptions::default()
        };
        let key = Key::from(name);
        let body = Body::Stream(stream::iter(chunks).boxed());
        let stored = store.put(key.clone(), body, options).await.expect("stored");
        assert_eq!(stored.size, len as u64);
        let object = store.get(key, ByteRange::ALL).await.expect("there");
        assert_eq!(object.meta.timestamp, Some(1_795_321_727_800), "{name}");
        assert_eq!(object.meta.etag, stored.etag, "{name}");
        let found = object.into_bytes().await.expect("readable");
        assert!(found == content, "{name} differs");
    }
    // Conditions hold for uploads in parts as well.
    let again = PutOptions {
        condition: Condition::IfAbsent,
        ..PutOptions::default()
    };
    let refused = store
        .put(Key::from("many"), Body::from(vec![1; 6 * MIB]), again)
        .await;
    assert_eq!(
        refused.expect_err("exists").kind(),
        ErrorKind::AlreadyExists
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_the_bucket_are_prefix_and_key() {
    let Some(moto) = Moto::start_or_skip(BUCKET) else {
        return;
    };
    let whole = bare(S3Settings {
        prefix: String::new(),
        ..settings(moto.endpoint(), "x", "y")
    });
    for prefix in ["app/", "./", "/", "/lead/trail//", "a//b/../"] {
        let store = bare(S3Settings {
            prefix: prefix.into(),
            ..settings(moto.endpoint(), "x", "y")
        });
        let key = Key::from("0000/name.ltx");
        let stored = store.put(key.clone(), Body::from(vec![7; 3]), PutOptions::default());
        stored.await.expect("stored");
        let listed: Vec<_> = store
            .list(String::new(), ListOptions::default())
            .map_ok(|meta| meta.key)
            .try_collect()
            .await
            .expect("listable");
        assert_eq!(listed, std::slice::from_ref(&key), "{prefix}");
        let name = format!("{prefix}0000/name.ltx");
        let found: Vec<_> = whole
            .list(name.clone(), ListOptions::default())
            .map_ok(|meta| meta.key.to_string())
            .try_collect()
            .await
            .expect("listable");
        assert_eq!(found, [name]);
        assert!(store.delete(vec![key]).await.expect("deletable").is_empty());
    }
}
