//! Get and head.
//!
//! Invariant: a body delivers exactly the bytes of its range, of the file that was open when the
//! metadata was read, or fails. A replaced or deleted file stays readable through its open handle.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use rustix::io::Errno;

use super::steps::{FileStep, fail, failed};
use super::temp::open_no_follow;
use super::{FileStore, KIND, Shared, object_meta, path};
use crate::{
    ByteRange, CHUNK_SIZE, Error, ErrorKind, Key, Object, ObjectMeta, Operation, Result, blocking,
};

/// One hop, which reads the first chunk as well; one more per further chunk.
pub(super) async fn get(store: &FileStore, key: Key, range: ByteRange) -> Result<Object> {
    let name = key.clone();
    let opened = store.run(Operation::Get, &key, move |shared| {
        let (path, mut file, meta) = open(shared, &name, Operation::Get)?;
        let left = range.len_in(meta.size);
        if left > 0 && range.offset > 0 {
            file.seek(SeekFrom::Start(range.offset)).map_err(failed(
                Operation::Get,
                FileStep::Read,
                &path,
            ))?;
        }
        let mut reading = Reading {
            path,
            file,
            offset: range.offset,
            left,
        };
        let first = reading.chunk(shared)?;
        Ok((meta, first, reading))
    });
    let (meta, first, reading) = opened.await?;
    let shared = Arc::clone(&store.shared);
    Ok(Object {
        meta,
        body: body(shared, key, first, reading),
    })
}

/// One hop.
pub(super) async fn head(store: &FileStore, key: Key) -> Result<ObjectMeta> {
    let name = key.clone();
    let work = move |shared: &Shared| Ok(open(shared, &name, Operation::Head)?.2);
    store.run(Operation::Head, &key, work).await
}

fn open(shared: &Shared, key: &Key, operation: Operation) -> Result<(PathBuf, File, ObjectMeta)> {
    let path = path::object(&shared.root, key.as_str(), operation)?;
    path::refuse_links(&shared.root, &path, operation)?;
    let missing = || Error::new(ErrorKind::NotFound, operation);
    let opened = shared.step(FileStep::Open, &path, || {
        open_no_follow(OpenOptions::new().read(true), &path)
    });
    let file = match opened {
        Ok(file) => file,
        Err(error) if path::is_missing(&error) => return Err(missing()),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(path::link(&path, operation));
        }
        Err(error) => return fail(operation, FileStep::Open, &path, error),
    };
    let found = file
        .metadata()
        .map_err(failed(operation, FileStep::Open, &path))?;
    if !found.is_file() {
        return Err(missing());
    }
    let meta = object_meta(key, &found);
    Ok((path, file, meta))
}

/// An open object with bytes left to read.
struct Reading {
    path: PathBuf,
    file: File,
    offset: u64,
    left: u64,
}

impl Reading {
    /// The next chunk; empty at the end.
    fn chunk(&mut self, shared: &Shared) -> Result<Bytes> {
        if self.left == 0 {
            return Ok(Bytes::new());
        }
        let want = self.left.min(CHUNK_SIZE as u64);
        let mut chunk = Vec::with_capacity(want as usize);
        let read = shared.step(FileStep::Read, &self.path, || {
            (&self.file).take(want).read_to_end(&mut chunk)
        });
        let found = read.map_err(failed(Operation::Get, FileStep::Read, &self.path))? as u64;
        if found < want {
            return Err(Error::new(ErrorKind::Corrupt, Operation::Get).with_detail(format!(
                "{} was cut off while it was read: expected {want} bytes at offset {}, found {found}",
                self.path.display(),
                self.offset
            )));
        }
        self.offset += found;
        self.left -= found;
        Ok(Bytes::from(chunk))
    }
}

fn body(
    shared: Arc<Shared>,
    key: Key,
    first: Bytes,
    reading: Reading,
) -> BoxStream<'static, Result<Bytes>> {
    if first.is_empty() {
        return stream::empty().boxed();
    }
    let head = stream::once(async { Ok(first) });
    if reading.left == 0 {
        // The file is closed here, not when the body is dropped.
        return head.boxed();
    }
    let tail = stream::try_unfold(reading, move |mut reading| {
        let (shared, key) = (Arc::clone(&shared), key.clone());
        let lane = shared.lane.clone();
        async move {
            if reading.left == 0 {
                return Ok(None);
            }
            let next = blocking::run_in(&lane, Operation::Get, move || {
                let chunk = reading.chunk(&shared)?;
                Ok(Some((chunk, reading)))
            });
            next.await
                .map_err(|error| error.with_backend(KIND).with_key(&key))
        }
    });
    head.chain(tail).boxed()
}
