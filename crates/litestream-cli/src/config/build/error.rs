//! Why a replica cannot be built.

use crate::quote::quoted;
use crate::url::UrlError;

/// A database or replica that cannot be built as configured. The texts equal the reference's.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting whose feature is not in this program.
    #[error("{0} is not available in this build; remove the setting to start")]
    FeatureNotAvailable(&'static str),
    /// Neither `replica` nor `replicas`.
    #[error("must specify replica for database")]
    NoReplica,
    /// Both `replica` and `replicas`.
    #[error("cannot specify 'replica' and 'replicas' on a database")]
    BothForms,
    /// `path` holds a URL.
    #[error("replica path cannot be a url, please use the 'url' field instead: {0}")]
    PathIsUrl(String),
    /// `age` is set.
    #[error(
        "age encryption is not currently supported, if you need encryption please revert back to \
         Litestream v0.3.x"
    )]
    Age,
    /// No such type.
    #[error("unknown replica type in config: {}", quoted(.0))]
    UnknownType(String),
    /// No such scheme, of a registered URL.
    #[error("unsupported replica URL scheme: {}", quoted(.0))]
    UnknownScheme(String),
    /// Two ways of saying the same.
    #[error("cannot specify url & {key} for {kind} replica")]
    UrlAnd {
        /// The key beside the URL.
        key: &'static str,
        /// The type word.
        kind: &'static str,
    },
    /// A setting is missing.
    #[error("{what} required for {kind} replica")]
    Required {
        /// What is missing.
        what: &'static str,
        /// The type word.
        kind: &'static str,
    },
    /// Something is missing in a registered URL.
    #[error("{what} required for {kind} replica URL")]
    RequiredInUrl {
        /// What is missing.
        what: &'static str,
        /// The type word.
        kind: &'static str,
    },
    /// A file replica without path.
    #[error("file replica path required")]
    FilePath,
    /// A URL without scheme.
    #[error("replica url scheme required: {0}")]
    Scheme(String),
    /// Text that is no URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// An S3 access point that cannot be read.
    #[error("invalid s3 access point arn: {0}")]
    Arn(String),
    /// A query parameter that is no number.
    #[error(
        "invalid value for query parameter {}: {} (must be a positive integer)",
        quoted(key),
        quoted(value)
    )]
    QueryNumber {
        /// Name of the parameter.
        key: String,
        /// Its value.
        value: String,
    },
    /// The file with the customer key cannot be read.
    #[error("cannot read sse-customer-key-path {}: {cause}", quoted(path))]
    SseKey {
        /// The path as configured.
        path: String,
        /// Why.
        cause: String,
    },
    /// One half of a client certificate.
    #[error("client-cert and client-key must both be specified for mutual TLS authentication")]
    HalfCertificate,
    /// A burst without a rate.
    #[error("max-request-burst needs max-requests-per-second")]
    BurstAlone,
    /// A rate of zero or less.
    #[error("{0} must be positive")]
    NotPositive(&'static str),
    /// So slow that calls would be taken for stalled.
    #[error("{0} must be at least 64KiB (per second)")]
    Bandwidth(&'static str),
    /// An address or login that makes no sense.
    #[error("invalid {kind} replica: {cause}")]
    Invalid {
        /// The type word.
        kind: &'static str,
        /// Why.
        cause: String,
    },
    /// A NATS object store has no folders for several databases.
    #[error("nats replica cannot be used with 'dir': its databases would overwrite each other")]
    NatsDirectory,
    /// `addr` is no address to listen at.
    #[error("must specify port for bind address: {}", quoted(.0))]
    NoPort(String),
    /// `heartbeat-url` cannot be asked.
    #[error("heartbeat-url: no URL that can be asked: {}", quoted(.0))]
    HeartbeatUrl(String),
    /// More levels than there can be.
    #[error("cannot open store: compaction level cannot exceed {0}")]
    TooManyLevels(usize),
    /// `min-checkpoint-page-count` is not positive.
    #[error("cannot open store: minimum checkpoint page count required")]
    CheckpointPageCount,
    /// Settings of a replica that contradict each other.
    #[error("{0}")]
    Store(String),
    /// A proxy or certificate of the environment that cannot be used.
    #[error("cannot set up the network: {0}")]
    Network(String),
    /// This program was built without the code for this type.
    #[error("replica type {} is not available in this build", quoted(.0))]
    NotAvailable(&'static str),
}

impl BuildError {
    /// The same of a URL that was registered.
    pub(super) fn of_registered(self) -> Self {
        match self {
            Self::UnknownType(word) => Self::UnknownScheme(word),
            Self::Required { kind: "NATS", what } => Self::RequiredInUrl { what, kind: "nats" },
            Self::Required { kind, what } => Self::RequiredInUrl {
                // There is no such key there.
                what: if what == "webdav-url" { "host" } else { what },
                kind,
            },
            other => other,
        }
    }
}
