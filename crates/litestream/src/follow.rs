//! Keeps a restored copy current: looks at the replica again and again, and applies what is new.
//!
//! Every step fetches all it needs and verifies it wholly before it touches the copy, and applies
//! it as one transaction with `SQLite`'s own locks and rollback journal. Programs may read the copy
//! meanwhile with whatever `SQLite`; they see one committed state or the next, and the copy is in
//! rollback-journal mode so that they need nothing but permission to read. Stopped at any point,
//! even by a loss of power, a follower goes on where it was.

mod batch;
mod copy;
mod error;
mod file;
mod journal;
mod look;
mod page_one;
mod record;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ltx::{Timestamp, Txid};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::batch::Batch;
use self::copy::LocalCopy;
pub use self::error::FollowError;
use self::look::{Found, Look};
use self::state::{Event, Machine, Report};
pub use self::state::{FollowCause, FollowState, FollowStatus};
use crate::capture::with_suffix;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use crate::files::Files;
use crate::restore::fetch::Failed;
use crate::restore::{self, RestoreOptions, Restored, Source, Target};
use crate::settings::defaults;

/// How often a step plans anew because a file vanished or is damaged.
const PLANS: usize = 4;

/// How to follow.
#[derive(Debug, Clone)]
pub struct FollowOptions {
    /// How the copy is made when it is not there; its output is the copy. The target is always the
    /// newest state, and `replace` has no meaning: a copy that is there is gone on with.
    pub restore: RestoreOptions,
    /// Time between looks at the replica.
    pub interval: Duration,
    /// How long an apply waits for readers of the copy, which are kept from beginning a read
    /// meanwhile. Readers should have a longer busy timeout than this.
    pub reader_wait: Duration,
    /// The time that lag is told in.
    pub clock: Arc<dyn Clock>,
}

impl FollowOptions {
    /// Follows into `output` with the defaults.
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Self {
            restore: RestoreOptions::new(output),
            interval: defaults::FOLLOW_INTERVAL,
            reader_wait: defaults::FOLLOW_READER_WAIT,
            clock: Arc::new(SystemClock),
        }
    }
}

/// How a follower came to its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowStart {
    /// It was restored.
    Restored(Restored),
    /// It was there, at this transaction.
    Resumed(Txid),
}

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowStep {
    /// Nothing new was found.
    Idle,
    /// The copy was brought from one transaction to another.
    Applied {
        /// Where it was.
        from: Txid,
        /// Where it is.
        to: Txid,
    },
}

/// A follower; see the module.
///
/// # Durability
/// An apply is durable before the position that says so is.
///
/// # Cost
/// One request per interval while nothing is new: a listing of level 0 from the position on. While
/// level 0 of the replica is empty, a listing of all levels every 30 seconds at most. Disk: what is
/// new is written twice, and the pages that it replaces once.
#[derive(Debug)]
pub struct Follow {
    source: Source,
    options: FollowOptions,
    files: Files,
    copy: LocalCopy,
    look: Look,
    machine: Machine,
    status: watch::Sender<FollowStatus>,
}

impl Follow {
    /// A follower that has not done anything yet.
    pub fn new(source: Source, options: FollowOptions) -> Self {
        let machine = Machine::new(options.interval, options.clock.now());
        let files = Files::new(Arc::clone(&options.restore.steps));
        let output = &options.restore.output;
        Self {
            copy: LocalCopy::new(output, files.clone(), options.reader_wait),
            look: Look::default(),
            status: watch::Sender::new(machine.status().clone()),
            machine,
            files,
            source,
            options,
        }
    }

    /// What the follower is doing, now and after each change.
    pub fn status(&self) -> watch::Receiver<FollowStatus> {
        self.status.subscribe()
    }

