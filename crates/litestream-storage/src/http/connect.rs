//! From a host name to a connection: name lookup, TCP, proxy, TLS, within one limit of time.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::error::ConnectFailed;
use super::proxies::proxy_of;
use super::tls::Trust;
use super::{BoxError, HttpError, HttpSettings};

/// Keep-alive probes of TCP, so that a peer that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Makes connections. Clones share everything.
#[derive(Clone)]
pub(super) struct Connector(Arc<Shared>);

struct Shared {
    tcp: HttpConnector,
    proxies: Matcher,
    trust: Arc<Trust>,
    tls: OnceCell<Arc<ClientConfig>>,
    limit: Duration,
}

/// Bytes both ways.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Io = TokioIo<Box<dyn Duplex>>;

impl Connector {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, HttpError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        // Per address: one that swallows everything must not use up the whole limit.
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        Ok(Self(Arc::new(Shared {
            tcp,
            proxies: settings.proxies.matcher()?,
            trust: Arc::new(Trust::new(settings.tls.clone())?),
            tls: OnceCell::new(),
            limit: settings.connect_timeout,
        })))
    }

    /// What a proxy wants to see in each plain HTTP request to `target`.
    pub(super) fn proxy_authorization(&self, target: &Uri) -> Option<HeaderValue> {
        if target.scheme_str() != Some("http") {
            return None;
        }
        proxy_of(&self.0.proxies, target)?.basic_auth().cloned()
    }
}

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = ConnectFailed;
    type Future = BoxFuture<'static, Result<Link, ConnectFailed>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectFailed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let shared = Arc::clone(&self.0);
        async move {
            let host = target.host().unwrap_or_default().to_owned();
            let limit = shared.limit;
            match tokio::time::timeout(limit, connect(shared, target)).await {
                Ok(Ok(link)) => Ok(link),
                Ok(Err(source)) => Err(HttpError::Connect { host, source }),
                Err(_) => Err(HttpError::ConnectTimeout { host, limit }),
            }
            .map_err(ConnectFailed::new)
        }
        .boxed()
    }
}

async fn connect(shared: Arc<Shared>, target: Uri) -> Result<Link, BoxError> {
    let is_tls = match target.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        other => return Err(format!("cannot speak {other:?}").into()),
    };
    let mut is_proxied = false;
    let mut io = match proxy_of(&shared.proxies, &target) {
        None => shared.tcp(target.clone()).await?,
        Some(proxy) => {
            let is_socks = proxy
                .uri()
                .scheme_str()
                .is_some_and(|s| s.starts_with("socks"));
            let direct = Direct(Arc::clone(&shared));
            let through = if is_socks {
                socks(&proxy, direct, target.clone()).await
            } else if is_tls {
                tunnel(&proxy, direct, target.clone()).await
            } else {
                is_proxied = true;
                shared.reach(proxy.uri().clone()).await
            };
            through.map_err(|error| format!("proxy {}: {}", proxy.uri(), chain(&*error)))?
        }
    };
    if is_tls {
        io = shared.handshake(&target, io).await?;
    }
    Ok(Link { io, is_proxied })
}

async fn tunnel(proxy: &Intercept, direct: Direct, target: Uri) -> Result<Io, BoxError> {
    let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
    if let Some(authorization) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    Ok(tunnel.call(target).await?)
}

async fn socks(proxy: &Intercept, direct: Direct, target: Uri) -> Result<Io, BoxError> {
    let mut socks = SocksV5::new(proxy.uri().clone(), direct);
    if let Some((user, password)) = proxy.raw_auth() {
        socks = socks.with_auth(user.to_owned(), password.to_owned());
    }
    // Without a port it would always ask for 443.
    Ok(socks.call(with_port(&target)?).await?)
}

/// The texts of an error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl Shared {
    async fn tcp(&self, target: Uri) -> Result<Io, BoxError> {
        let stream = self.tcp.clone().call(target).await?;
        Ok(TokioIo::new(Box::new(stream.into_inner())))
    }

    /// To a proxy, which may itself speak TLS.
    async fn reach(&self, proxy: Uri) -> Result<Io, BoxError> {
        let is_tls = proxy.scheme_str() == Some("https");
        let address = with_port(&proxy)?;
        let io = self.tcp(address).await?;
        if is_tls {
            return self.handshake(&proxy, io).await;
        }
        Ok(io)
    }

    async fn handshake(&self, target: &Uri, io: Io) -> Result<Io, BoxError> {
        let config = self
            .tls
            .get_or_try_init(|| async {
                let trust = Arc::clone(&self.trust);
                tokio::task::spawn_blocking(move || trust.load()).await?
            })
            .await?;
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(name, io.into_inner())
            .await?;
        Ok(TokioIo::new(Box::new(stream)))
    }
}

/// The address of a proxy or server with its port.
fn with_port(target: &Uri) -> Result<Uri, BoxError> {
    if target.port().is_some() {
        return Ok(target.clone());
    }
    let port = match target.scheme_str() {
        Some("https") => 443,
        Some("socks5" | "socks5h") => 1080,
        _ => 80,
    };
    let host = target.host().unwrap_or_default();
    Ok(Uri::builder()
        .scheme("http")
        .authority(format!("{host}:{port}"))
        .path_and_query("/")
        .build()?)
}

/// Connects to proxies.
#[derive(Clone)]
struct Direct(Arc<Shared>);

impl Service<Uri> for Direct {
    type Response = Io;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Io, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let shared = Arc::clone(&self.0);
        async move { shared.reach(proxy).await }.boxed()
    }
}

/// A connection, with what the pool must know about it.
pub(super) struct Link {
    io: Io,
    /// Plain HTTP over a proxy: requests carry the absolute target.
    is_proxied: bool,
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl Read for Link {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Link {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }
}
