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
    use std::path::Path;

    use rustix::process::{Flock, FlockType, fcntl_getlk};

    use super::super::start::with_suffix;
    use super::Foreign;

    /// Where the lock bytes begin in the wal-index, see "WAL-mode File Format", section 2.3.
    const LOCKS: u64 = 120;
    const WRITER: u64 = LOCKS;
    const CHECKPOINTER: u64 = LOCKS + 1;
    /// So many descriptors on both sides of [`Near`] are looked at before all are.
    const NEAR: RawFd = 512;

    /// Where to look first for descriptors that are opened after it was made: the lowest number that
    /// was free then. With thousands of databases, looking at all descriptors for each of them would be
    /// most of the cost of the start.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Near(RawFd);

    impl Near {
        pub(crate) fn new() -> Self {
            Self(std::fs::File::open("/dev/null").map_or(0, |file| file.as_raw_fd()))
        }
    }

    /// See the module. Must not be used after the last connection to the database is closed.
    pub(crate) struct Locks {
        descriptor: Option<RawFd>,
    }

    impl Locks {
        /// Finds the descriptor that SQLite has of the wal-index of an open database. If it cannot
        /// be told, no lock is ever seen.
        pub(crate) fn find(database: &Path, near: Near) -> Self {
            Self {
                descriptor: find(&with_suffix(database, "-shm"), near),
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

    /// A descriptor of this process that is open on the file `path`.
    fn find(path: &Path, near: Near) -> Option<RawFd> {
        let wanted = std::fs::metadata(path).ok()?;
        let is_it = |number: &RawFd| {
            // SAFETY: only asked which file it is of; a number that is not in use, or closed
            // meanwhile by its owner, is an error and nothing else.
            let found = rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(*number) });
            found.is_ok_and(|found| (found.st_dev, found.st_ino) == (wanted.dev(), wanted.ino()))
        };
        let mut around = (0..NEAR).flat_map(|by| [near.0 + by, near.0 - 1 - by]);
        let found = around.find(|number| *number >= 0 && is_it(number));
        found.or_else(|| (0..table_size()?).find(is_it))
    }

    /// A number above those of all descriptors of this process.
    fn table_size() -> Option<RawFd> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
        size?.trim().parse().ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// Without a way to see locks, waiting checkpoints wait for the next planned capture.
    pub(crate) struct Locks;

    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Near;

    impl Near {
        pub(crate) fn new() -> Self {
            Self
        }
    }

    impl Locks {
        pub(crate) fn find(_database: &std::path::Path, _near: Near) -> Self {
            Self
        }

        pub(crate) fn checkpoint(&self) -> super::Foreign {
            super::Foreign::None
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use self::linux::{Locks, Near};
#[cfg(not(target_os = "linux"))]
pub(super) use self::other::{Locks, Near};
