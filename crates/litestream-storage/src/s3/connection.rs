//! Credentials and region, found with the first call, and the SDK's client made of them.
//!
//! Invariant: at most one call at a time looks for them; one that fails leaves nothing behind.
//! With an endpoint and credentials in the settings neither environment nor files are read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::ConfigLoader;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, IdentityCache, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_s3::operation::get_bucket_location::GetBucketLocationError;

use super::error::{Failure, RawResponse, named};
use super::settings::S3Settings;
use super::{sign, wire};
use crate::http::HttpClient;
use crate::{Error, Key, Operation};

/// Where services without regions are, and where the region of a bucket is asked for.
const DEFAULT_REGION: &str = "us-east-1";
/// Longest search for credentials. A machine without a metadata service is found out in this time.
const SEARCH_LIMIT: Duration = Duration::from_secs(20);
/// What the oldest buckets of Europe say instead of their region.
const OLD_EUROPE: (&str, &str) = ("EU", "eu-west-1");

/// The way to the service.
#[derive(Debug)]
pub(super) struct Connection {
    settings: Arc<S3Settings>,
    http: HttpClient,
    known: Mutex<Option<Client>>,
    /// The region stays what it is when credentials are looked for again.
    region: Mutex<Option<Region>>,
    looking: tokio::sync::Mutex<()>,
}

/// The region of the bucket could not be found out.
#[derive(Debug)]
pub(super) struct NoRegion(aws_sdk_s3::error::SdkError<GetBucketLocationError, RawResponse>);

impl NoRegion {
    pub(super) fn into_error(self, operation: Operation, key: Option<&Key>) -> Error {
        let cause = Failure::of(self.0).into_error(operation, None, true);
        let error = Error::new(cause.kind(), operation)
            .with_detail("cannot look up the region of the bucket")
            .with_source(cause);
        named(error, key)
    }
}

impl Connection {
    pub(super) fn new(settings: Arc<S3Settings>, http: HttpClient) -> Self {
        Self {
            settings,
            http,
            known: Mutex::new(None),
            region: Mutex::new(None),
            looking: tokio::sync::Mutex::new(()),
        }
    }

    /// The client; makes it with the first call.
    pub(super) async fn client(&self) -> Result<Client, NoRegion> {
        if let Some(client) = get(&self.known) {
            return Ok(client);
        }
        let _looking = self.looking.lock().await;
        if let Some(client) = get(&self.known) {
            return Ok(client);
        }
        let client = self.connect().await?;
        set(&self.known, Some(client.clone()));
        Ok(client)
    }

    /// Has the next call look for credentials again.
    pub(super) fn forget(&self) {
        set(&self.known, None);
    }

    async fn connect(&self) -> Result<Client, NoRegion> {
        let settings = &*self.settings;
        let region = match (&settings.region, &settings.endpoint, get(&self.region)) {
            (Some(region), ..) => Region::new(region.clone()),
            (None, Some(_), _) => Region::from_static(DEFAULT_REGION),
            (None, None, Some(known)) => known,
            (None, None, None) => {
                let found = self.look_up_region().await?;
                set(&self.region, Some(found.clone()));
                found
            }
        };
        let builder = match (&settings.endpoint, &settings.credentials) {
            (Some(_), Some(fixed)) => Builder::new().credentials_provider(credentials(fixed)),
            _ => Builder::from(&self.environment(&region).load().await),
        };
        let mut builder = quiet(builder)
            .http_client(wire::client(self.http.clone(), Some(settings)))
            .region(region)
            .force_path_style(settings.path_style)
            .use_arn_region(true);
        if let Some(endpoint) = &settings.endpoint {
            // Services that only speak the protocol often refuse checksums that they were not
            // asked to check.
            builder = builder
                .endpoint_url(endpoint)
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        if !settings.sign_payload {
            builder = builder.interceptor(sign::UNSIGNED_PAYLOAD);
        }
        if settings.sign_accept_encoding {
            builder = builder.interceptor(sign::ACCEPT_ENCODING);
        }
        Ok(Client::from_conf(builder.build()))
    }

    /// Environment, files, and services of the machine, in the order of Amazon's tools. Without
    /// credentials of the settings they are looked for when the first request is signed.
    fn environment(&self, region: &Region) -> ConfigLoader {
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(wire::client(self.http.clone(), None))
            // Theirs would be read from the environment, and a senseless one there is a panic.
            .retry_config(RetryConfig::standard())
            .region(region.clone());
        match &self.settings.credentials {
            Some(fixed) => loader.credentials_provider(credentials(fixed)),
            // Before profiles, as in the SDK of the reference: this one has it after them, and
            // would sign as somebody else where both are there.
            None if names_web_identity() => loader.credentials_provider(self.web_identity(region)),
            None => loader,
        }
    }

    /// Credentials for the token that a file holds, and nothing else if there are none.
    fn web_identity(&self, region: &Region) -> WebIdentityTokenCredentialsProvider {
        let config = ProviderConfig::without_region()
            .with_region(Some(region.clone()))
            .with_http_client(wire::client(self.http.clone(), None));
        WebIdentityTokenCredentialsProvider::builder()
            .configure(&config)
            .build()
    }

    async fn look_up_region(&self) -> Result<Region, NoRegion> {
        let from = self.environment(&Region::from_static(DEFAULT_REGION));
        let builder = quiet(Builder::from(&from.load().await));
        let client = Client::from_conf(builder.build());
        let asked = client
            .get_bucket_location()
            .bucket(&self.settings.bucket)
            .send()
            .await
            .map_err(NoRegion)?;
        let name = asked
            .location_constraint()
            .map(|found| found.as_str().to_owned())
            .filter(|name| !name.is_empty());
        Ok(match name {
            None => Region::from_static(DEFAULT_REGION),
            Some(name) if name == OLD_EUROPE.0 => Region::from_static(OLD_EUROPE.1),
            Some(name) => Region::new(name),
        })
    }
}

/// Whether the environment names a file with a token, which its provider reads by itself.
fn names_web_identity() -> bool {
    std::env::var_os("AWS_WEB_IDENTITY_TOKEN_FILE").is_some_and(|file| !file.is_empty())
}

/// Leaves trying again and limits of time to those who know more: the wrapper and the HTTP client.
fn quiet(builder: Builder) -> Builder {
    builder
        .behavior_version(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .identity_cache(IdentityCache::lazy().load_timeout(SEARCH_LIMIT).build())
}

fn credentials(fixed: &super::S3Credentials) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(
        &fixed.access_key_id,
        &fixed.secret_access_key,
        fixed.session_token.clone(),
        None,
        "settings",
    ))
}

fn get<T: Clone>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set<T>(slot: &Mutex<Option<T>>, value: Option<T>) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = value;
}
