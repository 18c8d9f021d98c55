//! What can be configured about a bucket.
//!
//! Invariant: settings that pass [`S3Settings::check`] can be used; secrets show in no message.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::uri::Scheme;
use md5::{Digest as _, Md5};

use super::debug::S3Debug;

/// Smallest part that services take, but for the last one of an upload: 5 MiB.
pub const MIN_PART_SIZE: u64 = 5 << 20;

/// Algorithm of customer keys, the only one there is.
pub(super) const CUSTOMER_ALGORITHM: &str = "AES256";

/// Where a bucket is and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct S3Settings {
    /// Name of the bucket, or ARN of an access point.
    pub bucket: String,
    /// What the names of all objects begin with, verbatim: a slash is part of it.
    pub prefix: String,
    /// Region; without it `us-east-1` when there is an endpoint, else it is asked for.
    pub region: Option<String>,
    /// Address of the service with its scheme; `None` for Amazon's own.
    pub endpoint: Option<String>,
    /// Name the bucket in the path instead of the host.
    pub path_style: bool,
    /// Fixed credentials; without them the default chain of Amazon's tools.
    pub credentials: Option<S3Credentials>,
    /// Sign the content of requests.
    pub sign_payload: bool,
    /// Send `Content-MD5` with bulk deletions.
    pub content_md5: bool,
    /// Send and sign `Accept-Encoding: identity`; without it no such header is sent.
    pub sign_accept_encoding: bool,
    /// Ask for consistent answers, by `X-Tigris-Consistent`.
    pub consistent: bool,
    /// Storage class of new objects, verbatim.
    pub storage_class: Option<String>,
    /// Encryption on the side of the service.
    pub encryption: S3Encryption,
    /// Size of the parts of large uploads in bytes; smaller bodies are one request.
    pub part_size: u64,
    /// Parts of one upload sent at a time. Times `part_size`, that is the memory of an upload.
    pub concurrency: usize,
    /// What of the requests is logged.
    pub debug: S3Debug,
}

