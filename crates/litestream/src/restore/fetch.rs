//! Fetches the files of a plan, newest first, some of them ahead of time.
//!
//! Small files come whole into memory, with so many requests at a time as the settings allow; a
//! large file is streamed when its turn comes. What waits in memory is bounded.

use std::io::Read;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::stream::{self, StreamExt};
use litestream_storage::ByteRange;
use tokio::sync::mpsc;

use super::Source;
use super::plan::RestorePlan;
use crate::bridge::ChunkReader;
use crate::error::Result;
use crate::replica::RemoteFile;

/// Files up to this size are fetched ahead: with the default parallelism 4 MiB in all.
const SMALL: u64 = 512 << 10;

/// A file whose bytes are there, or are coming.
pub(super) struct Fetched {
    pub(super) file: RemoteFile,
    /// What messages call it.
    pub(super) name: String,
    pub(super) bytes: Incoming,
}

/// The bytes of a file.
pub(super) enum Incoming {
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

/// The files in the order in which they are applied; ends early when the receiver is dropped.
pub(super) type Files = mpsc::Receiver<Result<Fetched>>;

/// Starts fetching.
pub(super) fn start(source: &Source, plan: &RestorePlan, parallelism: usize) -> Files {
    let parallelism = parallelism.max(1);
    let (sender, receiver) = mpsc::channel(1);
    let source = Arc::new(source.clone());
    let files: Vec<RemoteFile> = plan.files().iter().rev().copied().collect();
    tokio::spawn(async move {
        let mut fetched = stream::iter(files)
            .map(|file| {
                let source = Arc::clone(&source);
                async move { fetch(&source, file).await }
            })
            .buffered(parallelism);
        while let Some(file) = fetched.next().await {
            let failed = file.is_err();
            if sender.send(file).await.is_err() || failed {
                return;
            }
        }
    });
    receiver
}

async fn fetch(source: &Source, file: RemoteFile) -> Result<Fetched> {
    let key = source.layout.key(file.level, file.range);
    let name = key.as_str().to_owned();
    let object = source.store.get(key, ByteRange::ALL).await?;
    let bytes = if file.size <= SMALL && object.meta.size <= SMALL {
        Incoming::Whole(object.into_bytes().await?.reader())
    } else {
        Incoming::Stream(Box::new(ChunkReader::spawn(object.body)))
    };
    Ok(Fetched { file, name, bytes })
}
