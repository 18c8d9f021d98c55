//! NATS object stores.

use serde_json::{Value, json};
use testkit::reference::{Version, reference_or_skip};
use testkit::server::Nats;

use super::cross;
use super::place::ours;

const BUCKET: &str = "bkt";

fn start() -> Option<Nats> {
    let more = r#"authorization { users: [ { user: "u", password: "p" } ] }"#;
    let nats = Nats::start_with_or_skip(more)?;
    nats.create_bucket(BUCKET, r#""user":"u","pass":"p""#)
        .expect("bucket");
    Some(nats)
}

fn replica(nats: &Nats) -> Value {
    json!({
        "url": format!("{}/{BUCKET}", nats.url()),
        "username": "u",
        "password": "p",
        "sync-interval": "10ms",
    })
}

#[test]
fn ours_restores_what_ours_wrote() {
    let Some(nats) = start() else { return };
    cross::tell(&replica(&nats), &ours(), &ours());
}

#[test]
fn the_reference_restores_what_ours_wrote() {
    let (Some(reference), Some(nats)) = (reference_or_skip(Version::V0_5_17), start()) else {
        return;
    };
    cross::tell(&replica(&nats), &ours(), reference.program());
}

#[test]
fn ours_restores_what_the_reference_wrote() {
    let (Some(reference), Some(nats)) = (reference_or_skip(Version::V0_5_17), start()) else {
        return;
    };
    cross::tell(&replica(&nats), reference.program(), &ours());
}
