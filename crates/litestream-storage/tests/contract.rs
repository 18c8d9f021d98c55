//! Every backend keeps the contract.

use std::sync::Arc;

use litestream_storage::contract::{Abilities, check};
use litestream_storage::{FileModes, FileStore, MemoryStore};

/// Over one page of the file backend's listing, with few enough syncs to be quick.
const FILE: Abilities = Abilities {
    many: 530,
    ..Abilities::full()
};

#[tokio::test]
async fn memory() {
    check(Arc::new(MemoryStore::new()), Abilities::full()).await;
}

#[tokio::test]
async fn memory_with_costly_timestamps() {
    let store = MemoryStore::new().with_costly_timestamps();
    check(Arc::new(store), Abilities::full()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path().join("replica/root");
    check(Arc::new(FileStore::new(root, FileModes::default())), FILE).await;
}
