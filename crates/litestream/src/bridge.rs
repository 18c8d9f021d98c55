//! Joins synchronous readers and writers of bytes with the asynchronous streams of the object
//! store, through channels with a small bound.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use litestream_storage as storage;
use tokio::sync::mpsc;

/// Chunks in flight; with [`CHUNK`] the memory a channel may hold.
const DEPTH: usize = 4;
/// Bytes handed on at once.
const CHUNK: usize = 512 << 10;

/// Reads what a stream brings. Must be used on a thread that may block.
pub(crate) struct ChunkReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl ChunkReader {
    /// The reader, and the task that feeds it from the stream; dropping the reader ends the task.
    pub(crate) fn spawn(mut body: BoxStream<'static, storage::Result<Bytes>>) -> Self {
        let (sender, receiver) = mpsc::channel(DEPTH);
        tokio::spawn(async move {
            while let Some(chunk) = body.next().await {
                let failed = chunk.is_err();
                if sender.send(chunk.map_err(io::Error::other)).await.is_err() || failed {
                    return;
                }
            }
        });
        Self {
            receiver,
            current: Bytes::new(),
        }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current
            .copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Writes into a stream. Must be used on a thread that may block.
pub(crate) struct ChunkWriter {
    sender: mpsc::Sender<storage::Result<Bytes>>,
    buffer: BytesMut,
}

impl ChunkWriter {
    /// The writer and the stream of what is written. A stream whose writer is dropped without
    /// [`Self::finish`] ends with an error, so that nothing half written is taken for whole.
    pub(crate) fn new() -> (Self, BoxStream<'static, storage::Result<Bytes>>) {
        let (sender, receiver) = mpsc::channel(DEPTH);
        let body = stream::unfold(receiver, |mut receiver| async move {
            let chunk = receiver.recv().await?;
            Some((chunk, receiver))
        });
        (
            Self {
                sender,
                buffer: BytesMut::with_capacity(CHUNK),
            },
            body.boxed(),
        )
    }

    fn send(&mut self) -> io::Result<()> {
        let chunk = self.buffer.split().freeze();
        self.buffer.reserve(CHUNK);
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the upload was given up");
        self.sender.blocking_send(Ok(chunk)).map_err(gone)
    }

    /// Sends what is left and ends the stream well.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            Ok(())
        } else {
            self.send()
        }
    }

    /// Ends the stream with an error: nothing of it may be kept.
    pub(crate) fn fail(self, reason: &str) {
        let error = storage::Error::new(storage::ErrorKind::Cancelled, storage::Operation::Put)
            .with_detail(reason.to_owned());
        // The upload may have ended first, with an error of its own.
        let _gone = self.sender.blocking_send(Err(error));
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
