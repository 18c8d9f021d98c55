//! One SSH connection with its SFTP session, and the errors of both.
//!
//! Invariant: an error that is not the server's answer to one request marks the connection as
//! broken, and a broken one is not given out again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, join, select};
use russh::client::{self, Handle};
use russh::{Disconnect, Preferred};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tokio::sync::watch;

use super::SftpSettings;
use super::login::login;
use super::trust::Trust;
use crate::{Clock, Error, ErrorKind, Operation, Result};

/// How long connecting and logging in may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long a request may wait for its answer, in seconds. Less than a store may stall: a call
/// that is given up from outside says nothing about its connection, and the next try would take
/// the silent one again.
const REQUEST_LIMIT: u64 = 50;

/// How long answers that came before the connection ended may take to reach who asked. A request
/// sent at that very moment has none: the library knows only its own limit then.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// What the server can do beyond the protocol.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent extensions, not the states of one machine"
)]
pub(super) struct Extensions {
    pub(super) fsync: bool,
    pub(super) posix_rename: bool,
    pub(super) hardlink: bool,
    statvfs: bool,
}

/// See the module.
pub(super) struct Connection {
    pub(super) sftp: RawSftpSession,
    pub(super) extensions: Extensions,
    ssh: Handle<Trust>,
    broken: AtomicBool,
    /// Closed when the connection has ended.
    alive: watch::Receiver<()>,
}

impl Connection {
    /// Connects and logs in, within [`CONNECT_LIMIT`].
    pub(super) async fn open(
        settings: &SftpSettings,
        clock: &dyn Clock,
        operation: Operation,
    ) -> Result<Self> {
        let connecting = std::pin::pin!(Self::connect(settings, operation));
        let opened = match select(connecting, clock.sleep(CONNECT_LIMIT)).await {
            Either::Left((opened, _)) => opened,
            Either::Right(_) => Err(Error::new(ErrorKind::Timeout, operation)
                .with_detail(format!("not logged in within {CONNECT_LIMIT:?}"))),
        };
        opened.map_err(|error| match error.kind() {
            ErrorKind::Unavailable { .. } | ErrorKind::Timeout => {
                error.with_code(format!("connect to {}", settings.host))
            }
            _ => error,
        })
    }

    async fn connect(settings: &SftpSettings, operation: Operation) -> Result<Self> {
        let (host, port) = split_host(&settings.host, operation)?;
        let trust = Trust::load(settings, host, port, operation).await?;
        let (refusal, alive) = (trust.refusal(), trust.alive());
        let preferred = Preferred {
            key: trust.prefer(&Preferred::default().key).into(),
            ..Preferred::default()
        };
        let config = client::Config {
            preferred,
            nodelay: true,
            ..client::Config::default()
        };
        let connected = client::connect(Arc::new(config), (host, port), trust).await;
        let mut ssh = connected.map_err(|source| {
            let error = handshake(operation, source);
            match refusal.take() {
                Some(why) => error.with_detail(why),
                None => error,
            }
        })?;
        login(&mut ssh, settings, operation).await?;
        let failed = |source| handshake(operation, source);
        let channel = ssh.channel_open_session().await.map_err(failed)?;
        channel
            .request_subsystem(true, "sftp")
            .await
            .map_err(failed)?;
        let config = Config {
            request_timeout_secs: REQUEST_LIMIT,
            ..Config::default()
        };
        let sftp = RawSftpSession::new_with_config(channel.into_stream(), config);
        let version = sftp.init().await.map_err(|source| {
            status(operation, source).with_detail("the server does not start SFTP for this user")
        })?;
        let has = |name: &str, version_of: &str| {
            version
                .extensions
                .get(name)
                .is_some_and(|found| found == version_of)
        };
        let extensions = Extensions {
            fsync: has("fsync@openssh.com", "1"),
            posix_rename: has("posix-rename@openssh.com", "1"),
            hardlink: has("hardlink@openssh.com", "1"),
            statvfs: has("statvfs@openssh.com", "2"),
        };
        tracing::debug!(host = settings.host, ?extensions, "sftp connected");
        Ok(Self {
            sftp,
            extensions,
            ssh,
            broken: AtomicBool::new(false),
            alive,
        })
    }

