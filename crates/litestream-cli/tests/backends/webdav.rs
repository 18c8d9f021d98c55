//! `WebDAV`, by way of `WsgiDAV` with a digest and of nginx.

use serde_json::{Value, json};
use testkit::reference::{Version, reference_or_skip};
use testkit::server::{FILES_PASSWORD, FILES_USER, Nginx, Wsgidav, WsgidavLogin};

use super::cross;
use super::place::ours;

fn replica(nginx: &Nginx) -> Value {
    json!({
        "type": "webdav",
        "webdav-url": nginx.endpoint(),
        "path": "/app",
        "sync-interval": "10ms",
    })
}

#[test]
fn ours_restores_what_ours_wrote() {
    let Some(wsgidav) = Wsgidav::start_or_skip(WsgidavLogin::Digest) else {
        return;
    };
    let replica = json!({
        "type": "webdav",
        "webdav-url": wsgidav.endpoint(),
        "webdav-username": FILES_USER,
        "webdav-password": FILES_PASSWORD,
        "path": "/app",
        "sync-interval": "10ms",
    });
    cross::tell(&replica, &ours(), &ours());
}

#[test]
fn the_reference_restores_what_ours_wrote() {
    let (Some(reference), Some(nginx)) =
        (reference_or_skip(Version::V0_5_17), Nginx::start_or_skip())
    else {
        return;
    };
    cross::tell(&replica(&nginx), &ours(), reference.program());
}

#[test]
fn ours_restores_what_the_reference_wrote() {
    let (Some(reference), Some(nginx)) =
        (reference_or_skip(Version::V0_5_17), Nginx::start_or_skip())
    else {
        return;
    };
    cross::tell(&replica(&nginx), reference.program(), &ours());
}
