//! Azure Blob Storage, by way of Azurite.

use serde_json::{Value, json};
use testkit::reference::{Version, reference_or_skip};
use testkit::server::{AZURITE_ACCOUNT, AZURITE_KEY, Azurite};

use super::cross;
use super::place::ours;

const CONTAINER: &str = "bkt";

fn replica(server: &Azurite, path: &str) -> Value {
    json!({
        "type": "abs",
        "bucket": CONTAINER,
        "path": path,
        "endpoint": server.endpoint(),
        "account-name": AZURITE_ACCOUNT,
        "account-key": AZURITE_KEY,
        "sync-interval": "10ms",
    })
}

#[test]
fn ours_restores_what_ours_wrote() {
    let Some(server) = Azurite::start_or_skip(CONTAINER) else {
        return;
    };
    cross::tell(&replica(&server, ""), &ours(), &ours());
}

#[test]
fn the_reference_restores_what_ours_wrote() {
    let (Some(reference), Some(server)) = (
        reference_or_skip(Version::V0_5_17),
        Azurite::start_or_skip(CONTAINER),
    ) else {
        return;
    };
    cross::tell(&replica(&server, "app"), &ours(), reference.program());
}

#[test]
fn ours_restores_what_the_reference_wrote() {
    let (Some(reference), Some(server)) = (
        reference_or_skip(Version::V0_5_17),
        Azurite::start_or_skip(CONTAINER),
    ) else {
        return;
    };
    cross::tell(
        &replica(&server, "./a//trail/"),
        reference.program(),
        &ours(),
    );
}