    /// Whether it can be given out.
    pub(super) fn is_usable(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.ssh.is_closed()
    }

    /// Says goodbye. What is still in flight fails.
    pub(super) async fn close(&self) {
        self.broken.store(true, Ordering::Relaxed);
        // Fails when it is closed already.
        let gone = self.sftp.close_session();
        let left = self.ssh.disconnect(Disconnect::ByApplication, "", "").await;
        drop((gone, left));
    }

    /// Waits for the answer to a request, and takes note of what an error says about the
    /// connection. A request whose connection has ended fails soon.
    pub(super) async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, SftpError>>,
    ) -> Result<T, SftpError> {
        let gone = || SftpError::UnexpectedBehavior("the connection has ended".to_owned());
        if self.alive.has_changed().is_err() {
            return self.note(Err(gone()));
        }
        let result = match select(std::pin::pin!(request), std::pin::pin!(self.ended())).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(gone()),
        };
        self.note(result)
    }

    /// Completes when the connection has ended and nobody works on its last answers any more.
    async fn ended(&self) {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
        tokio::time::sleep(LAST_ANSWERS).await;
    }

    /// Takes note of what an error says about the connection.
    pub(super) fn note<T>(&self, result: Result<T, SftpError>) -> Result<T, SftpError> {
        if let Err(error) = &result
            && !matches!(error, SftpError::Status(_) | SftpError::Limited(_))
        {
            self.broken.store(true, Ordering::Relaxed);
        }
        result
    }

    /// [`Connection::note`], with the error in our own terms; `what` was being done.
    pub(super) fn done<T>(
        &self,
        operation: Operation,
        what: impl FnOnce() -> String,
        result: Result<T, SftpError>,
    ) -> Result<T> {
        self.note(result).map_err(|source| {
            let said = match &source {
                SftpError::Status(status) => format!(": server says {:?}", status.error_message),
                _ => String::new(),
            };
            status(operation, source).with_detail(format!("{}{said}", what()))
        })
    }

    /// What is at `path`, links followed; `None` when there is nothing.
    pub(super) async fn stat(&self, path: &str) -> Result<Option<FileAttributes>, SftpError> {
        match self.ask(self.sftp.stat(path)).await {
            Ok(found) => Ok(Some(found.attrs)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renames in one step, also onto an existing file.
    pub(super) async fn posix_rename(&self, from: &str, to: &str) -> Result<(), SftpError> {
        let request = self
            .sftp
            .extended("posix-rename@openssh.com", strings(&[from, to]));
        match self.ask(request).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(status.into()),
            _ => self.note(Err(SftpError::UnexpectedPacket)),
        }
    }

    /// Syncs a directory where the server can. One that says that it cannot has no better offer; one that
    /// says nothing has perhaps lost what was to be synced.
    pub(super) async fn sync_directory(&self, path: &str) -> Result<(), SftpError> {
        if !self.extensions.fsync {
            return Ok(());
        }
        let sync = async {
            let opened = self
                .sftp
                .open(path, OpenFlags::READ, FileAttributes::empty());
            let opened = self.ask(opened).await?;
            let synced = self.sftp.fsync(opened.handle.as_str());
            let closed = self.sftp.close(opened.handle.as_str());
            let (synced, closed) = join(self.ask(synced), self.ask(closed)).await;
            drop(closed);
            synced.map(drop)
        };
        match sync.await {
            Err(error @ SftpError::Status(_)) if !is_lost(&error) => {
                tracing::debug!(error = %error, path, "the sftp server does not sync directories");
                Ok(())
            }
            synced => synced,
        }
    }

    /// Whether the server has no space left at `path`. `false` when it does not tell.
    pub(super) async fn is_full(&self, path: &str) -> bool {
        self.extensions.statvfs
            && match self.ask(self.sftp.statvfs(path)).await {
                Ok(found) => found.blocks_avail == 0,
                Err(_) => false,
            }
    }
}

/// Whether the server says that it has lost a connection of its own: that passes.
pub(super) fn is_lost(error: &SftpError) -> bool {
    use StatusCode::{ConnectionLost, NoConnection};
    matches!(error, SftpError::Status(status) if matches!(status.status_code, NoConnection | ConnectionLost))
}

/// Whether the error says that there is no such file.
pub(super) fn is_missing(error: &SftpError) -> bool {
    matches!(error, SftpError::Status(status) if status.status_code == StatusCode::NoSuchFile)
}

/// Whether the error is the one without a reason, which stands for everything that has none.
pub(super) fn is_failure(error: &SftpError) -> bool {
    matches!(error, SftpError::Status(status) if status.status_code == StatusCode::Failure)
}

/// An error of the SFTP session.
pub(super) fn status(operation: Operation, source: SftpError) -> Error {
    let kind = match &source {
        SftpError::Status(status) => match status.status_code {
            StatusCode::NoSuchFile => ErrorKind::NotFound,
            StatusCode::PermissionDenied => ErrorKind::Denied,
            StatusCode::OpUnsupported => ErrorKind::Unsupported,
            StatusCode::BadMessage => ErrorKind::Invalid,
            StatusCode::Ok
            | StatusCode::Eof
            | StatusCode::Failure
            | StatusCode::NoConnection
            | StatusCode::ConnectionLost => ErrorKind::Io,
        },
        SftpError::Timeout => ErrorKind::Timeout,
        SftpError::IO(_)
        | SftpError::Limited(_)
        | SftpError::UnexpectedPacket
        | SftpError::UnexpectedBehavior(_) => ErrorKind::Io,
    };
    let error = Error::new(kind, operation);
    match &source {
        SftpError::Status(status) => error.with_code(status.status_code.to_string()),
        _ => error,
    }
    .with_source(source)
}

/// An error of the SSH connection.
pub(super) fn handshake(operation: Operation, source: russh::Error) -> Error {
    let kind = match &source {
        russh::Error::UnknownKey | russh::Error::WrongServerSig => ErrorKind::Denied,
        russh::Error::NoCommonAlgo { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable { retry_after: None },
    };
    Error::new(kind, operation).with_source(source)
}

/// Texts as the protocol writes them: each after its length.
fn strings(texts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// Host and port of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn split_host(text: &str, operation: Operation) -> Result<(&str, u16)> {
    let invalid = || {
        Error::new(ErrorKind::Invalid, operation)
            .with_detail(format!("{text:?} is no host with or without port"))
    };
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(invalid)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(invalid()),
        }
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (text, None),
        }
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| invalid())?,
        None => 22,
    };
    if host.is_empty() || port == 0 {
        return Err(invalid());
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::{split_host, strings};
    use crate::Operation;

    #[test]
    fn hosts_with_and_without_port() {
        let good = [
            ("example.com", ("example.com", 22)),
            ("example.com:2022", ("example.com", 2022)),
            ("127.0.0.1:1", ("127.0.0.1", 1)),
            ("[::1]:2022", ("::1", 2022)),
            ("[::1]", ("::1", 22)),
            ("fe80::1", ("fe80::1", 22)),
        ];
        for (text, expected) in good {
            assert_eq!(split_host(text, Operation::Put).expect(text), expected);
        }
        for text in [
            "",
            ":22",
            "host:",
            "host:x",
            "host:70000",
            "host:0",
            "[::1",
            "[::1]x",
        ] {
            split_host(text, Operation::Put).expect_err(text);
        }
    }

    #[test]
    fn texts_follow_their_lengths() {
        assert_eq!(
            strings(&["a", "", "bc"]),
            b"\0\0\0\x01a\0\0\0\0\0\0\0\x02bc"
        );
    }
}
