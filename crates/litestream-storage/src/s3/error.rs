//! What the service, the network or the credentials say, as an [`Error`] of the right kind.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_s3::error::{ConnectorError, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{KIND, credentials};
use crate::http::HttpError;
use crate::{Error, ErrorKind, Key, Operation};

/// The answer behind an error of the SDK.
pub(super) type RawResponse = HttpResponse;

/// What to do about a service with another certificate.
const UNTRUSTED: &str = "its certificate is not trusted: AWS_CA_BUNDLE or SSL_CERT_FILE names a file \
                         with those that are";

/// A request that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The service said so.
    Answer(Answer),
    /// There was no answer.
    Network(HttpError),
    /// There were no credentials to ask with.
    Credentials(ErrorKind, String),
    /// Anything else on this side, or an answer that makes no sense.
    Other(ErrorKind, Box<dyn StdError + Send + Sync>),
}

/// A refusal of the service.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// The region that the bucket is in, when the service says that it is another one.
    pub(super) region: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Failure {
    pub(super) fn of<E>(error: SdkError<E, RawResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        if let SdkError::ServiceError(refused) = &error {
            let raw = refused.raw();
            let header = |name: &str| raw.headers().get(name).map(str::to_owned);
            return Self::Answer(Answer {
                status: raw.status().as_u16(),
                code: refused.err().code().map(str::to_owned),
                message: refused.err().message().map(str::to_owned),
                retry_after: header("retry-after").and_then(|text| seconds(&text)),
                region: header("x-amz-bucket-region"),
                request_id: header("x-amz-request-id"),
            });
        }
        if let Some((kind, why)) = credentials::failure(&error) {
            return Self::Credentials(kind, why);
        }
        let kind = match &error {
            SdkError::TimeoutError(_) => ErrorKind::Timeout,
            // Broken off, or something between here and the service answered in its stead.
            SdkError::ResponseError(_) => ErrorKind::Io,
            SdkError::DispatchFailure(failed) if failed.is_timeout() => ErrorKind::Timeout,
            _ => ErrorKind::Invalid,
        };
        let source = match error.into_source() {
            Ok(source) => source,
            Err(unnamed) => return Self::Other(kind, unnamed.into()),
        };
        match source.downcast::<ConnectorError>() {
            Ok(connector) => match connector.into_source().downcast::<HttpError>() {
                Ok(http) => Self::Network(*http),
                Err(source) => Self::Other(kind, source),
            },
            Err(source) => Self::Other(kind, source),
        }
    }

    /// Whether another set of credentials would help.
    pub(super) fn has_expired_credentials(&self) -> bool {
        matches!(self, Self::Answer(answer) if answer.has_expired_credentials())
    }

    /// With `renewable` credentials, expired ones are worth another try.
    pub(super) fn into_error(
        self,
        operation: Operation,
        key: Option<&Key>,
        renewable: bool,
    ) -> Error {
        let error = match self {
            Self::Network(http) if http.is_untrusted() => {
                let detail = format!("{http}: {UNTRUSTED}");
                http.into_error(operation).with_detail(detail)
            }
            Self::Network(http) => http.into_error(operation),
            Self::Credentials(kind, why) => Error::new(kind, operation).with_detail(why),
            Self::Other(kind, source) => Error::new(kind, operation).with_source(source),
            Self::Answer(answer) => answer.into_error(operation, renewable),
        };
        named(error, key)
    }
}

/// Names backend and object.
pub(super) fn named(error: Error, key: Option<&Key>) -> Error {
    let error = error.with_backend(KIND);
    match key {
        Some(key) => error.with_key(key),
        None => error,
    }
}

