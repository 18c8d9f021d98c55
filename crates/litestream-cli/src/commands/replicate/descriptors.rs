//! The limit of open files: raised as far as it goes, and compared with what the databases need.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Descriptors that are not those of databases: sockets, files being copied, logs.
const RESERVE: u64 = 256;
/// Descriptors of a database at rest, and while commits come in.
const AT_REST: u64 = 4;
const BUSY: u64 = 5;

/// The limit of open files.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// What it was when the program started; children get it back.
    before: Rlimit,
    now: Option<u64>,
}

impl Descriptors {
    /// Raises the soft limit to the hard one. A refusal leaves it as it is.
    pub(super) fn raise() -> Self {
        let before = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: before.maximum,
            maximum: before.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "raise limit of open files");
        }
        Self {
            before,
            now: getrlimit(Resource::Nofile).current,
        }
    }

    /// How many descriptors databases may take; `None` when there is no limit.
    pub(super) fn for_databases(&self) -> Option<usize> {
        let left = self.now?.saturating_sub(RESERVE);
        Some(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Says so, before anything is opened, when they are not enough for so many databases.
    pub(super) fn announce(&self, databases: usize) {
        let Some((need, limit)) = self.shortage(databases) else {
            return;
        };
        tracing::warn!(
            databases,
            limit,
            need,
            hint = "raise the limit of open files: ulimit -Hn, or LimitNOFILE= of the service",
            "limit of open files is low, databases at rest are closed until they are written to"
        );
    }

    /// What would be needed, and the limit, if that is not enough.
    fn shortage(&self, databases: usize) -> Option<(u64, u64)> {
        let limit = self.now?;
        let databases = u64::try_from(databases).unwrap_or(u64::MAX);
        // A quarter is kept for those that are woken.
        let rest = databases.saturating_mul(BUSY).saturating_mul(4) / 3;
        let need = rest
            .max(databases.saturating_mul(AT_REST))
            .saturating_add(RESERVE);
        (need > limit).then_some((need, limit))
    }

    /// Gives a child the limit that the program was started with: a program that uses `select` must
    /// not be handed larger descriptors than it can cope with.
    pub(super) fn restore_for(&self, child: Pid) {
        let before = Rlimit {
            current: self.before.current,
            maximum: self.before.maximum,
        };
        if let Err(error) = prlimit(Some(child), Resource::Nofile, before) {
            tracing::debug!(%error, "limit of open files of exec process");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(now: Option<u64>) -> Descriptors {
        let before = Rlimit {
            current: Some(1024),
            maximum: now,
        };
        Descriptors { before, now }
    }

    #[test]
    fn a_shortage_is_seen_before_it_is_there() {
        assert_eq!(limited(Some(1024)).shortage(100), None);
        assert_eq!(limited(Some(1024)).shortage(200), Some((1589, 1024)));
        assert_eq!(limited(None).shortage(1_000_000), None);
        assert_eq!(limited(Some(1024)).for_databases(), Some(768));
        assert_eq!(limited(Some(100)).for_databases(), Some(0));
        assert_eq!(limited(None).for_databases(), None);
    }
}
