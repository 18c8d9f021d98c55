//! URLs that are registered over the control socket take a little more than those of a
//! configuration: an endpoint of the environment, a second spelling of two switches with more words
//! for on, and how objects are encrypted.

use super::{ARN_PREFIX, HostForm, Query, customer_key, is_true};
use crate::config::build::{BuildError, Source};

/// Spellings of a switch; those of configurations have the first one only.
pub(super) type Spellings = [&'static str; 2];
pub(super) const PATH_STYLE: Spellings = ["forcePathStyle", "force-path-style"];
pub(super) const SKIP_VERIFY: Spellings = ["skipVerify", "skip-verify"];

/// What a URL says about a switch, if anything.
pub(super) fn switch(source: &Source<'_>, query: &Query<'_>, spellings: Spellings) -> Option<bool> {
    if source.registered {
        return query.text(&spellings).map(|word| is_true(&word));
    }
    // Nothing but this word is true there.
    query.text(&spellings[..1]).map(|word| word == "true")
}

/// The endpoint of the environment, for a registered URL that names none.
pub(super) fn endpoint(source: &Source<'_>, host: &HostForm) -> Option<String> {
    let is_arn = |text: &str| {
        format!("s3://{text}")
            .to_ascii_lowercase()
            .starts_with(ARN_PREFIX)
    };
    let names_one = host.endpoint.is_some() || source.url.is_some_and(|url| is_arn(&url.host));
    if !source.registered || names_one {
        return None;
    }
    let variable = source.env.non_empty("LITESTREAM_S3_ENDPOINT");
    variable.map(str::to_owned)
}

/// How objects are encrypted.
pub(super) struct Encryption {
    pub(super) algorithm: Option<String>,
    pub(super) key: Option<String>,
    pub(super) md5: Option<String>,
    pub(super) kms_key: Option<String>,
}

impl Encryption {
    /// From the keys of a configuration, or from the parameters of a registered URL.
    pub(super) fn of(source: &Source<'_>, query: &Query<'_>) -> Result<Self, BuildError> {
        if source.registered {
            return Ok(Self {
                algorithm: query.text(&["sseCustomerAlgorithm", "sse-customer-algorithm"]),
                key: query.text(&["sseCustomerKey", "sse-customer-key"]),
                md5: query.text(&["sseCustomerKeyMD5", "sse-customer-key-md5"]),
                kms_key: query.text(&["sseKmsKeyId", "sse-kms-key-id"]),
            });
        }
        let settings = source.settings;
        Ok(Self {
            algorithm: settings.sse_customer_algorithm.clone(),
            key: customer_key(source)?,
            md5: None,
            kms_key: settings.sse_kms_key_id.clone(),
        })
    }
}
