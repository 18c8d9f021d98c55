//! URLs that are registered over the control socket take a little more than those of a
//! configuration: an endpoint of the environment, a second spelling of two parameters, and how
//! objects are encrypted.

use super::{ARN_PREFIX, Query, host_form};
use crate::config::settings::ReplicaSettings;
use crate::env::Env;
use crate::url::Url;

/// Spellings that only registered URLs have, and those of configurations.
const SPELLINGS: [(&str, &str); 2] = [
    ("force-path-style", "forcePathStyle"),
    ("skip-verify", "skipVerify"),
];

/// Parameters with the customer's key, and with its MD5.
pub(super) const KEY: [&str; 2] = ["sseCustomerKey", "sse-customer-key"];
pub(super) const MD5: [&str; 2] = ["sseCustomerKeyMD5", "sse-customer-key-md5"];

/// The settings about encryption that a registered URL has; none in those of other types.
pub(in crate::config) fn encryption(text: &str) -> ReplicaSettings {
    let mut settings = ReplicaSettings::default();
    if !text.to_ascii_lowercase().starts_with("s3://") {
        return settings;
    }
    let (_, query) = text.split_once('?').unwrap_or((text, ""));
    let url = Url::of_query("s3", query);
    let query = Query(Some(&url));
    settings.sse_customer_algorithm =
        query.text(&["sseCustomerAlgorithm", "sse-customer-algorithm"]);
    settings.sse_customer_key = query.text(&KEY);
    settings.sse_kms_key_id = query.text(&["sseKmsKeyId", "sse-kms-key-id"]);
    settings
}

/// A registered URL as a configuration would have it. Anything but S3 stays as it is.
pub(in crate::config) fn registered(env: &Env, text: &str) -> String {
    let Some(rest) = text.strip_prefix("s3://") else {
        return text.to_owned();
    };
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = SPELLINGS.iter().find(|(theirs, _)| *theirs == name);
            known.map_or_else(|| pair.to_owned(), |(_, ours)| format!("{ours}={value}"))
        })
        .collect();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let has_endpoint = text.to_ascii_lowercase().starts_with(ARN_PREFIX)
        || host_form(host).endpoint.is_some()
        || Url::of_query("s3", query)
            .query("endpoint")
            .is_some_and(|endpoint| !endpoint.is_empty());
    if let Some(endpoint) = env
        .non_empty("LITESTREAM_S3_ENDPOINT")
        .filter(|_| !has_endpoint)
    {
        pairs.push(format!("endpoint={endpoint}"));
    }
    if pairs.is_empty() {
        return text.to_owned();
    }
    format!("{place}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::registered;
    use crate::env::Env;

    #[test]
    fn the_endpoint_of_the_environment_is_the_last_choice() {
        let vars = [("LITESTREAM_S3_ENDPOINT", "127.0.0.1:9000")];
        let env = Env::of(&vars, "/", None, 1);
        for (url, expected) in [
            ("s3://b/p", "s3://b/p?endpoint=127.0.0.1:9000"),
            (
                "s3://b/p?region=r",
                "s3://b/p?region=r&endpoint=127.0.0.1:9000",
            ),
            ("s3://b/p?endpoint=x", "s3://b/p?endpoint=x"),
            ("s3://b.localhost:1/p", "s3://b.localhost:1/p"),
            ("s3://b.s3.filebase.com/p", "s3://b.s3.filebase.com/p"),
            ("gs://b/p", "gs://b/p"),
            (
                "s3://b/p?force-path-style=false&skip-verify=true&endpoint=x",
                "s3://b/p?forcePathStyle=false&skipVerify=true&endpoint=x",
            ),
        ] {
            assert_eq!(registered(&env, url), expected);
        }
        let without = Env::of(&[], "/", None, 1);
        assert_eq!(registered(&without, "s3://b/p"), "s3://b/p");
    }
}
