//! A replica in a bucket of S3 or of something that speaks its protocol.

use std::sync::{Mutex, Once, PoisonError};

use litestream::Layout;
use litestream_storage::{
    Pace, Retrying, S3Credentials, S3CustomerKey, S3Debug, S3Encryption, S3Settings,
    S3SettingsError, S3Store,
};

use super::{Backend, http, retry_policy, wrapped};
use crate::config::{BuildError, Network, S3Target};

/// Buckets that were opened, to be shared by replicas that differ in nothing but their path: they
/// need credentials and region only once.
static BUCKETS: Mutex<Vec<(Network, bool, S3Store)>> = Mutex::new(Vec::new());

pub(super) fn open(
    target: &S3Target,
    network: &Network,
    pace: Pace,
) -> Result<Backend, BuildError> {
    let settings = settings(target).map_err(|error| BuildError::Store(error.to_string()))?;
    let in_flight = settings
        .part_size
        .saturating_mul(settings.concurrency as u64 + 1);
    let store = bucket(settings, network, target.skip_verify)?;
    let mut policy = retry_policy();
    policy.in_flight = in_flight;
    Ok(wrapped(store, Layout::Hex, policy, pace))
}

fn bucket(
    settings: S3Settings,
    network: &Network,
    skip_verify: bool,
) -> Result<S3Store, BuildError> {
    let mut buckets = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    let shared = buckets.iter().find_map(|(way, skips, store)| {
        let same = way == network && *skips == skip_verify;
        same.then(|| store.sharing(&settings)).flatten()
    });
    if let Some(store) = shared {
        return Ok(store);
    }
    let client = http::client(network, skip_verify, true)?;
    let store = S3Store::new(settings, client, Retrying::new(retry_policy()))
        .map_err(|error| BuildError::Store(error.to_string()))?;
    buckets.push((network.clone(), skip_verify, store.clone()));
    Ok(store)
}

/// What is to be logged; says once what of it makes no sense.
fn debug(words: &str) -> S3Debug {
    static SAID: Once = Once::new();
    let (debug, unknown) = S3Debug::parse(words);
    if !unknown.is_empty() {
        SAID.call_once(|| {
            for value in unknown {
                tracing::warn!(
                    value,
                    "unknown LITESTREAM_S3_DEBUG value, must be signing, request, \
                     request-with-body, response, response-with-body, retries or all"
                );
            }
        });
    }
    debug
}

