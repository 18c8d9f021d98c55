//! The temporary file of a put: create, write, sync, publish.
//!
//! Invariant: it belongs to one put alone, and is removed when that ends without publishing it,
//! by a failure or by being given up; by a later call when the connection is not up to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::future::{join, join4};
use futures_util::stream::{self, BoxStream, Stream};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, OpenFlags};

use super::connection::{is_failure, is_missing};
use super::leftover::{Leftover, Leftovers};
use super::pool::Lease;
use super::{DIRECTORY, Shared, is_kind};
use crate::remote_path as path;
use crate::{Error, ErrorKind, Operation, Result};

/// Bytes per write; every server must take as many.
const PIECE: usize = 32 * 1024;
/// Bytes after which the server is asked to sync: a request has a limit, and the last sync of a
/// large file on a slow disk must not be the one that meets it. 32 MiB in 50 s are 0.7 MB/s.
const SYNC_STEP: u64 = 32 << 20;
/// How often a file that others keep replacing is moved aside.
const ASIDE_TRIES: usize = 16;

const PUT: Operation = Operation::Put;

pub(super) struct Temp {
    lease: Arc<Lease>,
    leftovers: Leftovers,
    path: String,
    target: String,
    /// Empty before it is open, and once it is closed.
    handle: String,
    /// Whether the name is known to be gone.
    gone: bool,
}

impl Temp {
    /// Creates the file beside `target`, with the directories that are missing.
    pub(super) async fn create(shared: &Shared, lease: Lease, target: String) -> Result<Self> {
        // Before the request: what is given up meanwhile may have made the file.
        let mut temp = Self {
            lease: Arc::new(lease),
            leftovers: shared.leftovers.clone(),
            path: temp_name(shared, &target),
            target,
            handle: String::new(),
            gone: false,
        };
        let lease = Arc::clone(&temp.lease);
        let path = temp.path.clone();
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        let create = || {
            lease
                .sftp
                .open(path.as_str(), flags, FileAttributes::empty())
        };
        let mut opened = lease.ask(create()).await;
        if opened.as_ref().is_err_and(is_missing)
            && let Some(directory) = path::parent(&temp.target)
        {
            make_directories(&lease, directory)
                .await
                .inspect_err(|_| temp.gone = true)?;
            opened = lease.ask(create()).await;
        }
        let opened = match opened {
            // It is not the object that was not found.
            Err(error) if is_missing(&error) => {
                temp.gone = true;
                return Err(Error::new(ErrorKind::Denied, PUT)
                    .with_detail(format!("the folder of {path} cannot be made"))
                    .with_source(error));
            }
            Err(error) if is_failure(&error) && lease.is_full(&parent_or_here(&path)).await => {
                return Err(full(&path).with_source(error));
            }
            opened => {
                // A failure without a reason may have come after the effect.
                temp.gone =
                    matches!(&opened, Err(error @ SftpError::Status(_)) if !is_failure(error));
                lease.done(PUT, || format!("create {path}"), opened)?
            }
        };
        temp.handle = opened.handle;
        Ok(temp)
    }

    /// Writes the content, `window` pieces in flight; what is there is synced now and then. Answers
    /// how much it was.
    pub(super) async fn write(
        &self,
        body: BoxStream<'static, Result<Bytes>>,
        window: usize,
    ) -> Result<u64> {
        let writes = pieces(body).map_ok(|(offset, piece)| async move {
            let sent = self
                .lease
                .sftp
                .write(self.handle.as_str(), offset, piece.to_vec());
            let end = offset + piece.len() as u64;
            if let Err(error) = self.lease.ask(sent).await {
                return Err(self.failed(error, "write at", offset).await);
            }
            let is_step = offset / SYNC_STEP != end / SYNC_STEP;
            if is_step && let Err(error) = self.sync(&self.handle).await {
                return Err(self.failed(error, "sync after byte", end).await);
            }
            Ok(end)
        });
        writes
            .try_buffer_unordered(window)
            .try_fold(0, |end: u64, written| async move { Ok(end.max(written)) })
            .await
    }

