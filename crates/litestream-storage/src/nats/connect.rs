//! The connection to NATS, how to log in, and the errors of the client.
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
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions};
use tokio::sync::Mutex;

use super::{NatsLogin, NatsSettings};
use crate::{Error, ErrorKind, Operation, Result};

/// Bytes per chunk, as the clients of NATS have it.
const CHUNK: usize = 128 * 1024;
/// As the reference has it: a question every two minutes whether the other side is there.
const PING_INTERVAL: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub(super) struct Connection {
    settings: NatsSettings,
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
        let options = self.options(operation).await?;
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

    async fn options(&self, operation: Operation) -> Result<ConnectOptions> {
        let settings = &self.settings;
        let wait = settings.reconnect_wait;
        let mut options = ConnectOptions::new()
            .name("litestream")
            .connection_timeout(settings.timeout)
            .request_timeout(Some(settings.timeout))
            .ping_interval(PING_INTERVAL)
            .max_reconnects(settings.max_reconnects)
            .reconnect_delay_callback(move |_| wait)
            .require_tls(settings.tls);
        for file in &settings.root_cas {
            options = options.add_root_certificates(file.clone());
        }
        if let Some((certificate, key)) = &settings.client_certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let bad = |what: String, source: std::io::Error| {
            Error::new(ErrorKind::Invalid, operation)
                .with_detail(what)
                .with_source(source)
        };
        Ok(match &settings.login {
            NatsLogin::None => options,
            NatsLogin::Jwt { jwt, seed } => options
                .credentials(&credentials(jwt, seed))
                .map_err(|source| bad("jwt and seed do not make credentials".into(), source))?,
            NatsLogin::Credentials(path) => {
                let loaded = options.credentials_file(path).await;
                loaded
                    .map_err(|source| bad(format!("credentials file {}", path.display()), source))?
            }
            NatsLogin::Nkey(seed) => options.nkey(seed.clone()),
            NatsLogin::User { name, password } => {
                options.user_and_password(name.clone(), password.clone())
            }
            NatsLogin::Token(token) => options.token(token.clone()),
        })
    }

    fn connecting(&self, operation: Operation, source: ConnectError) -> Error {
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
        Error::new(kind, operation)
            .with_detail(format!("connect to {}", self.settings.url))
            .with_source(source)
    }
}

/// The text of a credentials file.
fn credentials(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
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
