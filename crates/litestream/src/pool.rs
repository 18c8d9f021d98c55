//! A bounded number of threads for SQLite and file work, shared by all databases.
//!
//! Waiting is first come first served, so that one busy database cannot starve the others. Each
//! mount has threads of its own, so that databases on one that hangs do not take those of the others.

use std::path::Path;
use std::sync::Arc;

use litestream_storage::{Lane, Lanes};

use crate::error::{Error, Result};

/// So many threads for each mount.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    lanes: Arc<Lanes>,
}

impl Pools {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            lanes: Arc::new(Lanes::new(threads)),
        }
    }

    /// The pool for work on the database at `path`.
    pub(crate) fn of(&self, path: &Path) -> Pool {
        Pool {
            lane: self.lanes.of(path),
        }
    }
}

/// Lets so many pieces of blocking work run at the same time.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    lane: Lane,
}

impl Pool {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            lane: Lane::new(threads),
        }
    }

    /// Runs `work` once there is room.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self.lane.run(work).await {
            Ok(result) => result,
            Err(_) => Err(Error::Closing {
                what: "blocking work",
            }),
        }
    }
}
