//! Local level-0 files on their way to the replica, verified on that way.
//!
//! Invariant: what a store has accepted is byte for byte what has been verified. A small file is verified
//! in memory and sent from there, if there is room. Another one is verified first; while it is sent, its bytes are
//! compared with those that were verified, and the put fails before its end if they are others.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use litestream_storage::{self as storage, Body};
use ltx::Txid;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Error, ErrorKind, Result};
use crate::local::{Ends, LocalDir};

/// Largest file that is sent from memory, and largest base that level 0 takes.
const SMALL: u64 = 512 << 10;
/// KiB of files in memory on their way to all replicas: where many databases start at the same time, those
/// beyond it are read twice instead.
static IN_MEMORY: Semaphore = Semaphore::const_new(16 << 10);

/// A level-0 file that is sound.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) ends: Ends,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// With its part of [`IN_MEMORY`].
    Whole(
        Bytes,
        #[expect(dead_code, reason = "held")] Arc<SemaphorePermit<'static>>,
    ),
    Large {
        path: PathBuf,
        digest: u64,
    },
}

impl Checked {
    /// Reads and verifies the file of a transaction.
    ///
    /// # Errors
    /// [`Error::LtxDamaged`] and [`Error::LtxMissing`]: nothing may be put of it.
    ///
    /// # Cost
    /// Decompresses the pages. A large file, or one for which there is no room in memory, is read once more
    /// when it is sent, mostly from the system's cache.
    pub(super) async fn read(local: &LocalDir, txid: Txid) -> Result<Self> {
        let path = local.file(txid);
        local.pool().run(move || verify(&path, txid)).await
    }

    /// Whether it is no larger than what level 0 takes of a base.
    pub(super) fn is_small(&self) -> bool {
        self.ends.size <= SMALL
    }

    /// What is to be put; may be asked for more than once.
    pub(super) fn body(&self) -> Body {
        match &self.content {
            Content::Whole(bytes, _) => Body::Bytes(bytes.clone()),
            Content::Large { path, digest } => {
                let (path, size) = (path.clone(), self.ends.size);
                Body::Stream(compared(Body::File { path, size }.into_stream(), *digest))
            }
        }
    }
}

fn verify(path: &Path, txid: Txid) -> Result<Checked> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::LtxMissing {
            path: path.to_owned(),
        },
        _ => Error::io("open", path, error),
    })?;
    let fail = |error| Error::io("read", path, error);
    let damaged = |reason: String| Error::LtxDamaged {
        path: path.to_owned(),
        reason,
    };
    let size = file.metadata().map_err(fail)?.len();
    let name = path.display().to_string();
    let room = u32::try_from(size.div_ceil(1 << 10)).ok();
    let room = room.filter(|_| size <= SMALL);
    let room = room.and_then(|room| IN_MEMORY.try_acquire_many(room).ok());
    let (verified, content, read) = if let Some(room) = room {
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(size + 1)
            .read_to_end(&mut content)
            .map_err(fail)?;
        let verified = ltx::verify(&content[..], name);
        let read = content.len() as u64;
        let content = Content::Whole(content.into(), Arc::new(room));
        (verified, content, read)
    } else {
        let mut seen = Seen::new(&mut file);
        let buffered = io::BufReader::with_capacity(1 << 18, &mut seen);
        let verified = ltx::verify(buffered, name);
        // What is behind the end of the file proper is part of what would be sent.
        io::copy(&mut seen, &mut io::sink()).map_err(fail)?;
        let digest = seen.digest.finalize();
        let path = path.to_owned();
        (verified, Content::Large { path, digest }, seen.count)
    };
    let verified = verified.map_err(|error| {
        let error = Error::ltx("verify", path, error);
        match error.kind() {
            ErrorKind::Corrupt | ErrorKind::Invalid => damaged(cause(&error)),
            _ => error,
        }
    })?;
    if read != size {
        return Err(damaged(format!("expected {size} bytes, found {read}")));
    }
    let header = verified.header;
    if (header.min_txid, header.max_txid) != (txid, txid) {
        let (min, max) = (header.min_txid, header.max_txid);
        return Err(damaged(format!("the header says transactions {min}-{max}")));
    }
    Ok(Checked {
        ends: Ends {
            header,
            trailer: verified.trailer.encode(),
            size,
        },
        content,
    })
}

fn cause(error: &Error) -> String {
    match error {
        Error::Ltx { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// A reader that notes what passes.
struct Seen<R> {
    inner: R,
    count: u64,
    digest: Digest,
}

impl<R> Seen<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            count: 0,
            digest: new_digest(),
        }
    }
}

impl<R: Read> Read for Seen<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        self.digest.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn new_digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc64GoIso)
}

/// The same stream, whose last chunk comes only if all have the digest.
fn compared(
    body: BoxStream<'static, storage::Result<Bytes>>,
    expected: u64,
) -> BoxStream<'static, storage::Result<Bytes>> {
    let start = (body, new_digest(), None::<Bytes>);
    stream::try_unfold(start, move |(mut body, mut digest, held)| async move {
        let mut held = held;
        loop {
            let Some(next) = body.try_next().await? else {
                break;
            };
            digest.update(&next);
            if let Some(ready) = held.replace(next) {
                return Ok(Some((ready, (body, digest, held))));
            }
        }
        if digest.finalize() != expected {
            let reason = "the ltx file changed after it was verified";
            return Err(storage::Error::from_body(reason));
        }
        Ok(held.map(|last| (last, (stream::empty().boxed(), digest, None))))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(texts: &[&'static str]) -> BoxStream<'static, storage::Result<Bytes>> {
        let chunks: Vec<_> = texts.iter().map(|text| Ok(Bytes::from(*text))).collect();
        stream::iter(chunks).boxed()
    }

    /// Bytes that are not those that were verified never come to their end.
    #[tokio::test]
    async fn a_body_that_changed_ends_with_an_error_before_its_last_chunk() {
        let mut digest = new_digest();
        digest.update(b"abcdef");
        let expected = digest.finalize();
        for (texts, sound) in [
            (&["abc", "def"][..], true),
            (&["abcdef"], true),
            (&["abc", "deX"], false),
            (&["abc"], false),
            (&[], false),
        ] {
            let got: Vec<_> = compared(chunks(texts), expected).collect().await;
            let whole: usize = texts.iter().map(|text| text.len()).sum();
            let sent: usize = got.iter().flatten().map(Bytes::len).sum();
            assert_eq!(got.iter().all(Result::is_ok), sound, "{texts:?}");
            assert_eq!(sent == whole && whole > 0, sound, "{texts:?}");
        }
    }
}
