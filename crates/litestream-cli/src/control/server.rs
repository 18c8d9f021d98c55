//! The daemon's side of the control socket: HTTP/1.1 over a Unix socket.

mod handlers;

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use litestream::Store;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::env::Env;

/// How long running requests are waited for at the end.
const GRACE: Duration = Duration::from_secs(5);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// The configured path is empty.
    #[error("socket path required")]
    NoPath,
    /// Something else stands at the path.
    #[error("socket path exists but is not a socket: {}", .0.display())]
    NotSocket(PathBuf),
    /// A live daemon listens there.
    #[error("control socket {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// What the handlers need.
pub(super) struct State {
    pub(super) store: Arc<Store>,
    pub(super) config: Config,
    pub(super) env: Env,
    pub(super) started: Instant,
    pub(super) started_at: SystemTime,
}

/// A listening control socket.
pub(crate) struct Server {
    path: PathBuf,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens at the configured path.
    ///
    /// # Errors
    /// The path is empty, in use by a living process, or something else than a socket.
    pub(crate) fn start(config: &Config, store: &Arc<Store>) -> Result<Self, ServerError> {
        if config.socket.path.is_empty() {
            return Err(ServerError::NoPath);
        }
        let path = PathBuf::from(&config.socket.path);
        clear(&path)?;
        let fail = |what| move |source| ServerError::Io { what, source };
        let listener = UnixListener::bind(&path).map_err(fail("listen on unix socket"))?;
        let mode = std::fs::Permissions::from_mode(config.socket.permissions);
        std::fs::set_permissions(&path, mode).map_err(fail("chmod socket"))?;
        let state = Arc::new(State {
            store: Arc::clone(store),
            config: config.clone(),
            env: Env::capture(),
            started: Instant::now(),
            started_at: SystemTime::now(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, state, stop.clone()));
        tracing::info!(system = "server", path = %path.display(), "control socket listening");
        Ok(Self { path, stop, task })
    }

    /// Stops listening, waits for running requests, and removes the socket.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        if tokio::time::timeout(GRACE, self.task).await.is_err() {
            tracing::error!(
                system = "server",
                "error closing control server: requests still run"
            );
        }
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::error!(system = "server", %error, "error closing control server");
        }
    }
}

/// Removes the socket that a process left which is no more.
fn clear(path: &Path) -> Result<(), ServerError> {
    let fail = |what| move |source| ServerError::Io { what, source };
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail("check socket path")(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ServerError::NotSocket(path.to_owned()));
    }
    // The reference takes the address of a living daemon away, and that one later removes ours.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(ServerError::InUse(path.to_owned()));
    }
    std::fs::remove_file(path).map_err(fail("remove existing socket"))
}

async fn accept(listener: UnixListener, state: Arc<State>, stop: CancellationToken) {
    let connections = tokio_util::task::TaskTracker::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&state), stop.clone()));
                }
                Err(error) => {
                    tracing::error!(system = "server", %error, "http server error");
                    // Out of descriptors, most likely: give others time to end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve(stream: UnixStream, state: Arc<State>, stop: CancellationToken) {
    let service = service_fn(move |request| handlers::answer(Arc::clone(&state), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(system = "server", %error, "control connection");
    }
}
