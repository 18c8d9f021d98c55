//! Tells a database that its WAL or its file was written, without polling.
//!
//! One inotify descriptor and one task serve all databases. Each watch fires once and is then gone
//! until it is armed again, after the capture that it caused: however fast an application writes,
//! it costs one event per capture.
//!
//! Events may get lost (network file systems have none, queues run over): the store's watchdog looks
//! at every database on its own and does not rely on them.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

/// Reasons to look at a database, as bits.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    bits: AtomicU32,
    notify: Notify,
}

/// The WAL was written: there may be commits.
pub(crate) const WAL_WRITTEN: u32 = 1;
/// The database file was written, renamed or removed: somebody runs a checkpoint, or it was replaced.
pub(crate) const DATABASE_WRITTEN: u32 = 2;
/// Something asks for an attempt at once.
pub(crate) const LOOK_NOW: u32 = 4;
/// The watchdog found commits that are not captured.
pub(crate) const OVERDUE: u32 = 8;
/// Others need the descriptors of databases that rest.
pub(crate) const REST: u32 = 16;

impl Signals {
    pub(crate) fn raise(&self, bits: u32) {
        self.bits.fetch_or(bits, Ordering::AcqRel);
        self.notify.notify_one();
    }

    /// The reasons since the last call.
    pub(crate) fn take(&self) -> u32 {
        self.bits.swap(0, Ordering::AcqRel)
    }

    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }
}

#[cfg(target_os = "linux")]
mod events {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};

    use futures_util::StreamExt;
    use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};

    use super::{Arc, DATABASE_WRITTEN, Path, Signals, WAL_WRITTEN, Weak};

    type Targets = HashMap<WatchDescriptor, (Weak<Signals>, u32)>;

    /// See the module above.
    #[derive(Debug)]
    pub(crate) struct Watcher {
        watches: Mutex<Watches>,
        targets: Arc<Mutex<Targets>>,
        /// The system has refused a watch, and that was said.
        is_used_up: AtomicBool,
        task: tokio::task::JoinHandle<()>,
    }

    impl Watcher {
        /// Starts the task on the current runtime; `None` when the system has no notification left.
        pub(crate) fn start() -> Option<Arc<Self>> {
            let started = Inotify::init().and_then(|inotify| {
                let watches = inotify.watches();
                Ok((watches, inotify.into_event_stream(vec![0; 16 << 10])?))
            });
            let (watches, mut events) = match started {
                Ok(started) => started,
                Err(error) => {
                    tracing::warn!(
                        system = "store", %error,
                        hint = "every database is looked at once a second; raise fs.inotify.max_user_instances",
                        "no change notification, polling instead"
                    );
                    return None;
                }
            };
            let targets = Arc::new(Mutex::new(Targets::new()));
            let task = tokio::spawn({
                let targets = Arc::clone(&targets);
                async move {
                    while let Some(event) = events.next().await {
                        let Ok(event) = event else { continue };
                        if event.mask.contains(EventMask::Q_OVERFLOW) {
                            signal_all(&targets);
                        } else if event.mask.contains(EventMask::IGNORED) {
                            lock(&targets).remove(&event.wd);
                        } else if let Some((signals, bits)) = lock(&targets).get(&event.wd)
                            && let Some(signals) = signals.upgrade()
                        {
                            signals.raise(*bits);
                        }
                    }
                }
            });
            Some(Arc::new(Self {
                watches: Mutex::new(watches),
                targets,
                is_used_up: AtomicBool::new(false),
                task,
            }))
        }

        /// Arms the watch of a WAL for its next write.
        pub(crate) fn arm_wal(&self, path: &Path, signals: &Arc<Signals>) -> bool {
            self.arm(path, signals, WAL_WRITTEN, WatchMask::MODIFY)
        }

        /// Arms the watch of a database file for its next write, or its end under this name.
        pub(crate) fn arm_database(&self, path: &Path, signals: &Arc<Signals>) -> bool {
            let mask = WatchMask::MODIFY | WatchMask::MOVE_SELF | WatchMask::ATTRIB;
            self.arm(path, signals, DATABASE_WRITTEN, mask)
        }

        fn arm(&self, path: &Path, signals: &Arc<Signals>, bits: u32, mask: WatchMask) -> bool {
            // The lock is held over the call, so that the event cannot be seen before its target.
            let mut targets = lock(&self.targets);
            let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
            match watches.add(path, mask | WatchMask::ONESHOT) {
                Ok(watch) => {
                    targets.insert(watch, (Arc::downgrade(signals), bits));
                    true
                }
                Err(error) => {
                    let used_up = error.kind() == std::io::ErrorKind::StorageFull;
                    if used_up && !self.is_used_up.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            system = "store", path = %path.display(), %error,
                            hint = "this and further databases are looked at once a second; \
                                    raise fs.inotify.max_user_watches",
                            "no change notification left, polling instead"
                        );
                    }
                    tracing::debug!(path = %path.display(), %error, "watch");
                    false
                }
            }
        }
    }

    impl Drop for Watcher {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    fn lock(targets: &Mutex<Targets>) -> std::sync::MutexGuard<'_, Targets> {
        targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal_all(targets: &Mutex<Targets>) {
        for (signals, bits) in lock(targets).values() {
            if let Some(signals) = signals.upgrade() {
                signals.raise(*bits);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod events {
    use super::{Arc, Path, Signals};

    /// Systems without inotify are polled by the watchdog.
    #[derive(Debug)]
    pub(crate) struct Watcher;

    impl Watcher {
        pub(crate) fn start() -> Option<Arc<Self>> {
            None
        }

        pub(crate) fn arm_wal(&self, _path: &Path, _signals: &Arc<Signals>) -> bool {
            false
        }

        pub(crate) fn arm_database(&self, _path: &Path, _signals: &Arc<Signals>) -> bool {
            false
        }
    }
}

pub(crate) use self::events::Watcher;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn a_write_is_signalled_once_until_the_watch_is_armed_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db-wal");
        let mut file = std::fs::File::create(&path).unwrap();
        let watcher = Watcher::start().unwrap();
        let signals = Arc::new(Signals::default());
        for _ in 0..3 {
            assert!(watcher.arm_wal(&path, &signals));
            file.write_all(b"x").unwrap();
            signals.wait().await;
            assert_eq!(signals.take(), WAL_WRITTEN);
        }
        assert!(!watcher.arm_wal(&directory.path().join("none"), &signals));
    }

    #[tokio::test]
    async fn a_replaced_database_is_signalled() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("a.db"), directory.path().join("b.db"));
        std::fs::write(&path, b"a").unwrap();
        std::fs::write(&other, b"b").unwrap();
        let watcher = Watcher::start().unwrap();
        let signals = Arc::new(Signals::default());
        assert!(watcher.arm_database(&path, &signals));
        std::fs::rename(&other, &path).unwrap();
        signals.wait().await;
        assert_eq!(signals.take(), DATABASE_WRITTEN);
    }
}
