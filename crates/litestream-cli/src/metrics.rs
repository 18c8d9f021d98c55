//! The metrics server of the daemon (key `addr`): Prometheus metrics, liveness, readiness.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | text format 0.0.4, compressed when the client takes gzip |
//! | `/healthz` | 200 as long as the process answers |
//! | `/readyz` | 200 when no enabled database is behind or failed and all have a replica that holds something, else 503 with a line for each that is not ready |
//!
//! A scrape reads counters in memory: it waits for no capture and makes no request to a replica.

mod exposition;
mod families;
mod operations;
mod process;

use std::convert::Infallible;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use litestream::{DatabaseStatus, State, Store};
use tokio::net::{TcpListener, TcpStream};

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// Headers have to be there within this time.
const HEADER_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

type Answer = Response<Full<Bytes>>;

/// Splits `HOST:PORT`; the host may be empty, and in brackets. `None` when there is no port.
pub(crate) fn split(addr: &str) -> Option<(&str, u16)> {
    let (host, port) = addr.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port.parse().ok()?))
}

/// A running metrics server. Ends when it is dropped.
pub(crate) struct Server {
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens at `addr`, and logs where.
    pub(crate) async fn start(addr: &str, store: &Arc<Store>) -> std::io::Result<Self> {
        let (host, port) = split(addr).ok_or(std::io::ErrorKind::InvalidInput)?;
        let listener = bind(host, port).await?;
        let shown = if host.is_empty() { "localhost" } else { host };
        let port = listener.local_addr()?.port();
        tracing::info!(url = %format_args!("http://{shown}:{port}/metrics"), "serving metrics on");
        let task = tokio::spawn(accept(listener, Arc::clone(store)));
        Ok(Self { task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Without a host on all addresses of the machine, of both families where there are both.
async fn bind(host: &str, port: u16) -> std::io::Result<TcpListener> {
    if !host.is_empty() {
        return TcpListener::bind((host, port)).await;
    }
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
        bound => bound,
    }
}

async fn accept(listener: TcpListener, store: Arc<Store>) {
    let room = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    // Dropped with this task, and with it all connections.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let store = Arc::clone(&store);
                connections.spawn(async move {
                    serve(stream, store).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::error!(%error, "metrics server error");
                // Out of descriptors, most likely: give others time to end.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, store: Arc<Store>) {
    let service = service_fn(move |request| {
        let answer = answer(&store, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "metrics connection");
    }
}

fn answer(store: &Store, request: &Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        return text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method Not Allowed\n".to_owned(),
        );
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allowed);
        return refused;
    }
    match path {
        "/metrics" => metrics(store, request),
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        _ => readiness(&store.status()),
    }
}

fn metrics(store: &Store, request: &Request<Incoming>) -> Answer {
    let body = families::all(store).into_bytes();
    let compressed = takes_gzip(request).then(|| gzip(&body)).flatten();
    let is_compressed = compressed.is_some();
    let mut answer = Response::new(Full::new(Bytes::from(compressed.unwrap_or(body))));
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    if is_compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

fn takes_gzip(request: &Request<Incoming>) -> bool {
    let accepted = request.headers().get_all(ACCEPT_ENCODING);
    let values = accepted.iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        coding
            .split(';')
            .next()
            .is_some_and(|name| name.trim() == "gzip")
    })
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Whether everything that should be replicated is; for each replica that is not, a line why.
fn readiness(databases: &[DatabaseStatus]) -> Answer {
    let mut reasons = String::new();
    for database in databases
        .iter()
        .filter(|database| database.state != State::Disabled)
    {
        for replica in &database.replicas {
            if replica.state.is_alarming() || replica.acknowledged.is_none() {
                let cause = replica
                    .cause
                    .as_deref()
                    .unwrap_or("nothing is acknowledged yet");
                let path = database.path.display();
                let line = format!("{path}: {}: {}: {cause}\n", replica.kind, replica.state);
                reasons.push_str(&line);
            }
        }
    }
    if reasons.is_empty() {
        text(StatusCode::OK, "ok\n".to_owned())
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, reasons)
    }
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_port() {
        assert_eq!(split(":9090"), Some(("", 9090)));
        assert_eq!(split("localhost:0"), Some(("localhost", 0)));
        assert_eq!(split("[::1]:9090"), Some(("::1", 9090)));
        for addr in ["localhost", "9090", "::1", "a:b", "a:", "a:70000", "[::1:9"] {
            assert_eq!(split(addr), None, "{addr}");
        }
    }
}
