//! A replica in a folder of this machine.

use std::sync::Arc;

use litestream::{Layout, Ownership};
use litestream_storage::{FileModes, FileStore};

use super::Backend;
use crate::config::FileTarget;

pub(super) fn open(target: &FileTarget) -> Backend {
    let store = Arc::new(FileStore::new(target.path.clone(), FileModes::default()));
    let modes = Arc::clone(&store);
    Backend {
        store,
        layout: Layout::Plain,
        adopt: Some(Box::new(move |ownership| {
            modes.set_modes(modes_of(ownership));
        })),
    }
}

fn modes_of(ownership: &Ownership) -> FileModes {
    FileModes {
        file: ownership.file_mode,
        dir: ownership.directory_mode,
        owner: ownership.file_owner,
        dir_owner: ownership.directory_owner,
    }
}
