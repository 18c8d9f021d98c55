//! A replica in a folder of this machine.

use std::sync::{Arc, LazyLock};

use litestream::{Layout, Ownership};
use litestream_storage::{FileModes, FileStore, Lanes};

use super::{Backend, metered};
use crate::config::FileTarget;

/// Threads at work on replicas, on one mount.
const LANE: usize = 4;

/// The disks are the machine's: all stores share the bounds.
static LANES: LazyLock<Lanes> = LazyLock::new(|| Lanes::new(LANE));

pub(super) fn open(target: &FileTarget) -> Backend {
    let store = Arc::new(FileStore::in_lane(
        target.path.clone(),
        FileModes::default(),
        LANES.of(&target.path),
    ));
    let modes = Arc::clone(&store);
    Backend {
        once: Arc::new(metered(store)),
        retry: None,
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
