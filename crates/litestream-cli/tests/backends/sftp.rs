//! SFTP, by way of OpenSSH with a key and of rclone with a password.

use serde_json::{Value, json};
use testkit::reference::{Version, reference_or_skip};
use testkit::server::{FILES_PASSWORD, FILES_USER, RcloneSftp, Sshd};

use super::cross;
use super::place::ours;

fn replica(sshd: &Sshd) -> Value {
    json!({
        "type": "sftp",
        "host": sshd.address(),
        "user": sshd.user(),
        "key-path": sshd.key(),
        "host-key": sshd.host_key(),
        "path": sshd.data().join("app"),
        "sync-interval": "10ms",
    })
}

#[test]
fn ours_restores_what_ours_wrote() {
    let Some(rclone) = RcloneSftp::start_or_skip() else {
        return;
    };
    let replica = json!({
        "type": "sftp",
        "host": rclone.address(),
        "user": FILES_USER,
        "password": FILES_PASSWORD,
        "path": "app",
        "sync-interval": "10ms",
    });
    cross::tell(&replica, &ours(), &ours());
}

#[test]
fn the_reference_restores_what_ours_wrote() {
    let (Some(reference), Some(sshd)) =
        (reference_or_skip(Version::V0_5_17), Sshd::start_or_skip())
    else {
        return;
    };
    cross::tell(&replica(&sshd), &ours(), reference.program());
}

#[test]
fn ours_restores_what_the_reference_wrote() {
    let (Some(reference), Some(sshd)) =
        (reference_or_skip(Version::V0_5_17), Sshd::start_or_skip())
    else {
        return;
    };
    cross::tell(&replica(&sshd), reference.program(), &ours());
}
