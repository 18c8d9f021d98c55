//! Fetches the files of a plan, newest first, some of them ahead of time.
//!
//! Small files come whole into memory, with so many requests at a time as the settings allow; a
//! large file is streamed when its turn comes. What waits in memory is bounded.

use std::io::Read;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::stream::{self, StreamExt};
use litestream_storage::ByteRange;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Source, ranges};
use crate::bridge::ChunkReader;
use crate::error::{Error, Result};
use crate::replica::RemoteFile;

/// Files up to this size are fetched ahead: with the default parallelism 4 MiB in all.
const SMALL: u64 = 512 << 10;

/// Files above this size are fetched one after the other, each by several requests at a time where
/// the store can.
const LARGE: u64 = 8 << 20;

/// A file whose bytes are there, or are coming.
pub(crate) struct Fetched {
    pub(super) file: RemoteFile,
    /// What messages call it.
    pub(super) name: String,
    pub(super) bytes: Incoming,
}

/// The bytes of a file.
pub(crate) enum Incoming {
    Whole(bytes::buf::Reader<Bytes>),
    Stream(Box<ChunkReader>),
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Whole(reader) => reader.read(buffer),
            Self::Stream(reader) => reader.read(buffer),
        }
    }
}

/// A file of a plan could not be had, or is not what it must be.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Which one; `None` when it is not about a file.
    pub(crate) file: Option<RemoteFile>,
    pub(crate) error: Error,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { file: None, error }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// The files in the order in which they are applied; ends early when the receiver is dropped.
pub(crate) type Files = mpsc::Receiver<Result<Fetched, Failed>>;

/// Starts fetching; cancelling `stop` ends it early.
pub(crate) fn start(
    source: &Source,
    oldest_first: &[RemoteFile],
    parallelism: usize,
    stop: CancellationToken,
) -> Files {
    let parallelism = parallelism.max(1);
    let (sender, receiver) = mpsc::channel(1);
    let source = Arc::new(source.clone());
    let files: Vec<RemoteFile> = oldest_first.iter().rev().copied().collect();
    let large = Arc::new(Semaphore::new(1));
    tokio::spawn(async move {
        let mut fetched = stream::iter(files)
            .map(|file| {
                let source = Arc::clone(&source);
                let large = Arc::clone(&large);
                async move {
                    let failed = |error| Failed {
                        file: Some(file),
                        error,
                    };
                    fetch(&source, file, large).await.map_err(failed)
                }
            })
            .buffered(parallelism);
        while let Some(Some(file)) = stop.run_until_cancelled(fetched.next()).await {
            let failed = file.is_err();
            if sender.send(file).await.is_err() || failed {
                return;
            }
        }
    });
    receiver
}

async fn fetch(source: &Source, file: RemoteFile, large: Arc<Semaphore>) -> Result<Fetched> {
    let key = source.layout.key(file.level, file.range);
    let name = key.as_str().to_owned();
    if file.size > LARGE {
        // One at a time: the next begins when all of this one has come.
        let turn = large.acquire_owned().await.ok();
        let body = ranges::open(Arc::clone(&source.store), key, turn).await?;
        let bytes = Incoming::Stream(Box::new(ChunkReader::spawn(body)));
        return Ok(Fetched { file, name, bytes });
    }
    let object = source.store.get(key, ByteRange::ALL).await?;
    let bytes = if file.size <= SMALL && object.meta.size <= SMALL {
        Incoming::Whole(object.into_bytes().await?.reader())
    } else {
        Incoming::Stream(Box::new(ChunkReader::spawn(object.body)))
    };
    Ok(Fetched { file, name, bytes })
}

/// What is applied is one file of the plan.
impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