    /// Makes the copy, or goes on with the one that is there. To be called once, first.
    ///
    /// # Errors
    /// As [`crate::restore`]; for a copy that is there: it has no position, was written by somebody
    /// else, or is ahead of the replica. A replica that does not answer is no error for such a copy.
    pub async fn start(&mut self) -> Result<FollowStart> {
        let output = self.options.restore.output.clone();
        let is_there = output
            .try_exists()
            .map_err(|error| Error::io("stat", &output, error))?;
        let (start, position) = if is_there {
            let position = self.resume().await?;
            (FollowStart::Resumed(position), position)
        } else {
            let restored = self.restore().await?;
            let position = restored.txid;
            (FollowStart::Restored(restored), position)
        };
        self.happened(&Event::Started { position });
        Ok(start)
    }

    async fn restore(&self) -> Result<Restored> {
        let options = RestoreOptions {
            target: Target::Latest,
            // Nothing but side files of a database that is gone can be in the way.
            replace: true,
            ..self.options.restore.clone()
        };
        let plan = self.source.plan(options.target).await?;
        let (copy, txid) = (self.copy.clone(), plan.txid());
        let finish = move |image: &mut restore::image::Image| {
            let (commit, first) = (image.commit(), image.first_page());
            // An image of no pages at all is no database that can be kept current.
            let mut page = first
                .ok_or(Error::MissingPage { pgno: 1, commit })?
                .to_vec();
            copy.found(&mut page, commit, txid)?;
            image.overwrite(&page, 0)
        };
        restore::restore_finished(&self.source, &plan, options, Some(Box::new(finish))).await
    }

    async fn resume(&self) -> Result<Txid> {
        let output = &self.options.restore.output;
        self.files.remove(&with_suffix(output, "-pages.tmp"))?;
        let copy = self.copy.clone();
        let position = restore::blocking("follow", move || copy.settle()).await?;
        tracing::info!(
            replica = self.source.kind(),
            txid = %position,
            output = %output.display(),
            "resuming follow mode from crash recovery"
        );
        match self.source.list(false).await.map(|index| index.max()) {
            Ok(Some(newest)) if newest < position => {
                let error = Error::from(FollowError::Ahead { position, newest });
                Err(error.context("cannot resume follow mode"))
            }
            // The loop tells what else is wrong, and waits until it is not.
            _ => Ok(position),
        }
    }

    /// Looks once and applies what is new, all of it.
    ///
    /// # Errors
    /// Whatever keeps the copy from getting on; the step may be tried again. The copy is in a
    /// committed state all the same, and the status tells why it is behind.
    pub async fn step(&mut self) -> Result<FollowStep> {
        let never = CancellationToken::new();
        self.step_until(&never).await
    }