impl S3Settings {
    /// A bucket with everything as it is by default: Amazon's service, default credentials.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            path_style: false,
            credentials: None,
            sign_payload: true,
            content_md5: true,
            sign_accept_encoding: true,
            consistent: false,
            storage_class: None,
            encryption: S3Encryption::None,
            part_size: MIN_PART_SIZE,
            concurrency: 5,
            debug: S3Debug::default(),
        }
    }

    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<(), S3SettingsError> {
        if self.bucket.is_empty() {
            return Err(S3SettingsError::NoBucket);
        }
        if self.part_size < MIN_PART_SIZE {
            return Err(S3SettingsError::PartSize(self.part_size));
        }
        // What is no address fails with the first request.
        let address: Option<Uri> = self.endpoint.as_deref().and_then(|text| text.parse().ok());
        let clear = address.as_ref().and_then(in_the_clear);
        match (&self.encryption, clear) {
            (S3Encryption::Customer(_), Some(host)) => {
                Err(S3SettingsError::CustomerKeyInTheClear(host.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// The host of an address that is reached without TLS over more than this machine or a private
/// network.
pub(super) fn in_the_clear(address: &Uri) -> Option<&str> {
    let host = address.host().unwrap_or_default();
    let is_safe = address.scheme() == Some(&Scheme::HTTPS) || is_private(host);
    (!is_safe).then_some(host)
}

/// Whether a host is this machine or in a private network.
fn is_private(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        // The bucket may stand before it.
        Err(_) => {
            let host = host.to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost")
        }
    }
}

/// Fixed credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// Access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Token of temporary credentials.
    pub session_token: Option<String>,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Encryption on the side of the service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum S3Encryption {
    /// As the bucket is configured.
    #[default]
    None,
    /// With a key that is sent with each request and kept nowhere there.
    Customer(S3CustomerKey),
    /// With this key of the service's key management.
    Kms(String),
}

impl S3Encryption {
    pub(super) fn customer_key(&self) -> Option<&S3CustomerKey> {
        match self {
            Self::Customer(key) => Some(key),
            Self::None | Self::Kms(_) => None,
        }
    }

    pub(super) fn kms_key(&self) -> Option<&str> {
        match self {
            Self::Kms(key) => Some(key),
            Self::None | Self::Customer(_) => None,
        }
    }
}

/// A key of 256 bits that the customer keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct S3CustomerKey {
    base64: String,
    md5: String,
}

impl S3CustomerKey {
    /// From the algorithm's name (`AES256`) and the base64 text of the 32 bytes.
    pub fn new(algorithm: &str, base64: &str) -> Result<Self, S3SettingsError> {
        if algorithm != CUSTOMER_ALGORITHM {
            return Err(S3SettingsError::CustomerAlgorithm(algorithm.to_owned()));
        }
        let raw = STANDARD
            .decode(base64)
            .map_err(|_| S3SettingsError::CustomerKeyText)?;
        if raw.len() != 32 {
            return Err(S3SettingsError::CustomerKeyLength(raw.len()));
        }
        Ok(Self {
            base64: base64.to_owned(),
            md5: STANDARD.encode(Md5::digest(&raw)),
        })
    }

    /// The same key, if its MD5 is this one, in base64.
    pub fn expecting(self, md5: &str) -> Result<Self, S3SettingsError> {
        if self.md5 == md5 {
            Ok(self)
        } else {
            Err(S3SettingsError::CustomerKeyMd5)
        }
    }

    pub(super) fn base64(&self) -> &str {
        &self.base64
    }

    pub(super) fn md5(&self) -> &str {
        &self.md5
    }
}

impl fmt::Debug for S3CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3CustomerKey").finish_non_exhaustive()
    }
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum S3SettingsError {
    /// No bucket.
    #[error("s3: bucket name is required")]
    NoBucket,
    /// Parts that no service takes.
    #[error("s3: part size must be at least {MIN_PART_SIZE} bytes, got {0}")]
    PartSize(u64),
    /// Two kinds of encryption.
    #[error("s3: sse-customer-key and sse-kms-key-id are mutually exclusive")]
    TwoKeys,
    /// Another algorithm than the one there is.
    #[error("s3: sse-customer-algorithm must be AES256, got {0:?}")]
    CustomerAlgorithm(String),
    /// A key that is not base64.
    #[error("s3: sse-customer-key must be base64")]
    CustomerKeyText,
    /// A key of another length.
    #[error("s3: sse-customer-key must have 32 bytes, got {0}")]
    CustomerKeyLength(usize),
    /// A key that is another than the one meant.
    #[error("s3: sse-customer-key-md5 is not the MD5 of sse-customer-key")]
    CustomerKeyMd5,
    /// The key would go over the network as it is.
    #[error("s3: sse-customer-key requires HTTPS endpoint, {0} is spoken to without TLS")]
    CustomerKeyInTheClear(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    #[test]
    fn customer_keys_are_checked() {
        let key = S3CustomerKey::new("AES256", KEY).unwrap();
        assert_eq!(key.md5(), "hRasmdxgYDKV3nvbahU1MA==");
        assert_eq!(
            key.clone().expecting("hRasmdxgYDKV3nvbahU1MA=="),
            Ok(key.clone())
        );
        assert_eq!(key.expecting("AAAA"), Err(S3SettingsError::CustomerKeyMd5));
        assert_eq!(
            S3CustomerKey::new("AES128", KEY),
            Err(S3SettingsError::CustomerAlgorithm("AES128".into()))
        );
        assert_eq!(
            S3CustomerKey::new("AES256", "no base64"),
            Err(S3SettingsError::CustomerKeyText)
        );
        assert_eq!(
            S3CustomerKey::new("AES256", "AAAA"),
            Err(S3SettingsError::CustomerKeyLength(3))
        );
    }

    #[test]
    fn a_customer_key_goes_over_tls_or_stays_near() {
        for (endpoint, allowed) in [
            ("https://s3.example.com", true),
            ("http://localhost:9000", true),
            ("http://127.0.0.1:9000/x", true),
            ("http://[::1]:9000", true),
            ("http://10.1.2.3", true),
            ("http://192.168.1.2:80", true),
            ("http://s3.example.com", false),
            ("http://8.8.8.8:9000", false),
            ("http://localhost.example.com", false),
            ("http://localhost:1@s3.example.com", false),
            ("HTTP://s3.example.com", false),
            ("http://bkt.localhost:9000", true),
            ("http://notlocalhost", false),
            ("http://[2001:db8::1]:9000", false),
        ] {
            let settings = S3Settings {
                endpoint: Some(endpoint.into()),
                encryption: S3Encryption::Customer(S3CustomerKey::new("AES256", KEY).unwrap()),
                ..S3Settings::new("bkt")
            };
            assert_eq!(settings.check().is_ok(), allowed, "{endpoint}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let settings = S3Settings {
            credentials: Some(S3Credentials {
                access_key_id: "AKID".into(),
                secret_access_key: "hidden".into(),
                session_token: Some("hidden".into()),
            }),
            encryption: S3Encryption::Customer(S3CustomerKey::new("AES256", KEY).unwrap()),
            ..S3Settings::new("bkt")
        };
        let text = format!("{settings:?}");
        assert!(text.contains("AKID"), "{text}");
        assert!(!text.contains("hidden") && !text.contains(KEY), "{text}");
    }

    #[test]
    fn impossible_settings_are_refused() {
        assert_eq!(S3Settings::new("").check(), Err(S3SettingsError::NoBucket));
        let small = S3Settings {
            part_size: MIN_PART_SIZE - 1,
            ..S3Settings::new("bkt")
        };
        assert_eq!(small.check(), Err(S3SettingsError::PartSize(5_242_879)));
    }
}
