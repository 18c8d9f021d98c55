//! What puts left on the server because they could not clean up after themselves: their connection
//! broke, or was silent.
//!
//! Invariant: every file in the list has a name that this process made for one put, which has
//! ended. It leaves the list when the server says that it is gone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh_sftp::client::error::Error as SftpError;

use super::Shared;
use super::connection::{Connection, is_failure, is_lost, is_missing};

/// How often a server may refuse to remove a file without a reason.
const TRIES: u32 = 3;

/// A file that nobody is to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leftover {
    path: String,
    /// Of a file that was moved aside: what it was called, and is again unless another took its
    /// place.
    target: Option<String>,
}

impl Leftover {
    /// A file that was being written.
    pub(super) fn unfinished(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            target: None,
        }
    }

    /// The older `target`, moved to `path`.
    pub(super) fn aside(path: &str, target: &str) -> Self {
        Self {
            path: path.to_owned(),
            target: Some(target.to_owned()),
        }
    }
}

/// All of a store. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub(super) struct Leftovers(Arc<Mutex<VecDeque<(Leftover, u32)>>>);

impl Leftovers {
    fn list(&self) -> MutexGuard<'_, VecDeque<(Leftover, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, leftover: Leftover) {
        self.list().push_back((leftover, 0));
    }

    /// What `target` was before has been replaced or deleted: it is not to come back.
    pub(super) fn replaced(&self, target: &str) {
        for (leftover, _) in self.list().iter_mut() {
            leftover.target.take_if(|other| other == target);
        }
    }

    /// The same for one that was moved aside; answers what is left of it.
    pub(super) fn replaced_by(&self, leftover: &Leftover) -> Leftover {
        let removal = Leftover::unfinished(&leftover.path);
        for (other, _) in self
            .list()
            .iter_mut()
            .filter(|(other, _)| other == leftover)
        {
            other.clone_from(&removal);
        }
        removal
    }

    fn forget(&self, leftover: &Leftover) {
        self.list().retain(|(other, _)| other != leftover);
    }

    /// Removes a file, or gives it its name back. What cannot be done now is done by a later call.
    pub(super) async fn settle(&self, connection: &Connection, leftover: &Leftover) {
        let done = match &leftover.target {
            None => remove(connection, &leftover.path).await,
            Some(target) => restore(connection, &leftover.path, target).await,
        };
        let is_over = match done {
            Err(SftpError::Status(_)) if leftover.target.is_some() => false,
            Err(error) if is_lost(&error) => false,
            Err(error) if is_failure(&error) => self.has_been_tried(leftover),
            Ok(()) | Err(SftpError::Status(_)) => true,
            Err(_) => false,
        };
        if is_over {
            self.forget(leftover);
        }
    }

    /// Whether that was the last try.
    fn has_been_tried(&self, leftover: &Leftover) -> bool {
        let mut list = self.list();
        let Some((_, tries)) = list.iter_mut().find(|(other, _)| other == leftover) else {
            return true;
        };
        *tries += 1;
        *tries >= TRIES
    }
}

/// Cleans up what earlier calls left. Never fails: what is left still is left for the next call.
pub(super) async fn clear(shared: &Shared, connection: &Connection) {
    let list = || -> Vec<_> {
        let list = shared.leftovers.list();
        list.iter().map(|(leftover, _)| leftover.clone()).collect()
    };
    let all = list();
    if all.is_empty() {
        return;
    }
    // Whoever has it moves files aside, or is here as well.
    let _turn = if all.iter().any(|leftover| leftover.target.is_some()) {
        // The object would not be found.
        shared.replacing.lock().await
    } else if let Ok(turn) = shared.replacing.try_lock() {
        turn
    } else {
        return;
    };
    for leftover in list() {
        if !connection.is_usable() {
            return;
        }
        shared.leftovers.settle(connection, &leftover).await;
    }
}

async fn remove(connection: &Connection, path: &str) -> Result<(), SftpError> {
    match connection.ask(connection.sftp.remove(path)).await {
        Ok(_) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn restore(connection: &Connection, aside: &str, target: &str) -> Result<(), SftpError> {
    // Asked first: some servers would let the older file replace the newer one.
    if connection.stat(target).await?.is_some() {
        return remove(connection, aside).await;
    }
    match connection.ask(connection.sftp.rename(aside, target)).await {
        Ok(_) => Ok(()),
        // It was not moved.
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(error),
    }
}
