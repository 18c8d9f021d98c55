//! Stores for tests.

use std::sync::Arc;
use std::time::Duration;

use litestream_storage::{
    HttpClient, HttpSettings, Metered, Retry, RetryPolicy, Retrying, S3Credentials, S3Settings,
    S3Store, SystemClock,
};

/// Name of the bucket in all tests.
pub(crate) const BUCKET: &str = "bkt";

/// Settings for a server on this machine; neither environment nor files are read with them.
pub(crate) fn settings(endpoint: String, id: &str, secret: &str) -> S3Settings {
    S3Settings {
        prefix: "app/".into(),
        endpoint: Some(endpoint),
        path_style: true,
        credentials: Some(S3Credentials {
            access_key_id: id.into(),
            secret_access_key: secret.into(),
            session_token: None,
        }),
        ..S3Settings::new(BUCKET)
    }
}

/// A store that tries nothing again.
pub(crate) fn bare(settings: S3Settings) -> S3Store {
    let once = RetryPolicy {
        tries: 1,
        ..RetryPolicy::default()
    };
    store(settings, once)
}

/// A store that tries parts of uploads again as `policy` says.
pub(crate) fn store(settings: S3Settings, policy: RetryPolicy) -> S3Store {
    let http = HttpClient::new(HttpSettings::default()).expect("settings that make sense");
    S3Store::new(settings, http, Retrying::new(policy)).expect("settings that make sense")
}

/// The layers of the program around a store.
pub(crate) fn layered(settings: S3Settings) -> Retry<Metered<S3Store>> {
    let policy = RetryPolicy {
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(5),
        ..RetryPolicy::default()
    };
    let metered = Metered::new(store(settings, policy.clone()), clock());
    Retry::new(metered, Retrying::new(policy))
}

pub(crate) fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::new())
}
