//! Looks at the locks that other processes hold on the wal-index, without taking any.
//!
//! A checkpoint of another process that waits for the pinned reader writes nothing and so causes no
//! event; meanwhile it keeps all writers out. Only its locks show it.
//!
//! Invariant: no descriptor is opened or closed here. Closing one of the wal-index would drop all
//! locks that SQLite holds on it for this process; so SQLite's own is asked.

/// A checkpoint of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// There is none, or none that can be seen.
    None,
    /// Writers go on beside it.
    Open,
    /// It keeps writers out: all modes but PASSIVE do, for as long as they wait for readers, of which
    /// the pin may be one.
    Exclusive,
}

#[cfg(target_os = "linux")]
mod linux {
    #![expect(unsafe_code, reason = "the descriptor belongs to SQLite")]

    use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};

    use rustix::process::{Flock, FlockType, fcntl_getlk};

    use super::super::start::with_suffix;
    use super::Foreign;

    /// Where the lock bytes begin in the wal-index, see "WAL-mode File Format", section 2.3.
    const LOCKS: u64 = 120;
    const WRITER: u64 = LOCKS;
    const CHECKPOINTER: u64 = LOCKS + 1;
    /// So many descriptors are looked at before all are: with thousands of databases, looking at all
    /// for each of them is most of the cost of the start.
    const NEAR: usize = 512;

    /// See the module. Must not be used after the last connection to the database is closed.
    pub(crate) struct Locks {
        descriptor: Option<RawFd>,
    }

    impl Locks {
        /// Finds the descriptor that SQLite has of the wal-index of an open database. If it cannot
        /// be told, no lock is ever seen.
        pub(crate) fn find(database: &Path) -> Self {
            let identity = |path: &Path| {
                let found = std::fs::metadata(path).ok()?;
                Some((found.dev(), found.ino()))
            };
            let descriptor = || {
                let wanted = identity(&with_suffix(database, "-shm"))?;
                let named = |number: i32| PathBuf::from(format!("/proc/self/fd/{number}"));
                // The lowest number that is free: what was opened lately is not far below it.
                let free = std::fs::File::open("/dev/null").ok()?.as_raw_fd();
                let near = (0..free)
                    .rev()
                    .take(NEAR)
                    .find(|number| identity(&named(*number)) == Some(wanted));
                if near.is_some() {
                    return near;
                }
                let open = std::fs::read_dir("/proc/self/fd").ok()?;
                open.flatten()
                    .find(|entry| identity(&entry.path()) == Some(wanted))?
                    .file_name()
                    .to_str()?
                    .parse()
                    .ok()
            };
            Self {
                descriptor: descriptor(),
            }
        }

        /// What checkpoint another process runs.
        pub(crate) fn checkpoint(&self) -> Foreign {
            let checkpointer = self.holder(CHECKPOINTER);
            match checkpointer {
                None => Foreign::None,
                Some(_) if checkpointer == self.holder(WRITER) => Foreign::Exclusive,
                Some(_) => Foreign::Open,
            }
        }

        /// Process number of who holds the lock byte, 0 when it is out of sight of this process.
        fn holder(&self, byte: u64) -> Option<i32> {
            let lock = Flock {
                start: byte,
                length: 1,
                ..Flock::from(FlockType::WriteLock)
            };
            // SAFETY: SQLite keeps the descriptor open while a connection of this process has the
            // wal-index, and the pin, which owns `self`, is one. Were it another file's by now, the
            // answer would be wrong, which costs an early capture and nothing else.
            let file = unsafe { BorrowedFd::borrow_raw(self.descriptor?) };
            let held = fcntl_getlk(file, &lock).ok()??;
            Some(held.pid.map_or(0, |pid| pid.as_raw_nonzero().get()))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// Without a way to see locks, waiting checkpoints wait for the next planned capture.
    pub(crate) struct Locks;

    impl Locks {
        pub(crate) fn find(_database: &std::path::Path) -> Self {
            Self
        }

        pub(crate) fn checkpoint(&self) -> super::Foreign {
            super::Foreign::None
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use self::linux::Locks;
#[cfg(not(target_os = "linux"))]
pub(super) use self::other::Locks;
