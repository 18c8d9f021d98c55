//! A TCP proxy in front of a server that cuts connections, for tests of what is lost then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes everything on until it is told to cut.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    target: String,
    /// Bytes that may still go towards the server, and back; then the connection is cut.
    up: AtomicU64,
    down: AtomicU64,
    connections: AtomicUsize,
    /// Counts the times that all connections were cut.
    severed: watch::Sender<u64>,
    frozen: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            target,
            up: AtomicU64::new(u64::MAX),
            down: AtomicU64::new(u64::MAX),
            connections: AtomicUsize::new(0),
            severed: watch::Sender::new(0),
            frozen: watch::Sender::new(false),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(Arc::clone(&shared), client));
            }
        });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Cuts all connections now.
    pub(crate) fn sever(&self) {
        self.state.severed.send_modify(|times| *times += 1);
    }

    /// Passes nothing on as long as it is frozen; nobody is told.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.state.frozen.send_replace(is_frozen);
    }

    /// Cuts the connection once, after `bytes` more towards the server.
    pub(crate) fn cut_up_after(&self, bytes: u64) {
        self.state.up.store(bytes, Ordering::Relaxed);
    }

    /// Cuts the connection once, after `bytes` more from the server.
    pub(crate) fn cut_down_after(&self, bytes: u64) {
        self.state.down.store(bytes, Ordering::Relaxed);
    }
}

async fn pass(state: Arc<State>, client: TcpStream) {
    state.connections.fetch_add(1, Ordering::Relaxed);
    let mut severed = state.severed.subscribe();
    let Ok(server) = TcpStream::connect(&state.target).await else {
        return;
    };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    // The first to end takes the other with it: a cut is a cut in both directions.
    tokio::select! {
        () = copy(client_read, server_write, &state.up, &state.frozen) => {}
        () = copy(server_read, client_write, &state.down, &state.frozen) => {}
        _severed = severed.changed() => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    left: &AtomicU64,
    frozen: &watch::Sender<bool>,
) {
    let mut frozen = frozen.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if frozen.wait_for(|is_frozen| !is_frozen).await.is_err() {
            return;
        }
        let allowed = left.load(Ordering::Relaxed);
        if allowed == u64::MAX {
            if to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            continue;
        }
        let pass = (read as u64).min(allowed) as usize;
        if to.write_all(&buffer[..pass]).await.is_err() {
            return;
        }
        if pass < read {
            // Once: the next connection is whole again.
            left.store(u64::MAX, Ordering::Relaxed);
            return;
        }
        left.store(allowed - pass as u64, Ordering::Relaxed);
    }
}
