//! `sync -wait`, over and over, and what it acknowledged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use testkit::prefix::Progress;
use testkit::process::wait_until;

use super::place::ours;

/// A thread that calls `sync -wait` until it is ended.
pub(crate) struct Acknowledged {
    known: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Acknowledged {
    /// Begins; the application tells its progress in the file beside the database.
    pub(crate) fn begin(socket: &Path, db: &Path, progress: PathBuf) -> Self {
        let (known, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (socket, db) = (socket.to_owned(), db.to_owned());
        let (told, ended) = (Arc::clone(&known), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                // Read before the call: all of it is to be in the replica when that succeeds.
                let committed = Progress::read(&progress).expect("progress").committed;
                if ours().sync_wait(&socket, &db).is_ok() {
                    told.fetch_max(committed, Ordering::Relaxed);
                }
            }
        });
        Self {
            known,
            stop,
            thread,
        }
    }

    /// Waits until something is acknowledged.
    pub(crate) fn wait_first(&self, timeout: Duration) -> Result<()> {
        wait_until(timeout, "an acknowledgement", || {
            self.known.load(Ordering::Relaxed) > 0
        })
    }

    /// Ends, and tells the newest transaction that was acknowledged.
    pub(crate) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the syncing thread ends well");
        self.known.load(Ordering::Relaxed)
    }
}