impl Answer {
    fn has_expired_credentials(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired")
        )
    }

    fn into_error(self, operation: Operation, renewable: bool) -> Error {
        let kind = if renewable && self.has_expired_credentials() {
            ErrorKind::Unavailable { retry_after: None }
        } else {
            kind_of(self.status, self.code.as_deref(), self.retry_after)
        };
        let mut detail = self.message.unwrap_or_default();
        let mut add = |text: String| {
            if !detail.is_empty() {
                detail.push_str("; ");
            }
            detail.push_str(&text);
        };
        if let Some(region) = &self.region
            && matches!(self.status, 301 | 307 | 400)
        {
            add(format!("the bucket is in region {region}"));
        }
        if let Some(id) = &self.request_id {
            add(format!("request {id}"));
        }
        let error = Error::new(kind, operation)
            .with_code(self.code.unwrap_or_else(|| self.status.to_string()));
        if detail.is_empty() {
            error
        } else {
            error.with_detail(detail)
        }
    }
}

/// The kind of a refusal, by its code where that says more than the status.
///
/// The codes of the first two arms are those that the reference tries again on.
pub(super) fn kind_of(status: u16, code: Option<&str>, retry_after: Option<Duration>) -> ErrorKind {
    match code.unwrap_or_default() {
        "RequestTimeout" | "RequestTimeoutException" => ErrorKind::Timeout,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "TransactionInProgressException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "RequestThrottled"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "EC2ThrottledException"
        | "RequestCanceled"
        | "ServiceUnavailable"
        | "InternalError"
        | "OperationAborted"
        | "ConditionalRequestConflict"
        // The client learns the difference of the clocks from the answer.
        | "RequestTimeTooSkewed" => ErrorKind::Unavailable { retry_after },
        "NoSuchKey" => ErrorKind::NotFound,
        "PreconditionFailed" => ErrorKind::PreconditionFailed,
        "NoSuchBucket" => ErrorKind::Invalid,
        "NotImplemented" => ErrorKind::Unsupported,
        "QuotaExceeded" | "StorageFull" | "InsufficientCapacity" => ErrorKind::DiskFull,
        "AccessDenied"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "TokenRefreshRequired"
        | "InvalidToken" => ErrorKind::Denied,
        _ => match status {
            404 => ErrorKind::NotFound,
            412 => ErrorKind::PreconditionFailed,
            401 | 403 => ErrorKind::Denied,
            408 => ErrorKind::Timeout,
            429 | 500 | 502 | 503 | 504 => ErrorKind::Unavailable { retry_after },
            501 => ErrorKind::Unsupported,
            507 => ErrorKind::DiskFull,
            // A success that could not be read.
            200..=299 => ErrorKind::Io,
            _ => ErrorKind::Invalid,
        },
    }
}

/// `Retry-After` in seconds; a date is left alone.
fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{kind_of, seconds};
    use crate::ErrorKind;

    #[test]
    fn codes_say_more_than_the_status() {
        let overloaded = ErrorKind::Unavailable { retry_after: None };
        for (status, code, kind) in [
            (404, Some("NoSuchKey"), ErrorKind::NotFound),
            (404, Some("NoSuchBucket"), ErrorKind::Invalid),
            (404, None, ErrorKind::NotFound),
            (400, Some("RequestTimeout"), ErrorKind::Timeout),
            (408, None, ErrorKind::Timeout),
            (408, Some("RequestCanceled"), overloaded),
            (400, Some("ExpiredToken"), ErrorKind::Denied),
            (403, Some("RequestTimeTooSkewed"), overloaded),
            (409, Some("ConditionalRequestConflict"), overloaded),
            (412, None, ErrorKind::PreconditionFailed),
            (200, Some("InternalError"), overloaded),
            (501, None, ErrorKind::Unsupported),
            (400, Some("InvalidArgument"), ErrorKind::Invalid),
            (301, Some("PermanentRedirect"), ErrorKind::Invalid),
        ] {
            assert_eq!(kind_of(status, code, None), kind, "{status} {code:?}");
        }
        let asked = Some(Duration::from_secs(7));
        assert_eq!(
            kind_of(503, Some("SlowDown"), asked),
            ErrorKind::Unavailable { retry_after: asked }
        );
    }

    #[test]
    fn retry_after_is_seconds() {
        assert_eq!(seconds(" 12 "), Some(Duration::from_secs(12)));
        assert_eq!(seconds("Sun, 22 Nov 2026 10:00:00 GMT"), None);
    }
}