fn settings(target: &S3Target) -> Result<S3Settings, S3SettingsError> {
    let credentials = match (&target.access_key_id, &target.secret_access_key) {
        (Some(id), Some(secret)) => Some(S3Credentials {
            access_key_id: id.clone(),
            secret_access_key: secret.clone(),
            session_token: target.session_token.clone(),
        }),
        _ => None,
    };
    let encryption = match (&target.sse_customer_key, &target.sse_kms_key_id) {
        (Some(_), Some(_)) => return Err(S3SettingsError::TwoKeys),
        (Some(key), None) => {
            let key = S3CustomerKey::new(&target.sse_customer_algorithm, key)?;
            S3Encryption::Customer(match &target.sse_customer_key_md5 {
                Some(md5) => key.expecting(md5)?,
                None => key,
            })
        }
        (None, Some(key)) => S3Encryption::Kms(key.clone()),
        (None, None) => S3Encryption::None,
    };
    Ok(S3Settings {
        // Even without a path there is a slash: existing replicas are laid out like that.
        prefix: format!("{}/", target.path),
        region: target.region.clone(),
        endpoint: target.endpoint.clone(),
        path_style: target.force_path_style,
        credentials,
        sign_payload: target.sign_payload,
        content_md5: target.require_content_md5,
        sign_accept_encoding: target.sign_accept_encoding,
        consistent: target.consistent_header,
        storage_class: target.storage_class.clone(),
        encryption,
        part_size: target.part_size,
        concurrency: target.concurrency,
        debug: debug(&target.debug),
        ..S3Settings::new(&target.bucket)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Target, of_database, of_registered, parse};
    use crate::env::Env;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const MD5: &str = "hRasmdxgYDKV3nvbahU1MA==";

    fn encryption(env: &Env, config: &Config) -> Result<S3Encryption, String> {
        let replicas = config.dbs[0].replicas(env);
        let replica = replicas.map_err(|error| error.to_string())?.remove(0);
        let Target::S3(target) = replica.target else {
            panic!("{replica:?}")
        };
        let settings = settings(&target).map_err(|error| error.to_string())?;
        Ok(settings.encryption)
    }

    #[test]
    fn registered_urls_say_how_objects_are_encrypted() {
        let env = Env::of(&[], "/", None, 1);
        let of = |query: &str| {
            let url = format!("s3://b/p?{query}");
            encryption(&env, &of_registered(&env, Path::new("/db"), &url))
        };
        let customer = S3Encryption::Customer(S3CustomerKey::new("AES256", KEY).expect("a key"));
        for (query, expected) in [
            (String::new(), S3Encryption::None),
            (format!("sseCustomerKey={KEY}"), customer.clone()),
            (format!("sse-customer-key={KEY}"), customer.clone()),
            (
                format!(
                    "sse-customer-key={KEY}&sseCustomerAlgorithm=AES256&sseCustomerKeyMD5={MD5}"
                ),
                customer.clone(),
            ),
            (
                format!("sseCustomerKey={KEY}&sse-customer-key-md5={MD5}"),
                customer,
            ),
            ("sseKmsKeyId=k".into(), S3Encryption::Kms("k".into())),
            ("sse-kms-key-id=k".into(), S3Encryption::Kms("k".into())),
        ] {
            assert_eq!(of(&query), Ok(expected), "{query}");
        }
        for (query, text) in [
            (
                format!("sseCustomerKey={KEY}&sseKmsKeyId=k"),
                "mutually exclusive",
            ),
            (
                format!("sseCustomerKey={KEY}&sse-customer-algorithm=AES128"),
                "must be AES256",
            ),
            ("sseCustomerKey=no,base64".into(), "must be base64"),
            ("sseCustomerKey=AAAA".into(), "32 bytes, got 3"),
            (
                format!("sseCustomerKey={KEY}&sseCustomerKeyMD5=AAAA"),
                "is not the MD5",
            ),
        ] {
            let refused = of(&query).expect_err(&query);
            assert!(refused.contains(text), "{query}: {refused}");
            assert!(!refused.contains(KEY), "the key shows: {refused}");
        }
    }

    #[test]
    fn keys_of_a_configuration_say_how_objects_are_encrypted() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("key");
        std::fs::write(&file, format!("{KEY}\n")).expect("written");
        let home = folder.path().to_str().expect("UTF-8");
        let env = Env::of(&[("HOME", home)], "/", None, 1);
        let of = |keys: &str| {
            let text = format!("dbs: [{{path: /a, replica: {{type: s3, bucket: b, {keys}}}}}]");
            encryption(&env, &parse(&env, &text).expect("a configuration"))
        };
        let customer = S3Encryption::Customer(S3CustomerKey::new("AES256", KEY).expect("a key"));
        for (keys, expected) in [
            (String::new(), S3Encryption::None),
            (format!("sse-customer-key: '{KEY}'"), customer.clone()),
            (
                format!("sse-customer-key: '{KEY}', sse-customer-algorithm: AES256"),
                customer.clone(),
            ),
            (
                format!("sse-customer-key-path: {}", file.display()),
                customer.clone(),
            ),
            // The file wins over the key.
            (
                "sse-customer-key-path: ~/key, sse-customer-key: AAAA".into(),
                customer,
            ),
            ("sse-kms-key-id: k".into(), S3Encryption::Kms("k".into())),
        ] {
            assert_eq!(of(&keys), Ok(expected), "{keys}");
        }
        for (keys, text) in [
            (
                format!("sse-customer-key: '{KEY}', sse-kms-key-id: k"),
                "mutually exclusive",
            ),
            (
                format!("sse-customer-key: '{KEY}', sse-customer-algorithm: AES128"),
                "must be AES256",
            ),
            ("sse-customer-key: AAAA".into(), "32 bytes, got 3"),
        ] {
            let refused = of(&keys).expect_err(&keys);
            assert!(refused.contains(text), "{keys}: {refused}");
        }
    }

    #[test]
    fn urls_of_the_command_line_say_nothing_of_encryption() {
        let env = Env::of(&[], "/", None, 1);
        let url = format!("s3://b/p?sseCustomerKey={KEY}&sseCustomerKeyMD5=AAAA&sseKmsKeyId=k");
        let config = of_database(&env, Path::new("/db"), &[url]);
        assert_eq!(encryption(&env, &config), Ok(S3Encryption::None));
    }
}
