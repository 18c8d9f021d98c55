//! Start and stop of one database, one after the other.
//!
//! Invariant: a database has at most one life at a time. A new one begins only when the one before
//! has ended: its last upload is over and its connections are closed. Once asked for, a stop goes on
//! to its end, whether or not somebody waits for it.
//!
//! Whether a database counts as enabled changes in one instant, under one lock; what starting and
//! stopping take comes after. So calls of any number of tasks behave as if made one by one.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Inner, driver, uploader};
use crate::error::{Error, ErrorKind, Result};
use crate::replica::Replica;
use crate::watcher::LOOK_NOW;

/// How far a life has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The life before has not ended.
    Waiting,
    /// Captures are allowed.
    Open,
    /// Nothing of it is left.
    Ended,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Life {
    stop: CancellationToken,
    /// Gives up what is not uploaded yet.
    hurry: CancellationToken,
    stage: watch::Sender<Stage>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// How the stop went, until the one who asked for it has been told.
    outcome: Mutex<Option<Result<()>>>,
}

impl Life {
    fn new(stage: Stage) -> Self {
        Self {
            stop: CancellationToken::new(),
            hurry: CancellationToken::new(),
            stage: watch::Sender::new(stage),
            tasks: Mutex::default(),
            outcome: Mutex::default(),
        }
    }

    /// Whether nobody has asked for its end.
    pub(super) fn is_wanted(&self) -> bool {
        !self.stop.is_cancelled()
    }

    /// Waits until captures are allowed, or were.
    pub(super) async fn opened(&self) {
        self.reached(Stage::Open).await;
    }

    /// Waits until nothing of it is left.
    pub(super) async fn ended(&self) {
        self.reached(Stage::Ended).await;
    }

    async fn reached(&self, stage: Stage) {
        let mut stages = self.stage.subscribe();
        // The sender lives as long as `self`.
        let _reached = stages.wait_for(|now| *now >= stage).await;
    }

    fn advance(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let later = *now < stage;
            *now = stage.max(*now);
            later
        });
    }
}

/// Marks the end of a life, however it comes.
struct Ending(Arc<Life>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.advance(Stage::Ended);
    }
}

impl Inner {
    /// Begins a life unless there is one; `false` if there is. It waits for the end of the one
    /// before, and of `other`, which is that of another database of this path.
    pub(super) fn begin(self: &Arc<Self>, background: bool, other: Option<Arc<Life>>) -> bool {
        let mut current = self.life();
        if current.as_ref().is_some_and(|life| life.is_wanted()) {
            return false;
        }
        let before: Vec<_> = current
            .take()
            .into_iter()
            .chain(other)
            .filter(|life| *life.stage.borrow() != Stage::Ended)
            .collect();
        let life = Arc::new(Life::new(Stage::Waiting));
        *current = Some(Arc::clone(&life));
        drop(current);
        if before.is_empty() {
            self.open_gates(&life, background);
            return true;
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            for life in before {
                life.ended().await;
            }
            inner.open_gates(&life, background);
        });
        true
    }

    fn open_gates(self: &Arc<Self>, life: &Arc<Life>, background: bool) {
        for replica in &self.replicas {
            replica.reset();
        }
        *self.progress() = super::Progress::default();
        self.start_leases();
        *self.accepts() = true;
        if background {
            let mut tasks = lock(&life.tasks);
            let stop = || life.stop.clone();
            tasks.push(tokio::spawn(driver::drive(Arc::clone(self), stop())));
            for replica in &self.replicas {
                let (inner, replica) = (Arc::clone(self), Arc::<Replica>::clone(replica));
                tasks.push(tokio::spawn(uploader::upload_loop(inner, replica, stop())));
            }
        }
        life.advance(Stage::Open);
        self.signals.raise(LOOK_NOW);
    }

    /// Asks for the end of the life there is; `None` when there never was one. `true` goes to the
    /// one call that ended it.
    pub(super) fn request_end(self: &Arc<Self>) -> Option<(Arc<Life>, bool)> {
        let current = self.life();
        let life = Arc::clone(current.as_ref()?);
        let first = life.is_wanted();
        life.stop.cancel();
        drop(current);
        if first {
            let ending = Ending(Arc::clone(&life));
            tokio::spawn(Arc::clone(self).end(ending));
        }
        Some((life, first))
    }

    /// Background first, then a last capture and a last upload, then everything is closed.
    async fn end(self: Arc<Self>, ending: Ending) {
        let life = &ending.0;
        life.opened().await;
        let tasks = std::mem::take(&mut *lock(&life.tasks));
        for task in tasks {
            // A task that panicked has said so; the last upload is tried all the same.
            let _ended = task.await;
        }
        let last = {
            let gate = self.shared.closing.clone();
            gate.pass(uploader::last_sync(&self, &life.hurry)).await
        };
        // Given up, but there was nothing left to do.
        let last = match last {
            Err(error) if error.kind() == ErrorKind::Cancelled && self.is_replicated() => Ok(()),
            last => last,
        };
        self.release_leases().await;
        let inner = Arc::clone(&self);
        let closed = self.shared.pool.run(move || {
            *inner.accepts() = false;
            inner.reserved().take();
            *inner.asleep() = None;
            if let Some(capture) = inner.capture().take() {
                capture.write_record();
            }
            Ok(())
        });
        let closed = closed.await;
        self.disabled();
        *lock(&life.outcome) = Some(last.and(closed));
    }

    /// Before an end is asked for: with a `hurry` that has come already no upload is begun at all.
    pub(super) fn hurry_up(&self, hurry: &CancellationToken) {
        if hurry.is_cancelled()
            && let Some(life) = self.life().as_ref()
        {
            life.hurry.cancel();
        }
    }

    /// Whether every commit is in every replica.
    fn is_replicated(&self) -> bool {
        let position = self.position();
        let behind = self
            .capture()
            .as_ref()
            .is_some_and(|capture| capture.has_news().unwrap_or(true));
        !behind
            && self
                .replicas
                .iter()
                .all(|replica| replica.acknowledged() >= position)
    }

    /// Waits for an end that was asked for. `hurry` gives up what is not uploaded yet. The error is
    /// for who asked `first`.
    pub(super) async fn await_end(
        &self,
        life: &Life,
        hurry: &CancellationToken,
        first: bool,
    ) -> Result<()> {
        tokio::select! {
            () = life.ended() => {}
            () = hurry.cancelled() => {
                life.hurry.cancel();
                life.ended().await;
            }
        }
        if !first {
            return Ok(());
        }
        let outcome = lock(&life.outcome).take();
        outcome.unwrap_or(Err(Error::Closing {
            what: "stop of database",
        }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