    /// Makes durable what the server has taken, where it offers that.
    async fn sync(&self, handle: &str) -> std::result::Result<(), SftpError> {
        if !self.lease.extensions.fsync {
            return Ok(());
        }
        self.lease
            .ask(self.lease.sftp.fsync(handle))
            .await
            .map(drop)
    }

    /// Sets the time, syncs, checks that `size` bytes are there, and closes the file.
    pub(super) async fn finish(&mut self, seconds: u32, size: u64) -> Result<FileAttributes> {
        let handle = std::mem::take(&mut self.handle);
        let sftp = &self.lease.sftp;
        let attributes = FileAttributes {
            atime: Some(seconds),
            mtime: Some(seconds),
            ..FileAttributes::empty()
        };
        let sync = self.sync(&handle);
        let (time, look, close) = (
            self.lease.ask(sftp.fsetstat(handle.as_str(), attributes)),
            self.lease.ask(sftp.fstat(handle.as_str())),
            self.lease.ask(sftp.close(handle.as_str())),
        );
        let (timed, synced, found, closed) = if self.lease.extensions.fsync {
            // All at once: OpenSSH works requests off in order.
            join4(time, sync, look, close).await
        } else {
            // Others work on several at a time, and were seen to hang on a close among them.
            (time.await, sync.await, look.await, close.await)
        };
        if let Err(error) = timed {
            // The time of an object is in its content as well; gateways often keep none.
            tracing::debug!(error = %error, path = self.path, "the sftp server keeps no times");
        }
        if let Err(error) = synced {
            return Err(self.failed(error, "sync after byte", size).await);
        }
        if let Err(error) = closed {
            return Err(self.failed(error, "close after byte", size).await);
        }
        let found = self
            .lease
            .done(PUT, || format!("look at {}", self.path), found)?;
        match found.attrs.size {
            Some(there) if there != size => {
                let detail = format!("{}: wrote {size} bytes, found {there}", self.path);
                Err(Error::new(ErrorKind::Corrupt, PUT).with_detail(detail))
            }
            _ => Ok(FileAttributes {
                size: Some(size),
                ..found.attrs
            }),
        }
    }

    /// Gives the file its final name, in the place of an older one.
    pub(super) async fn replace(mut self, shared: &Shared) -> Result<()> {
        if self.lease.extensions.posix_rename {
            let renamed = self.lease.posix_rename(&self.path, &self.target).await;
            renamed.map_err(|error| self.not_named("rename", error))?;
        } else {
            let _turn = shared.replacing.lock().await;
            self.replace_in_steps(shared).await?;
        }
        self.gone = true;
        self.leftovers.replaced(&self.target);
        sync_names(shared, &self.lease, &self.target).await
    }

    /// Gives the file its final name, if there is nothing under it.
    pub(super) async fn link(mut self, shared: &Shared) -> Result<()> {
        let sftp = &self.lease.sftp;
        let linked = sftp.hardlink(self.path.as_str(), self.target.as_str());
        if let Err(error) = self.lease.ask(linked).await {
            if !matches!(error, SftpError::Status(_)) {
                // It may be done yet: what is there then is not another writer's.
                return Err(self.not_named("link", error));
            }
            let there = self.lease.stat(&self.target).await;
            let there = self
                .lease
                .done(PUT, || format!("look at {}", self.target), there)?;
            if there.is_some() {
                return Err(taken(shared, &self.lease, &self.target).await);
            }
            return Err(self.not_named("link", error));
        }
        let removal = self.lease.ask(sftp.remove(self.path.as_str()));
        let synced = sync_names(shared, &self.lease, &self.target);
        let (synced, removed) = join(synced, removal).await;
        // Otherwise the temporary name goes as it does after a failure.
        self.gone = removed.is_ok();
        synced
    }

