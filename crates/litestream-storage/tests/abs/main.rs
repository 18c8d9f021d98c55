//! Azure Blob Storage against the emulator Azurite.

mod credentials;

use std::sync::Arc;

use litestream_storage::contract::{Abilities, check_without};
use litestream_storage::{
    AbsCredentials, AbsSettings, AbsStore, HttpClient, HttpSettings, RetryPolicy, Retrying,
};
use testkit::server::{AZURITE_ACCOUNT, AZURITE_KEY, Azurite};

fn store(endpoint: &str, prefix: &str) -> AbsStore {
    let settings = AbsSettings {
        container: "bkt".into(),
        prefix: prefix.into(),
        endpoint: endpoint.into(),
        credentials: AbsCredentials::AccountKey {
            account: AZURITE_ACCOUNT.into(),
            key: AZURITE_KEY.into(),
        },
        block_size: 3 << 20,
        concurrency: 3,
    };
    let http = HttpClient::new(HttpSettings::default()).expect("sound settings");
    AbsStore::new(settings, http, Retrying::new(RetryPolicy::default())).expect("sound settings")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_keeps_the_contract() {
    let Some(server) = Azurite::start_or_skip("bkt") else {
        return;
    };
    let store = store(&server.endpoint(), "app/");
    let abilities = Abilities {
        many: 530,
        ..Abilities::full()
    };
    // It takes a backslash in a name for a slash.
    check_without(Arc::new(store), abilities, &["odd_keys"]).await;
}
