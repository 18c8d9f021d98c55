//! The HTTP client that the object-store backends share.
//!
//! Invariants: a request goes out with exactly the target it was built with, nothing is
//! normalised; no redirect is followed and nothing is tried again once it was written; every wait
//! on the other side has a limit, so that no call hangs; dropping a call ends it.
//!
//! HTTP/1.1 over TCP or TLS (rustls with ring). Connections are kept for a while and shared by the
//! clones of a client; one client may serve any number of stores and hosts.

mod body;
mod connect;
mod error;
#[cfg(feature = "rest")]
pub(crate) mod paging;
pub(crate) mod percent;
mod proxies;
#[cfg(feature = "rest")]
pub(crate) mod reply;
mod tls;
#[cfg(feature = "rest")]
pub(crate) mod token;
#[cfg(any(feature = "abs", feature = "oss"))]
pub(crate) mod xml;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use body::{Progress, RequestBody};
use connect::Connector;

pub use body::HttpBody;
pub use error::{BoxError, HttpError};
pub use percent::{encode_component, encode_path};
pub use proxies::HttpProxies;
pub use tls::HttpTls;

/// Most bytes read from a connection at once. Small enough that the allocator keeps and reuses the
/// buffers: mapping each one anew took half of the system time of a large download.
const READ_SIZE: usize = 128 << 10;

/// How a client reaches servers and how long it waits for them.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Proxies to go through.
    pub proxies: HttpProxies,
    /// Which certificates are trusted.
    pub tls: HttpTls,
    /// Limit of connecting, with name lookup, proxy and TLS handshake. Default 30 s.
    pub connect_timeout: Duration,
    /// Limit of the time without progress from the last piece of the request that was taken to
    /// the head of the response. Default 60 s.
    pub response_timeout: Duration,
    /// Limit of the time without a byte while a response body is read. Default 60 s.
    pub stall_timeout: Duration,
    /// How long an unused connection is kept. Default 90 s.
    pub idle_timeout: Duration,
    /// Unused connections kept per host. Default 16.
    pub idle_connections: usize,
    /// `User-Agent` of requests that have none.
    pub user_agent: String,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            proxies: HttpProxies::default(),
            tls: HttpTls::default(),
            connect_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_mins(1),
            stall_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_secs(90),
            idle_connections: 16,
            user_agent: concat!("litestream ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Sends requests. Clones share connections.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    client: legacy::Client<Connector, RequestBody>,
    connector: Connector,
    settings: HttpSettings,
    user_agent: HeaderValue,
}

impl HttpClient {
    /// A client without connections. Makes no request and reads no file; the certificates of the
    /// system are read with the first TLS connection.
    ///
    /// Fails when a proxy, the user agent or the certificates handed in make no sense.
    pub fn new(settings: HttpSettings) -> Result<Self, HttpError> {
        let user_agent = HeaderValue::from_str(&settings.user_agent)
            .map_err(|error| HttpError::Invalid(error.into()))?;
        let connector = Connector::new(&settings)?;
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(settings.idle_connections)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(READ_SIZE)
            .build(connector.clone());
        Ok(Self(Arc::new(Inner {
            client,
            connector,
            settings,
            user_agent,
        })))
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &HttpSettings {
        &self.0.settings
    }

    /// A client of its own for services that are beside this machine, such as those that hand out
    /// tokens: without proxies, and with little patience for a connection.
    #[cfg(any(feature = "abs", feature = "gs"))]
    pub(crate) fn direct(&self) -> Result<Self, HttpError> {
        Self::new(HttpSettings {
            proxies: HttpProxies::default(),
            connect_timeout: Duration::from_secs(5),
            ..self.settings().clone()
        })
    }

    /// Sends one request, with a body of any kind, and answers when the head of the response is
    /// there, whatever its status. The target must be absolute (`http://host/...`).
    ///
    /// An error from the body of the request comes back as [`HttpError::RequestBody`], unchanged.
    ///
    /// # Cost
    ///
    /// One request. Sent a second time only when a kept connection turned out to be closed before
    /// anything of it was written.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<HttpBody>, HttpError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let inner = &self.0;
        let progress = Arc::new(Progress::default());
        let mut request = request.map(|body| RequestBody::new(body, Arc::clone(&progress)));
        let host = request.uri().host().unwrap_or_default().to_owned();
        if host.is_empty() {
            let target = request.uri().to_string();
            return Err(HttpError::Invalid(format!("no host in {target:?}").into()));
        }
        // Services refuse uploads of nothing that do not say so.
        let is_empty = http_body::Body::size_hint(request.body()).exact() == Some(0);
        let is_upload = matches!(
            *request.method(),
            Method::PUT | Method::POST | Method::PATCH
        );
        if is_empty && is_upload && !request.headers().contains_key(header::CONTENT_LENGTH) {
            let zero = HeaderValue::from_static("0");
            request.headers_mut().insert(header::CONTENT_LENGTH, zero);
        }
        let authorization = inner.connector.proxy_authorization(request.uri());
        let headers = request.headers_mut();
        headers
            .entry(header::USER_AGENT)
            .or_insert_with(|| inner.user_agent.clone());
        if let Some(authorization) = authorization {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        let limit = inner.settings.response_timeout;
        let mut answer = std::pin::pin!(inner.client.request(request));
        loop {
            let before = progress.taken();
            match tokio::time::timeout(limit, answer.as_mut()).await {
                Ok(Ok(response)) => {
                    let stall = inner.settings.stall_timeout;
                    return Ok(response.map(|body| HttpBody::new(body, host, stall)));
                }
                Ok(Err(error)) => return Err(HttpError::of(host, error, progress.error())),
                // The caller's own body is slow, or the connection is: neither stands still.
                Err(_) if progress.is_waiting() || progress.taken() != before => {}
                Err(_) => return Err(HttpError::NoAnswer { host, limit }),
            }
        }
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}