    /// For servers that refuse to rename onto an existing file: the old one is moved aside, and
    /// is there again when the new one cannot take its place.
    async fn replace_in_steps(&self, shared: &Shared) -> Result<()> {
        let lease = &self.lease;
        let mut last = None;
        for _ in 0..ASIDE_TRIES {
            let renamed = lease.sftp.rename(&self.path, &self.target);
            let Err(error) = lease.ask(renamed).await else {
                return Ok(());
            };
            if is_missing(&error) {
                return Err(self.not_named("rename", error));
            }
            let there = lease.stat(&self.target).await;
            let there = lease.done(PUT, || format!("look at {}", self.target), there)?;
            match there {
                Some(found) if is_kind(&found, DIRECTORY) => {
                    let detail = format!("{} is a folder", self.target);
                    return Err(Error::new(ErrorKind::Invalid, PUT).with_detail(detail));
                }
                Some(_) => {}
                // Another writer may have it aside at this moment.
                None if is_failure(&error) && last.is_none() => {
                    last = Some(error);
                    continue;
                }
                None => return Err(self.not_named("rename", error)),
            }
            last = Some(error);
            let aside = temp_name(shared, &self.target);
            // Before the request: should its answer be lost, a later call moves the file back.
            let leftover = Leftover::aside(&aside, &self.target);
            self.leftovers.add(leftover.clone());
            let moved = lease.ask(lease.sftp.rename(&self.target, &aside)).await;
            if moved.as_ref().is_err_and(|error| !is_missing(error)) {
                lease.done(PUT, || format!("move {} aside", self.target), moved)?;
            }
            let renamed = lease.sftp.rename(&self.path, &self.target);
            if lease.ask(renamed).await.is_ok() {
                // Whatever becomes of the new one, the older must not come back.
                let leftover = self.leftovers.replaced_by(&leftover);
                self.leftovers.settle(lease, &leftover).await;
                return Ok(());
            }
            // Moved back, unless that of another writer has taken its place.
            self.leftovers.settle(lease, &leftover).await;
        }
        Err(self.not_named("rename", last.expect("set in each round")))
    }

    /// Why the file has no final name.
    fn not_named(&self, what: &str, error: SftpError) -> Error {
        let what = || format!("{what} {} to {}", self.path, self.target);
        if is_missing(&error) {
            // It is not the object that was not found. An earlier request may have been done and
            // denied.
            let gone = Error::new(ErrorKind::Io, PUT).with_detail(what());
            return gone.with_source(error);
        }
        let failed: Result<()> = self.lease.done(PUT, what, Err(error));
        failed.expect_err("made from an error")
    }

    async fn failed(&self, error: SftpError, what: &str, offset: u64) -> Error {
        if is_failure(&error) && self.lease.is_full(&parent_or_here(&self.path)).await {
            return full(&self.path).with_source(error);
        }
        let failed: Result<()> = self.lease.done(
            PUT,
            || format!("{}: {what} {offset}", self.path),
            Err(error),
        );
        failed.expect_err("made from an error")
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // Polled once, a request is on its way; outside of a runtime there is no connection left.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.handle.is_empty() {
            let handle = std::mem::take(&mut self.handle);
            drop(self.lease.sftp.close(handle).now_or_never());
        }
        if self.gone {
            return;
        }
        // In the list until the server says that it is gone.
        let leftover = Leftover::unfinished(&self.path);
        self.leftovers.add(leftover.clone());
        if !self.lease.is_usable() {
            return;
        }
        let (lease, leftovers) = (Arc::clone(&self.lease), self.leftovers.clone());
        let mut settling = Box::pin(async move { leftovers.settle(&lease, &leftover).await });
        if settling.as_mut().now_or_never().is_none() {
            drop(runtime.spawn(settling));
        }
    }
}

