//! The connection to NATS, and the errors of the client.
//!
//! Invariant: there is one connection, which mends itself; another one is made only when it has
//! given up. The object store is looked up once per connection and never created.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectError, ConnectErrorKind, rustls};
use tokio::sync::Mutex;

use super::NatsSettings;
use super::news::News;
use super::options;
use crate::{Error, ErrorKind, Operation, Result};

/// Bytes per chunk, as the clients of NATS have it.
const CHUNK: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    settings: NatsSettings,
    news: News,
    current: Mutex<Option<Arc<Bucket>>>,
}

/// The object store, over a connection.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) stream: Stream,
    pub(super) context: Context,
    /// Bytes per chunk.
    pub(super) chunk: usize,
    /// Longest wait for an answer.
    pub(super) timeout: Duration,
    client: Client,
}

impl Connection {
    pub(super) fn new(settings: NatsSettings) -> Self {
        Self {
            settings,
            news: News::default(),
            current: Mutex::default(),
        }
    }

    /// The object store; connects when there is no connection. Callers that come meanwhile wait.
    pub(super) async fn bucket(&self, operation: Operation) -> Result<Arc<Bucket>> {
        let mut current = self.current.lock().await;
        if let Some(bucket) = &*current {
            let given_up = self.settings.max_reconnects.is_some()
                && bucket.client.connection_state() == State::Disconnected;
            if !given_up {
                return Ok(Arc::clone(bucket));
            }
        }
        let bucket = Arc::new(self.open(operation).await?);
        *current = Some(Arc::clone(&bucket));
        Ok(bucket)
    }

    async fn open(&self, operation: Operation) -> Result<Bucket> {
        let settings = &self.settings;
        let options = options::options(settings, operation, &self.news).await?;
        let addresses: Vec<&str> = settings.url.split(',').map(str::trim).collect();
        let client = options.connect(addresses.as_slice()).await;
        let client = client.map_err(|source| self.connecting(operation, source))?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(settings.timeout);
        let name = settings.bucket.clone();
        let stream = context.get_stream(format!("OBJ_{name}")).await;
        let stream = stream.map_err(|source| {
            let kind = match source.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    let detail = format!(
                        "there is no object store {name:?} at {}: create it first \
                         (nats object add {name})",
                        settings.url
                    );
                    return Error::new(ErrorKind::Invalid, operation).with_detail(detail);
                }
                GetStreamErrorKind::JetStream(error) => service(error.error_code()),
                GetStreamErrorKind::Request => ErrorKind::Unavailable { retry_after: None },
                GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => {
                    ErrorKind::Invalid
                }
            };
            Error::new(kind, operation)
                .with_detail(format!("look up the object store {name:?}"))
                .with_source(source)
        })?;
        let limit = client.server_info().max_payload;
        Ok(Bucket {
            name,
            stream,
            context,
            // Servers may allow less than the usual; 0 is a server that did not say.
            chunk: if limit == 0 { CHUNK } else { CHUNK.min(limit) },
            timeout: settings.timeout,
            client,
        })
    }

    /// An error of a call, with what is known about the connection.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.news.explain(error)
    }

    fn connecting(&self, operation: Operation, source: ConnectError) -> Error {
        let settings = &self.settings;
        let kind = match source.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                ErrorKind::Denied
            }
            ConnectErrorKind::ServerParse => ErrorKind::Invalid,
            ConnectErrorKind::TimedOut => ErrorKind::Timeout,
            ConnectErrorKind::Dns
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => ErrorKind::Unavailable { retry_after: None },
        };
        let (kind, hint) = match handshake(&source) {
            Some(rustls::Error::InvalidCertificate(_)) => (
                ErrorKind::Denied,
                "; the certificate of the server is not trusted: root-cas names whom to trust",
            ),
            // Who is refused here is refused in the next minute as well.
            Some(rustls::Error::AlertReceived(_)) => (
                ErrorKind::Denied,
                "; the server refuses the handshake: it wants another client-cert, or one at all",
            ),
            Some(rustls::Error::InvalidMessage(_)) => (
                kind,
                "; the server does not speak TLS, which the settings require",
            ),
            _ => (kind, ""),
        };
        Error::new(kind, operation)
            .with_detail(format!("connect to {}{hint}", settings.url))
            .with_source(source)
    }
}

/// What TLS has to say about a failed connection.
fn handshake<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(at) = next {
        // Its own cause is not among its sources.
        let inside = at
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if let Some(inside) = inside {
            return handshake(inside);
        }
        if let Some(found) = at.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = at.source();
    }
    None
}

/// What an error code of `JetStream` means.
pub(super) fn service(code: ErrorCode) -> ErrorKind {
    /// "maximum bytes exceeded", which the client library has no name for.
    const MAXIMUM_BYTES: ErrorCode = ErrorCode(10077);
    match code {
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => {
            ErrorKind::PreconditionFailed
        }
        ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | MAXIMUM_BYTES => ErrorKind::DiskFull,
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            ErrorKind::Unsupported
        }
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_NOT_FOUND => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Io,
    }
}

/// The error of a message that was not stored.
pub(super) fn publishing(operation: Operation, source: PublishError) -> Error {
    let code = source
        .source()
        .and_then(|inner| inner.downcast_ref::<jetstream::Error>())
        .map(jetstream::Error::error_code);
    let kind = match (source.kind(), code) {
        (_, Some(code)) => service(code),
        (PublishErrorKind::WrongLastSequence, None) => ErrorKind::PreconditionFailed,
        (PublishErrorKind::TimedOut, None) => ErrorKind::Timeout,
        // Nobody listens on the subject: the stream is gone, or its server is for now.
        (PublishErrorKind::StreamNotFound | PublishErrorKind::BrokenPipe, None) => {
            ErrorKind::Unavailable { retry_after: None }
        }
        (PublishErrorKind::MaxPayloadExceeded, None) => ErrorKind::Invalid,
        _ => ErrorKind::Io,
    };
    Error::new(kind, operation).with_source(source)
}
