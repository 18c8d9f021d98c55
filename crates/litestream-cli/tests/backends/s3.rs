//! S3, by way of moto.

use serde_json::{Value, json};
use testkit::reference::{Version, reference_or_skip};
use testkit::server::Moto;

use super::cross;
use super::place::ours;

const BUCKET: &str = "bkt";

fn replica(moto: &Moto, path: &str) -> Value {
    json!({
        "type": "s3",
        "bucket": BUCKET,
        "path": path,
        "endpoint": moto.endpoint(),
        "region": "us-east-1",
        "access-key-id": "x",
        "secret-access-key": "y",
        "sync-interval": "10ms",
    })
}

#[test]
fn ours_restores_what_ours_wrote() {
    let Some(moto) = Moto::start_or_skip(BUCKET) else {
        return;
    };
    // Without a path, keys begin with a slash.
    cross::tell(&replica(&moto, ""), &ours(), &ours());
}

#[test]
fn the_reference_restores_what_ours_wrote() {
    let (Some(reference), Some(moto)) = (
        reference_or_skip(Version::V0_5_17),
        Moto::start_or_skip(BUCKET),
    ) else {
        return;
    };
    cross::tell(&replica(&moto, "app"), &ours(), reference.program());
}

#[test]
fn ours_restores_what_the_reference_wrote() {
    let (Some(reference), Some(moto)) = (
        reference_or_skip(Version::V0_5_17),
        Moto::start_or_skip(BUCKET),
    ) else {
        return;
    };
    cross::tell(
        &replica(&moto, "/lead/trail/"),
        reference.program(),
        &ours(),
    );
}