/// Makes `directory` and what is missing above it, from the top down.
async fn make_directories(lease: &Lease, directory: &str) -> Result<()> {
    let mut missing = vec![directory];
    while let Some(parent) = path::parent(missing.last().expect("begins with one")) {
        missing.push(parent);
    }
    let mut refusal = None;
    for directory in missing.iter().rev() {
        let created = lease.sftp.mkdir(*directory, FileAttributes::empty());
        match lease.ask(created).await {
            Ok(_) => {}
            // That it is there already is not told from other failures.
            Err(error @ SftpError::Status(_)) => {
                // Below one that could not be made all are missing: that is not why.
                if refusal.is_none() || !is_missing(&error) {
                    refusal = Some(error);
                }
            }
            failed => {
                lease.done(PUT, || format!("make the folder {directory}"), failed)?;
            }
        }
    }
    let found = lease.stat(directory).await;
    let found = lease.done(PUT, || format!("look at {directory}"), found)?;
    match (found, refusal) {
        (None, Some(error)) => {
            let kind = if is_failure(&error) {
                ErrorKind::Io
            } else {
                ErrorKind::Denied
            };
            Err(Error::new(kind, PUT)
                .with_detail(format!("make the folder {directory}"))
                .with_source(error))
        }
        _ => Ok(()),
    }
}

/// Makes the name of a file durable, and those of the folders above it unless this store has done so before:
/// whoever made them may not have come that far.
async fn sync_names(shared: &Shared, lease: &Lease, target: &str) -> Result<()> {
    let mut name = target;
    let mut above = Vec::new();
    loop {
        let folder = parent_or_here(name);
        let synced = lease.sync_directory(&folder).await;
        lease.done(PUT, || format!("sync the folder {folder}"), synced)?;
        let mut durable = shared.durable.lock().expect("never held in a panic");
        let Some(folder) = path::parent(name).filter(|folder| !durable.contains(*folder)) else {
            // All or none: one that is known to be durable has none above it that is not.
            durable.extend(above);
            return Ok(());
        };
        above.push(folder.to_owned());
        name = folder;
    }
}

/// The error of a put that must replace nothing and found something. Who put that may have died before its name
/// was durable, and the caller may find that it is his.
pub(super) async fn taken(shared: &Shared, lease: &Lease, target: &str) -> Error {
    let synced = sync_names(shared, lease, target).await;
    let taken = || Error::new(ErrorKind::AlreadyExists, PUT);
    synced.err().unwrap_or_else(taken)
}

fn full(path: &str) -> Error {
    Error::new(ErrorKind::DiskFull, PUT).with_detail(format!("no space for {path}"))
}

fn parent_or_here(path: &str) -> String {
    match path::parent(path) {
        Some(parent) => parent.to_owned(),
        None if path.starts_with('/') => "/".to_owned(),
        None => ".".to_owned(),
    }
}

/// A name beside `target` that nobody else uses.
fn temp_name(shared: &Shared, target: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let moment = shared.clock.now_ms();
    format!(
        "{target}.{process}.{moment}{number:06}{}",
        crate::tree::TEMP_SUFFIX
    )
}

/// The body in pieces of [`PIECE`] bytes, each with its offset.
fn pieces(
    body: BoxStream<'static, Result<Bytes>>,
) -> impl Stream<Item = Result<(u64, Bytes)>> + Send {
    struct State {
        body: BoxStream<'static, Result<Bytes>>,
        kept: BytesMut,
        offset: u64,
        ended: bool,
    }
    let start = State {
        body,
        kept: BytesMut::new(),
        offset: 0,
        ended: false,
    };
    stream::try_unfold(start, |mut state| async move {
        while state.kept.len() < PIECE && !state.ended {
            match state.body.next().await {
                Some(chunk) => state.kept.extend_from_slice(&chunk?),
                None => state.ended = true,
            }
        }
        if state.kept.is_empty() {
            return Ok(None);
        }
        let len = state.kept.len().min(PIECE);
        let piece = state.kept.split_to(len).freeze();
        let offset = state.offset;
        state.offset += len as u64;
        Ok(Some(((offset, piece), state)))
    })
}
