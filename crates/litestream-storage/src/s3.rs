//! Objects in a bucket of Amazon S3, or of a service that speaks its protocol.
//!
//! Invariant: the name of an object is the prefix of the settings followed by the key, byte for
//! byte; neither the request nor its signature normalises it. What is built on the SDK makes one
//! request per call (more for multipart uploads and pages): trying again is for
//! [`Retry`](crate::Retry), except for the parts of one upload, whose bytes are at hand only here.
//!
//! | Module | Owns |
//! |---|---|
//! | `settings` | what is configured, and what of it makes no sense |
//! | `connection` | credentials, region, and the client made of them |
//! | `wire` | requests of the SDK over the shared HTTP client |
//! | `sign` | what is signed besides the usual |
//! | `debug` | requests and answers in the log |
//! | `error` | answers of the service as [`Error`] |
//! | `read` | get and head |
//! | `listing` | list |
//! | `upload`, `multipart` | put |
//! | `delete` | bulk and conditional deletion |

mod connection;
mod credentials;
mod debug;
mod delete;
mod error;
mod listing;
mod multipart;
mod read;
mod settings;
mod sign;
mod upload;
mod wire;

use std::sync::Arc;

use aws_sdk_s3::Client;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::http::HttpClient;
use crate::ranges::Ranges;
use crate::retry::Retrying;
use crate::{
    Body, ByteRange, Error, Key, ListOptions, Object, ObjectMeta, ObjectStore, Operation,
    PutOptions, Result,
};

use connection::Connection;
pub use debug::S3Debug;
pub use settings::{
    MIN_PART_SIZE, S3Credentials, S3CustomerKey, S3Encryption, S3Settings, S3SettingsError,
};

/// Type word, for labels and messages.
const KIND: &str = "s3";

/// Metadata that holds the timestamp of an object, without the prefix of the header.
const TIMESTAMP: &str = "litestream-timestamp";

/// A bucket. Makes no request before the first call, which finds credentials and region.
///
/// # Cost
///
/// As the trait says. `list` with timestamps makes one request more per object, fifty at a time;
/// the first call may make a few for credentials and one for the region.
///
/// Clones share what was found.
#[derive(Debug, Clone)]
pub struct S3Store {
    settings: Arc<S3Settings>,
    connection: Arc<Connection>,
    retrying: Retrying,
    ranges: Arc<Ranges>,
}

impl S3Store {
    /// The bucket that `settings` describe, over `http`. The rest is about the parts of large
    /// uploads, which are tried again one by one.
    ///
    /// # Errors
    ///
    /// When the settings contradict each other.
    pub fn new(
        settings: S3Settings,
        http: HttpClient,
        retrying: Retrying,
    ) -> Result<Self, S3SettingsError> {
        settings.check()?;
        let settings = Arc::new(settings);
        Ok(Self {
            connection: Arc::new(Connection::new(Arc::clone(&settings), http)),
            settings,
            retrying,
            ranges: Arc::default(),
        })
    }

    /// A store with these settings that shares credentials, region and connections with this one;
    /// `None` unless they are the same in everything but the prefix.
    pub fn sharing(&self, settings: &S3Settings) -> Option<Self> {
        let alike = S3Settings {
            prefix: settings.prefix.clone(),
            ..(*self.settings).clone()
        };
        (alike == *settings).then(|| Self {
            settings: Arc::new(alike),
            ..self.clone()
        })
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &S3Settings {
        &self.settings
    }

    /// The name of an object in the bucket.
    fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.settings.prefix)
    }

    async fn client(&self, operation: Operation, key: Option<&Key>) -> Result<Client> {
        self.connection
            .client()
            .await
            .map_err(|failed| failed.into_error(operation, key))
    }

    /// Whether what the service says makes the credentials worthless; then the next call looks
    /// for new ones.
    fn failed<E>(
        &self,
        failure: aws_sdk_s3::error::SdkError<E, error::RawResponse>,
        operation: Operation,
        key: Option<&Key>,
    ) -> Error
    where
        E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let renewable = self.settings.credentials.is_none();
        let failure = error::Failure::of(failure);
        if renewable && failure.has_expired_credentials() {
            self.connection.forget();
        }
        failure.into_error(operation, key, renewable)
    }
}

impl ObjectStore for S3Store {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn reads_parts(&self) -> bool {
        self.ranges.are_kept()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.upload(key, body, options).boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        self.open(key, range).boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.look(key).boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        self.listing(&prefix, &options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        self.delete_all(keys).boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        self.delete_version(key, etag).boxed()
    }
}

/// Gives the customer's key to a request that has to carry it.
macro_rules! with_customer_key {
    ($request:expr, $settings:expr) => {{
        let request = $request;
        match $settings.encryption.customer_key() {
            Some(key) => request
                .sse_customer_algorithm(crate::s3::settings::CUSTOMER_ALGORITHM)
                .sse_customer_key(key.base64())
                .sse_customer_key_md5(key.md5()),
            None => request,
        }
    }};
}
use with_customer_key;
