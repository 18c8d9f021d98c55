//! Google Cloud Storage against the emulator fake-gcs-server.

mod credentials;

use std::sync::Arc;

use litestream_storage::contract::{Abilities, check_without};
use litestream_storage::{
    GsCredentials, GsSettings, GsStore, HttpClient, HttpSettings, Retry, RetryPolicy, Retrying,
};
use testkit::server::FakeGcs;

fn store(endpoint: &str, prefix: &str) -> GsStore {
    let settings = GsSettings {
        bucket: "bkt".into(),
        prefix: prefix.into(),
        endpoint: endpoint.into(),
        credentials: GsCredentials::Anonymous,
        part_size: 1 << 20,
    };
    let http = HttpClient::new(HttpSettings::default()).expect("sound settings");
    GsStore::new(settings, http, Retrying::new(RetryPolicy::default())).expect("sound settings")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_keeps_the_contract() {
    let Some(server) = FakeGcs::start_or_skip("bkt") else {
        return;
    };
    // It closes kept connections without a word, which any client has to live with.
    let store = Retry::new(
        store(&server.endpoint(), "app/"),
        Retrying::new(RetryPolicy::default()),
    );
    // It looks at no condition of a deletion.
    check_without(Arc::new(store), Abilities::full(), &["delete_if"]).await;
}
