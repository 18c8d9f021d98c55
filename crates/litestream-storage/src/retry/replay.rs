//! A stream that can be sent again as long as little of it has been read.
//!
//! Invariant: the source is polled once for each chunk. A reader of an earlier try, which a
//! connection may still hold, gets an error and no chunk that belongs to a later one.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use crate::{Error, ErrorKind, Operation, Result};

pub(super) struct Replay {
    recording: Arc<Mutex<Recording>>,
}

struct Recording {
    source: BoxStream<'static, Result<Bytes>>,
    /// What was read so far, as long as it is within the limit.
    kept: Vec<Bytes>,
    /// Bytes read so far, kept or not.
    size: usize,
    limit: usize,
    /// More was read than is kept, or the source failed: there is no second try.
    incomplete: bool,
    ended: bool,
    /// Counts tries.
    reader: u64,
    /// Counts polls by the store.
    polls: u64,
    /// Whether the last poll found the source not ready.
    source_waits: bool,
}

impl Replay {
    pub(super) fn new(source: BoxStream<'static, Result<Bytes>>, limit: usize) -> Self {
        let recording = Recording {
            source,
            kept: Vec::new(),
            size: 0,
            limit,
            incomplete: false,
            ended: false,
            reader: 0,
            polls: 0,
            source_waits: false,
        };
        Self {
            recording: Arc::new(Mutex::new(recording)),
        }
    }

    /// Whether everything read so far is kept.
    pub(super) fn is_complete(&self) -> bool {
        !lock(&self.recording).incomplete
    }

    /// Polls by the store so far, and whether the source keeps it waiting.
    pub(super) fn progress(&self) -> (u64, bool) {
        let recording = lock(&self.recording);
        (recording.polls, recording.source_waits)
    }

    /// Bytes that the source has given so far, in whichever try.
    pub(super) fn taken(&self) -> u64 {
        lock(&self.recording).size as u64
    }

    /// The whole stream, from its beginning. Ends all streams given out before.
    pub(super) fn stream(&self) -> BoxStream<'static, Result<Bytes>> {
        let recording = Arc::clone(&self.recording);
        let reader = {
            let mut recording = lock(&recording);
            recording.reader += 1;
            recording.reader
        };
        let mut at = 0;
        stream::poll_fn(move |context| {
            let mut recording = lock(&recording);
            recording.polls += 1;
            if recording.reader != reader {
                let error = Error::new(ErrorKind::Cancelled, Operation::Put);
                return Poll::Ready(Some(Err(error.with_detail("another try has begun"))));
            }
            if let Some(chunk) = recording.kept.get(at) {
                at += 1;
                return Poll::Ready(Some(Ok(chunk.clone())));
            }
            if recording.ended {
                return Poll::Ready(None);
            }
            let polled = recording.source.poll_next_unpin(context);
            recording.source_waits = polled.is_pending();
            if let Poll::Ready(item) = &polled {
                recording.take(item.as_ref());
                at += 1;
            }
            polled
        })
        .boxed()
    }
}

impl Recording {
    fn take(&mut self, item: Option<&Result<Bytes>>) {
        match item {
            Some(Ok(chunk)) => {
                self.size += chunk.len();
                if self.size > self.limit {
                    self.incomplete = true;
                    self.kept = Vec::new();
                } else if !self.incomplete {
                    self.kept.push(chunk.clone());
                }
            }
            Some(Err(_)) => {
                self.incomplete = true;
                self.ended = true;
            }
            None => self.ended = true,
        }
    }
}

fn lock(recording: &Mutex<Recording>) -> MutexGuard<'_, Recording> {
    recording
        .lock()
        .expect("a source that panics ends the put with it")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

    use super::Replay;
    use crate::ErrorKind;

    #[test]
    fn a_reader_of_an_earlier_try_gets_nothing_more() {
        let chunks = ["a", "b", "c"].map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())));
        let replay = Replay::new(stream::iter(chunks).boxed(), 10);
        let mut first = replay.stream();
        let chunk = first
            .try_next()
            .now_or_never()
            .expect("ready")
            .expect("readable");
        assert_eq!(chunk.expect("data"), "a");

        let second = replay.stream();
        let error = first
            .try_next()
            .now_or_never()
            .expect("ready")
            .expect_err("outdated");
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        let all: Vec<_> = second
            .try_collect()
            .now_or_never()
            .expect("ready")
            .expect("readable");
        assert_eq!(all.concat(), b"abc");
        assert!(replay.is_complete());
    }
}
