//! Why a request brought no response.

use std::error::Error as StdError;
use std::time::Duration;

use hyper_util::client::legacy;

use crate::{Error, ErrorKind, Operation};

/// Any error.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A request without a response, or a response that broke off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The request or a setting makes no sense.
    #[error("invalid request")]
    Invalid(#[source] BoxError),
    /// No connection: name lookup, TCP, proxy or TLS failed.
    #[error("cannot connect to {host}")]
    Connect {
        /// The host that was wanted.
        host: String,
        /// What failed.
        source: BoxError,
    },
    /// No connection in time.
    #[error("no connection to {host} within {limit:?}")]
    ConnectTimeout {
        /// The host that was wanted.
        host: String,
        /// The time that was given.
        limit: Duration,
    },
    /// The request was sent, or got stuck, and no response came. It may have had its effect.
    #[error("no answer from {host} within {limit:?}")]
    NoAnswer {
        /// The host that was asked.
        host: String,
        /// The time that was given.
        limit: Duration,
    },
    /// The body of the response stood still.
    #[error("nothing more from {host} within {limit:?}")]
    Stalled {
        /// The host that was asked.
        host: String,
        /// The time that was given.
        limit: Duration,
    },
    /// The connection broke, or what came over it is no HTTP. The request may have had its effect.
    #[error("connection to {host} broke")]
    Broken {
        /// The host that was asked.
        host: String,
        /// What happened.
        source: BoxError,
    },
    /// The response is longer than anything of its kind should be.
    #[error("answer of {host} is longer than {most} bytes")]
    TooLong {
        /// The host that was asked.
        host: String,
        /// The limit.
        most: usize,
    },
    /// The body of the request failed with this error.
    #[error("the body of the request failed")]
    RequestBody(#[source] BoxError),
}

impl HttpError {
    /// From what the connection pool says and the error of the request's body, if it had one.
    pub(super) fn of(host: String, error: legacy::Error, body: Option<BoxError>) -> Self {
        if let Some(error) = body {
            return Self::RequestBody(error);
        }
        let is_connect = error.is_connect();
        // The connector's own error says it better than the pool around it.
        match own(error.into()) {
            Ok(own) => own,
            Err(source) if is_connect => Self::Connect { host, source },
            Err(source) => Self::Broken { host, source },
        }
    }

    /// Whether it is certain that the request had no effect.
    pub fn had_no_effect(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_) | Self::Connect { .. } | Self::ConnectTimeout { .. }
        )
    }

    /// Whether the server has a certificate that is not trusted.
    pub fn is_untrusted(&self) -> bool {
        let Self::Connect { source, .. } = self else {
            return false;
        };
        let inside = source
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .and_then(|inside| inside.downcast_ref::<rustls::Error>());
        matches!(inside, Some(rustls::Error::InvalidCertificate(_)))
    }

    /// As the error of a store's `operation`.
    pub fn into_error(self, operation: Operation) -> Error {
        let kind = match &self {
            Self::Invalid(_) | Self::RequestBody(_) => ErrorKind::Invalid,
            Self::Connect { .. } if self.is_untrusted() => ErrorKind::Denied,
            Self::Connect { .. } => ErrorKind::Unavailable { retry_after: None },
            Self::ConnectTimeout { .. } | Self::NoAnswer { .. } | Self::Stalled { .. } => {
                ErrorKind::Timeout
            }
            Self::Broken { .. } => ErrorKind::Io,
            Self::TooLong { .. } => ErrorKind::Corrupt,
        };
        match self {
            Self::RequestBody(error) => match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::from_body(error),
            },
            other => {
                let mut detail = other.to_string();
                if other.is_untrusted() {
                    detail.push_str(": its certificate is not trusted");
                }
                let error = Error::new(kind, operation).with_detail(detail);
                match other {
                    Self::Invalid(source)
                    | Self::Connect { source, .. }
                    | Self::Broken { source, .. } => error.with_source(source),
                    _ => error,
                }
            }
        }
    }
}

/// Digs the connector's [`ConnectFailed`] out of what is around it.
fn own(error: BoxError) -> Result<HttpError, BoxError> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(&*error);
    while let Some(at) = next {
        if let Some(failed) = at.downcast_ref::<ConnectFailed>() {
            return failed.take().ok_or(error);
        }
        next = at.source();
    }
    Err(error)
}

/// A failed connection, on its way through the pool.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect")]
pub(super) struct ConnectFailed(std::sync::Mutex<Option<HttpError>>);

impl ConnectFailed {
    pub(super) fn new(error: HttpError) -> Self {
        Self(std::sync::Mutex::new(Some(error)))
    }

    fn take(&self) -> Option<HttpError> {
        self.0.lock().expect("never held in a panic").take()
    }
}
