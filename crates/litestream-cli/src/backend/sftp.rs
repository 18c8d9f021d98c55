//! A replica on an SFTP server.

use litestream_storage::{SftpSettings, SftpStore};

use super::clock;
use crate::config::SftpTarget;

pub(super) fn open(target: &SftpTarget) -> SftpStore {
    SftpStore::new(settings(target), clock())
}

fn settings(target: &SftpTarget) -> SftpSettings {
    SftpSettings {
        password: target.password.clone(),
        key_path: target.key_path.clone().map(Into::into),
        agent: target.agent.clone().map(Into::into),
        host_key: target.host_key.clone(),
        known_hosts: target.known_hosts.clone(),
        concurrent_writes: target.concurrent_writes,
        // Joined and cleaned as the reference does it: `a/`, `./a` and `a` are one folder.
        ..SftpSettings::new(&target.host, &target.user, root(&target.path))
    }
}

fn root(path: &str) -> String {
    match path {
        "" => String::new(),
        path => crate::paths::clean(path),
    }
}
