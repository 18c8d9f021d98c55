//! The store with its stand-in, as all tests see it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use litestream_storage::contract::Abilities;
use litestream_storage::{
    Body, ByteRange, Error, Key, ListOptions, ObjectMeta, ObjectStore, PutOptions, Result, Retry,
    RetryPolicy, Retrying, SftpSettings, SftpStore, SystemClock,
};

use crate::server::{Offers, PASSWORD, StandIn, USER};

/// Folder of the store.
pub(crate) const ROOT: &str = "deep/root";

/// What the store can do where the server offers all extensions.
pub(crate) const ABILITIES: Abilities = Abilities {
    conditional_put: true,
    if_match: false,
    conditional_delete: false,
    timestamps: false,
    odd_names: true,
    steady_bodies: true,
    many: 530,
};

pub(crate) async fn server() -> StandIn {
    StandIn::start(Offers::ALL).await
}

pub(crate) fn settings(server: &StandIn) -> SftpSettings {
    SftpSettings {
        password: Some(PASSWORD.to_owned()),
        host_key: Some(server.host_key()),
        ..SftpSettings::new(server.address(), USER, ROOT)
    }
}

pub(crate) fn open(settings: SftpSettings) -> SftpStore {
    SftpStore::new(settings, Arc::new(SystemClock::new()))
}

/// A store that tries nothing again.
pub(crate) fn bare(server: &StandIn) -> SftpStore {
    open(settings(server))
}

/// A store in the layer that tries again, with hardly a wait in between.
pub(crate) fn layered(server: &StandIn, tries: u32) -> Retry<SftpStore> {
    let policy = RetryPolicy {
        tries,
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(2),
        // A stream is written by many requests at once, and whole before the answer to the first.
        replay_limit: 16 << 20,
        ..RetryPolicy::default()
    };
    Retry::new(bare(server), Retrying::new(policy))
}

/// Content in which a shifted or repeated piece shows.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

pub(crate) async fn put(
    store: &dyn ObjectStore,
    name: &str,
    body: impl Into<Body>,
) -> Result<ObjectMeta> {
    let body = body.into();
    store
        .put(Key::from(name), body, PutOptions::default())
        .await
}

pub(crate) async fn read(store: &dyn ObjectStore, name: &str) -> Result<Bytes> {
    let object = store.get(Key::from(name), ByteRange::ALL).await?;
    object.into_bytes().await
}

pub(crate) async fn list(store: &dyn ObjectStore) -> Result<Vec<String>> {
    let listing = store.list(String::new(), ListOptions::default());
    let names = listing.map_ok(|meta| meta.key.to_string());
    names.try_collect().await
}

/// The names of the store's files on the server, those that are being written among them.
pub(crate) fn files(server: &StandIn) -> Vec<String> {
    let files = server.files().into_iter();
    let below = files.map(|path| {
        let name = path
            .strip_prefix(ROOT)
            .and_then(|rest| rest.strip_prefix('/'));
        name.unwrap_or_else(|| panic!("outside of the root: {path}"))
            .to_owned()
    });
    below.collect()
}

/// Files that no reader is meant to see.
pub(crate) fn unfinished(server: &StandIn) -> Vec<String> {
    let mut files = files(server);
    files.retain(|name| name.strip_suffix(".tmp").is_some());
    files
}

/// An error with all its causes.
pub(crate) fn chain(error: &Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}
