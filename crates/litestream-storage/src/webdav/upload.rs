//! A body of known length that can be sent more than once.
//!
//! Invariant: what has no length is staged first, in memory while it is short and in a temporary
//! file without a name beyond that, so that nothing is left behind.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::{Body, BoxError, CHUNK_SIZE, Error, Operation, Result, blocking, body};

/// What an HTTP body is made of.
type Frames = BoxStream<'static, Result<Frame<Bytes>, BoxError>>;

/// Bytes of a body without a length that are kept in memory.
const IN_MEMORY: usize = 4 << 20;

/// See the module.
pub(super) enum Upload {
    /// Content in memory.
    Memory(Bytes),
    /// A file of the caller.
    Local(PathBuf, u64),
    /// A staged file.
    Staged(File, u64),
}

impl Upload {
    pub(super) async fn new(body: Body) -> Result<Self> {
        match body {
            Body::Stream(stream) => stage(stream).await,
            Body::Bytes(bytes) => Ok(Self::Memory(bytes)),
            Body::File { path, size } => local(path, size).await,
        }
    }

    /// Length in bytes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Local(_, size) | Self::Staged(_, size) => *size,
        }
    }

    /// The content, from the beginning.
    pub(super) fn body(&self) -> Result<StreamBody<Frames>> {
        let content = match self {
            Self::Memory(bytes) => Body::Bytes(bytes.clone()).into_stream(),
            Self::Local(path, size) => {
                let (path, size) = (path.clone(), *size);
                Body::File { path, size }.into_stream()
            }
            Self::Staged(file, size) => {
                let file = file.try_clone().map_err(staging)?;
                staged(file, *size)
            }
        };
        let frames = content
            .map_ok(Frame::data)
            .map_err(|error| BoxError::from(Box::new(error)));
        Ok(StreamBody::new(frames.boxed()))
    }
}

/// A file of the caller, which must have the length that was said: what is announced to the
/// server is all that it reads.
async fn local(path: PathBuf, size: u64) -> Result<Upload> {
    blocking::run(Operation::Put, move || {
        let found = std::fs::metadata(&path);
        let found = found.map_err(|source| body::unreadable(&path, source))?;
        if found.len() == size {
            Ok(Upload::Local(path, size))
        } else {
            Err(body::wrong_length(&path, size, found.len()))
        }
    })
    .await
}

async fn stage(mut stream: BoxStream<'static, Result<Bytes>>) -> Result<Upload> {
    let mut memory = BytesMut::new();
    while memory.len() <= IN_MEMORY {
        match stream.next().await {
            Some(chunk) => memory.extend_from_slice(&chunk?),
            None => {
                return Ok(Upload::Memory(memory.freeze()));
            }
        }
    }
    let mut size = memory.len() as u64;
    let mut file = blocking::run(Operation::Put, move || {
        let mut file = tempfile::tempfile().map_err(staging)?;
        file.write_all(&memory).map_err(staging)?;
        Ok(file)
    })
    .await?;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        size += chunk.len() as u64;
        file = blocking::run(Operation::Put, move || {
            file.write_all(&chunk).map_err(staging)?;
            Ok(file)
        })
        .await?;
    }
    Ok(Upload::Staged(file, size))
}

fn staging(source: io::Error) -> Error {
    Error::from_io(Operation::Put, source).with_detail("staging the body in a temporary file")
}

fn staged(file: File, size: u64) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((file, 0), move |(mut file, at)| async move {
        blocking::run(Operation::Put, move || {
            let want = (size - at).min(CHUNK_SIZE as u64);
            if want == 0 {
                return Ok(None);
            }
            let mut chunk = vec![0; want as usize];
            // Descriptors that were cloned share their position.
            file.seek(SeekFrom::Start(at)).map_err(staging)?;
            file.read_exact(&mut chunk).map_err(staging)?;
            Ok(Some((Bytes::from(chunk), (file, at + want))))
        })
        .await
    })
    .boxed()
}
