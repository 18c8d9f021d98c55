//! Get and head.
//!
//! Invariant: a body is read from one open file, so it stays what it was when the object is
//! replaced; a file that ends before the length it had is an error.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use futures_util::stream::{self, StreamExt as _};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};

use super::connection::is_failure;
use super::pool::Lease;
use super::{DIRECTORY, FILE, KIND, Shared, is_kind, object_meta};
use crate::remote_path as path;
use crate::{ByteRange, Error, ErrorKind, Key, Object, ObjectMeta, Operation, Result};

/// Bytes per read; servers answer at least as many.
const BLOCK: u32 = 32 * 1024;
/// Reads in flight.
const WINDOW: usize = 32;

const GET: Operation = Operation::Get;

pub(super) async fn head(shared: &Shared, key: Key) -> Result<ObjectMeta> {
    let target = path::object(&shared.root, key.as_str(), Operation::Head)?;
    let lease = shared.lease(Operation::Head).await?;
    let found = lease.ask(lease.sftp.stat(target.as_str())).await;
    let found = not_below_a_file(&lease, &target, found).await;
    let found = lease.done(Operation::Head, || format!("look at {target}"), found)?;
    if is_kind(&found.attrs, FILE) {
        Ok(object_meta(key, &found.attrs))
    } else {
        Err(no_file(Operation::Head, &target))
    }
}

pub(super) async fn get(shared: &Shared, key: Key, range: ByteRange) -> Result<Object> {
    let target = path::object(&shared.root, key.as_str(), GET)?;
    let lease = shared.lease(GET).await?;
    let opened = lease
        .sftp
        .open(target.as_str(), OpenFlags::READ, FileAttributes::empty());
    let opened = lease.ask(opened).await;
    let opened = not_below_a_file(&lease, &target, opened).await;
    let opened = lease.done(GET, || format!("open {target}"), opened)?;
    let file = OpenFile {
        handle: opened.handle,
        lease,
        key: key.clone(),
    };
    let found = file.lease.sftp.fstat(file.handle.as_str());
    let found = file.lease.ask(found).await;
    let found = file
        .lease
        .done(GET, || format!("look at {target}"), found)?
        .attrs;
    if !is_kind(&found, FILE) {
        return Err(no_file(GET, &target));
    }
    let meta = object_meta(key, &found);
    let end = range.offset.saturating_add(range.len_in(meta.size));
    if range.len_in(meta.size) == 0 {
        return Ok(Object {
            meta,
            body: stream::empty().boxed(),
        });
    }
    let file = Arc::new(file);
    let blocks = stream::iter((range.offset..end).step_by(BLOCK as usize)).map(move |start| {
        let file = Arc::clone(&file);
        let len = (end - start).min(u64::from(BLOCK)) as u32;
        async move { file.block(start, len).await }
    });
    let body = blocks.buffered(WINDOW);
    Ok(Object {
        meta,
        body: body.boxed(),
    })
}

/// Some servers answer a plain failure for what is below a file: asked again, they say that
/// there is nothing.
async fn not_below_a_file<T>(
    lease: &Lease,
    target: &str,
    result: Result<T, SftpError>,
) -> Result<T, SftpError> {
    match result {
        Err(error) if is_failure(&error) => {
            let parent = path::parent(target).map_or(Either::Left(async { Ok(None) }), |parent| {
                Either::Right(lease.stat(parent))
            });
            match parent.await {
                Ok(Some(parent)) if is_kind(&parent, FILE) && parent.permissions.is_some() => {
                    Err(missing())
                }
                Err(other) if is_failure(&other) => Err(error),
                _ => match lease.stat(target).await {
                    Ok(None) => Err(missing()),
                    // A folder that cannot be opened is no object either.
                    Ok(Some(found)) if is_kind(&found, DIRECTORY) => Err(missing()),
                    _ => Err(error),
                },
            }
        }
        result => result,
    }
}

fn missing() -> SftpError {
    SftpError::Status(russh_sftp::protocol::Status {
        id: 0,
        status_code: StatusCode::NoSuchFile,
        error_message: "no such file".to_owned(),
        language_tag: String::new(),
    })
}

fn no_file(operation: Operation, path: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation).with_detail(format!("{path} is not a file"))
}

/// A file open for reading; closed when dropped.
struct OpenFile {
    handle: String,
    lease: Lease,
    key: Key,
}

impl OpenFile {
    /// The `len` bytes from `start` on.
    async fn block(&self, start: u64, len: u32) -> Result<Bytes> {
        let mut first = None;
        let mut all = Vec::new();
        let mut done = 0_u32;
        while done < len {
            let at = start + u64::from(done);
            let read = self.lease.sftp.read(self.handle.as_str(), at, len - done);
            let data = match self.lease.ask(read).await {
                Ok(data) if data.data.is_empty() => return Err(self.ended(at, start, len)),
                Ok(data) => data.data,
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => {
                    return Err(self.ended(at, start, len));
                }
                Err(error) => {
                    let failed: Result<Bytes> =
                        self.lease
                            .done(GET, || format!("read at offset {at}"), Err(error));
                    return failed.map_err(|error| self.named(error));
                }
            };
            let room = (len - done) as usize;
            let data = data
                .get(..data.len().min(room))
                .unwrap_or_default()
                .to_vec();
            done += data.len() as u32;
            match &mut first {
                None => first = Some(data),
                Some(_) => all.extend_from_slice(&data),
            }
        }
        let mut block = first.unwrap_or_default();
        block.append(&mut all);
        Ok(block.into())
    }

    fn ended(&self, at: u64, start: u64, len: u32) -> Error {
        let end = start + u64::from(len);
        self.named(Error::new(ErrorKind::Io, GET).with_detail(format!(
            "the file ends at offset {at}, expected {end} bytes or more"
        )))
    }

    fn named(&self, error: Error) -> Error {
        error.with_backend(KIND).with_key(&self.key)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // Polled once, the request is on its way; outside of a runtime there is no connection.
        if tokio::runtime::Handle::try_current().is_ok() {
            let handle = std::mem::take(&mut self.handle);
            drop(self.lease.sftp.close(handle).now_or_never());
        }
    }
}
