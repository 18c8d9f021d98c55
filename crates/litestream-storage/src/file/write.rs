//! Put and delete.
//!
//! Invariant: whatever way a put ends, by error or by its caller going away, its temporary file is
//! removed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::stage::Staged;
use super::steps::{FileStep, fail};
use super::{FileStore, KIND, Shared, path, version};
use crate::{Body, CHUNK_SIZE, Error, Key, ObjectMeta, Operation, PutOptions, Result, blocking};

pub(super) async fn put(
    store: &FileStore,
    key: Key,
    body: Body,
    options: PutOptions,
) -> Result<ObjectMeta> {
    let shared = Arc::clone(&store.shared);
    let stored = match body {
        Body::Bytes(bytes) => put_bytes(shared, key.clone(), bytes, options).await,
        Body::File { path, size } => put_file(shared, key.clone(), path, size, options).await,
        Body::Stream(stream) => put_stream(shared, key.clone(), stream, options).await,
    };
    stored.map_err(|error| error.with_backend(KIND).with_key(&key))
}

async fn put_bytes(
    shared: Arc<Shared>,
    key: Key,
    bytes: Bytes,
    options: PutOptions,
) -> Result<ObjectMeta> {
    let lane = shared.lane.clone();
    blocking::run_in(&lane, Operation::Put, move || {
        let mut staged = Staged::create(&shared, &key)?;
        staged.write(&[bytes])?;
        staged.publish(&key, &options)
    })
    .await
}

async fn put_file(
    shared: Arc<Shared>,
    key: Key,
    path: PathBuf,
    size: u64,
    options: PutOptions,
) -> Result<ObjectMeta> {
    let abandoned = Abandoned::default();
    let flag = Arc::clone(&abandoned.0);
    let lane = shared.lane.clone();
    blocking::run_in(&lane, Operation::Put, move || {
        let mut staged = Staged::create(&shared, &key)?;
        staged.copy(&path, size, &flag)?;
        staged.publish(&key, &options)
    })
    .await
}

/// Tells the blocking work that its caller is gone.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One hop per [`CHUNK_SIZE`] of the stream; a stream shorter than that is stored in one.
async fn put_stream(
    shared: Arc<Shared>,
    key: Key,
    mut stream: BoxStream<'static, Result<Bytes>>,
    options: PutOptions,
) -> Result<ObjectMeta> {
    let lane = shared.lane.clone();
    let mut staged: Option<Staged> = None;
    loop {
        let mut batch = Vec::new();
        let mut size = 0;
        let mut broken = None;
        while size < CHUNK_SIZE {
            match stream.next().await {
                Some(Ok(chunk)) => {
                    size += chunk.len();
                    batch.push(chunk);
                }
                Some(Err(error)) => {
                    broken = Some(error);
                    break;
                }
                None => break,
            }
        }
        let ended = size < CHUNK_SIZE;
        let (shared, key, options) = (Arc::clone(&shared), key.clone(), options.clone());
        let step = blocking::run_in(&lane, Operation::Put, move || {
            if let Some(error) = broken {
                drop(staged);
                return Err(error);
            }
            let mut staged = match staged {
                Some(staged) => staged,
                None => Staged::create(&shared, &key)?,
            };
            staged.write(&batch)?;
            if ended {
                staged.publish(&key, &options).map(Step::Stored)
            } else {
                Ok(Step::More(staged))
            }
        });
        match step.await? {
            Step::Stored(meta) => return Ok(meta),
            Step::More(more) => staged = Some(more),
        }
    }
}

enum Step {
    Stored(ObjectMeta),
    More(Staged),
}

/// One hop for all keys.
pub(super) async fn delete(store: &FileStore, keys: Vec<Key>) -> Result<Vec<(Key, Error)>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let shared = Arc::clone(&store.shared);
    let work = move || {
        let mut failures = Vec::new();
        for key in keys {
            if let Err(error) = remove(&shared, &key) {
                let error = error.with_backend(KIND).with_key(&key);
                failures.push((key, error));
            }
        }
        Ok(failures)
    };
    blocking::run_in(&store.shared.lane, Operation::Delete, work)
        .await
        .map_err(|error| error.with_backend(KIND))
}

pub(super) async fn delete_if(store: &FileStore, key: Key, etag: String) -> Result<()> {
    let name = key.clone();
    store
        .run(Operation::Delete, &key, move |shared| {
            let target = path::object(&shared.root, name.as_str(), Operation::Delete)?;
            path::refuse_links(&shared.root, &target, Operation::Delete)?;
            version::while_version(Operation::Delete, &target, &etag, || remove(shared, &name))
        })
        .await
}

fn remove(shared: &Shared, key: &Key) -> Result<()> {
    let target = path::object(&shared.root, key.as_str(), Operation::Delete)?;
    path::refuse_links(&shared.root, &target, Operation::Delete)?;
    match shared.step(FileStep::Remove, &target, || fs::remove_file(&target)) {
        Err(error) if !path::is_missing(&error) => {
            fail(Operation::Delete, FileStep::Remove, &target, error)
        }
        _ => Ok(()),
    }
}
