//! Google Cloud Storage, by way of fake-gcs-server.

use serde_json::{Value, json};
use testkit::program::Program;
use testkit::reference::{Version, reference_or_skip};
use testkit::server::FakeGcs;

use super::cross;
use super::place::ours;

const BUCKET: &str = "bkt";

fn replica(path: &str) -> Value {
    json!({"type": "gs", "bucket": BUCKET, "path": path, "sync-interval": "10ms"})
}

/// With the emulator in the environment, where alone it can be named.
fn toward(server: &FakeGcs, program: &Program) -> Program {
    program.with_variable("STORAGE_EMULATOR_HOST", &server.address())
}

#[test]
fn ours_restores_what_ours_wrote() {
    let Some(server) = FakeGcs::start_or_skip(BUCKET) else {
        return;
    };
    let ours = toward(&server, &ours());
    cross::tell_with(&replica(""), &ours, &ours, &ours);
}

#[test]
fn the_reference_restores_what_ours_wrote() {
    let (Some(reference), Some(server)) = (
        reference_or_skip(Version::V0_5_17),
        FakeGcs::start_or_skip(BUCKET),
    ) else {
        return;
    };
    let ours = toward(&server, &ours());
    let reference = toward(&server, reference.program());
    cross::tell_with(&replica("app"), &ours, &ours, &reference);
}

#[test]
fn ours_restores_what_the_reference_wrote() {
    let (Some(reference), Some(server)) = (
        reference_or_skip(Version::V0_5_17),
        FakeGcs::start_or_skip(BUCKET),
    ) else {
        return;
    };
    let ours = toward(&server, &ours());
    let reference = toward(&server, reference.program());
    cross::tell_with(&replica("./a//trail/"), &ours, &reference, &ours);
}
