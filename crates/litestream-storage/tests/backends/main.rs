//! Backends against real servers: `sftp` with OpenSSH and rclone, `nats` with nats-server,
//! `webdav` with nginx, `WsgiDAV` and rclone.
#![cfg(any(feature = "sftp", feature = "nats", feature = "webdav"))]

#[cfg(feature = "nats")]
mod nats;
mod proxy;
#[cfg(feature = "sftp")]
mod sftp;
#[cfg(feature = "webdav")]
mod webdav;

/// An error with all its causes.
fn chain(error: &litestream_storage::Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        said.push_str(": ");
        said.push_str(&inner.to_string());
        cause = inner.source();
    }
    said
}
