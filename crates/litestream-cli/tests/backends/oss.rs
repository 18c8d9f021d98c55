//! Alibaba Cloud OSS, by way of a stand-in that verifies signatures.

use serde_json::{Value, json};
use testkit::reference::{Version, reference_or_skip};
use testkit::server::{OSS_ACCESS_KEY, OSS_REGION, OSS_SECRET_KEY, OssStandIn};

use super::cross;
use super::place::ours;

const BUCKET: &str = "bkt";

fn start() -> OssStandIn {
    OssStandIn::start(BUCKET).expect("loopback")
}

fn replica(server: &OssStandIn, path: &str) -> Value {
    json!({
        "type": "oss",
        "bucket": BUCKET,
        "path": path,
        "endpoint": server.endpoint(),
        "region": OSS_REGION,
        "access-key-id": OSS_ACCESS_KEY,
        "secret-access-key": OSS_SECRET_KEY,
        "sync-interval": "10ms",
    })
}

#[test]
fn ours_restores_what_ours_wrote() {
    let server = start();
    // Without a path, keys begin with a slash.
    cross::tell(&replica(&server, ""), &ours(), &ours());
    assert!(server.names().iter().all(|name| name.starts_with("/000")));
}

#[test]
fn the_reference_restores_what_ours_wrote() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    let server = start();
    cross::tell(&replica(&server, "app"), &ours(), reference.program());
}

#[test]
fn ours_restores_what_the_reference_wrote() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    let server = start();
    cross::tell(
        &replica(&server, "/lead/trail/"),
        reference.program(),
        &ours(),
    );
    let names = server.names();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("/lead/trail//000"))
    );
}