    async fn step_until(&mut self, stop: &CancellationToken) -> Result<FollowStep> {
        let mut plans = 1;
        loop {
            let failed = match self.advance(stop).await {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            if plans < PLANS && self.plan_anew(&failed) {
                tracing::debug!(error = %failed.error, "follow: planning anew");
                plans += 1;
                continue;
            }
            if failed.error.kind() != ErrorKind::Cancelled {
                self.look.distrust();
                self.failed(&failed.error);
            }
            return Err(failed.error);
        }
    }

    async fn advance(&mut self, stop: &CancellationToken) -> Result<FollowStep, Failed> {
        let closing = || Failed::from(Error::Closing { what: "follow" });
        let output = self.options.restore.output.clone();
        let position =
            self.machine.status().position.ok_or_else(|| {
                Failed::from(Error::from(FollowError::NoPosition(output.clone())))
            })?;
        let now = self.now();
        let looked = self.look.look(&self.source, position, now);
        let found = stop.run_until_cancelled(looked).await.ok_or_else(closing)?;
        let (chain, newest) = match found? {
            Found::Chain { files, newest } => (files, newest),
            Found::Nothing => {
                self.happened(&Event::Nothing);
                return Ok(FollowStep::Idle);
            }
            Found::Unknown => {
                self.happened(&Event::Unknown);
                return Ok(FollowStep::Idle);
            }
        };
        self.happened(&Event::Found { newest });
        let parallelism = self.options.restore.parallelism;
        let fetched = Batch::fetch(&self.source, &chain, &output, &self.files, parallelism);
        let mut batch = stop
            .run_until_cancelled(fetched)
            .await
            .ok_or_else(closing)??;
        let (to, captured) = (batch.to, batch.image.newest().timestamp);
        let copy = self.copy.clone();
        // Not given up half way: it is short, and it would go on in any case.
        let from = restore::blocking("follow", move || copy.apply(&mut batch)).await?;
        self.look.settled();
        let to = to.max(from);
        self.happened(&Event::Applied { to, captured });
        let lag = self.now().as_millis().saturating_sub(captured.as_millis());
        tracing::info!(
            replica = self.source.kind(),
            from_txid = %from,
            to_txid = %to,
            age_ms = lag,
            "follow: applied updates"
        );
        Ok(FollowStep::Applied { from, to })
    }

    /// Whether another plan may do without what failed.
    fn plan_anew(&mut self, failed: &Failed) -> bool {
        match (&failed.error, failed.file) {
            (Error::MissingPage { .. } | Error::Setting(_), _) => self.look.start_over(),
            (error, Some(file)) => match error.kind() {
                ErrorKind::NotFound => self.look.distrust(),
                ErrorKind::Corrupt => self.look.avoid(&file),
                _ => return false,
            },
            _ => return false,
        }
        true
    }

    /// Makes or resumes the copy and keeps it current until `stop` is cancelled.
    ///
    /// Errors that time or the other side may heal are reported, and the next look comes after a
    /// pause that doubles up to 30 seconds.
    ///
    /// # Errors
    /// The copy cannot be made or resumed, or somebody else wrote to it.
    pub async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let Some(started) = stop.run_until_cancelled(self.start()).await else {
            self.stopped();
            return Ok(());
        };
        started?;
        self.follow(&stop).await
    }

    /// As [`Follow::run`], after [`Follow::start`].
    pub async fn follow(&mut self, stop: &CancellationToken) -> Result<()> {
        let position = self.machine.status().position;
        tracing::info!(
            replica = self.source.kind(),
            output = %self.options.restore.output.display(),
            txid = %position.map(|txid| txid.to_string()).unwrap_or_default(),
            interval = ?self.options.interval,
            "entering follow mode"
        );
        loop {
            match self.step_until(stop).await {
                Err(error) if is_final(&error) => {
                    self.happened(&Event::Stopped);
                    return Err(error);
                }
                _ if stop.is_cancelled() => break,
                _ => {}
            }
            let pause = tokio::time::sleep(self.machine.pause());
            if stop.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
        self.stopped();
        Ok(())
    }

    fn stopped(&mut self) {
        self.happened(&Event::Stopped);
        tracing::info!(replica = self.source.kind(), "follow mode stopped");
    }

    fn failed(&mut self, error: &Error) {
        self.happened(&Event::Failed(error));
    }

    /// Tells the machine, those who watch, and the log.
    fn happened(&mut self, event: &Event<'_>) {
        let now = self.now();
        let report = self.machine.on(event, now);
        let status = self.machine.status();
        self.status.send_replace(status.clone());
        let lag_ms = status.lag(now).map(|lag| lag.as_millis() as u64);
        let replica = self.source.kind();
        match (report, event) {
            (Some(Report::Trouble { failures }), Event::Failed(error)) => tracing::error!(
                replica,
                err = %error,
                consecutive_errors = failures,
                lag_ms,
                hint = error.hint(),
                "follow: error applying updates"
            ),
            (Some(Report::Recovered { failures, after }), _) => tracing::info!(
                replica,
                consecutive_errors = failures,
                duration = ?after,
                "follow: current again"
            ),
            _ => {}
        }
    }

    fn now(&self) -> Timestamp {
        self.options.clock.now()
    }
}

/// Errors that no time heals: a user has to decide what becomes of the copy.
fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::Follow(
            FollowError::Written { .. } | FollowError::NoPosition(_) | FollowError::Position { .. }
        )
    )
}
