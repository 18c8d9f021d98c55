//! Copies captured frames into the database file and lets the next writer start the WAL anew,
//! without ever leaving the WAL unpinned.
//!
//! See `docs/checkpoint-protocol.md` for the protocol and its proof. Invariant: at every moment of
//! a checkpoint one read transaction is held, so no frame that is not in a durable level-0 file
//! gets into the database file, and the write lock is held for one bounded piece at most.

use std::time::{Duration, Instant};

use super::connection::{CheckpointMode, CheckpointResult};
use super::pin::is_copied;
use super::{Capture, Step};
use crate::error::{Error, Result};

/// Attempts to catch up with writers before the write lock is taken. Each may cost a level-0 file, so
/// there is one only, unless it took long: what was written meanwhile is what is left for the time of the
/// lock.
const OPEN_ROUNDS: u32 = 4;
const SHORT_ROUND: Duration = Duration::from_millis(20);
/// What is captured while writers are kept waiting is captured in pieces of so many bytes of WAL, for about so
/// long: far less than an application should be ready to wait for a lock.
const LOCKED_PIECE: u64 = 8 << 20;
const LOCKED_TIME: Duration = Duration::from_millis(250);
/// Writers that were kept waiting so long have so long to go on: SQLite looks for the lock each 100 ms.
const LET_GO_TIME: Duration = Duration::from_millis(150);
/// Frames that are copied into the database file while a brake keeps writers waiting.
const LOCKED_FRAMES: u32 = 4096;
/// A busy writer lets go of the write lock between its transactions: it is asked for again after
/// this pause, so often. Nobody waits for us meanwhile.
const LOCK_PAUSE: Duration = Duration::from_micros(100);
const LOCK_ATTEMPTS: u32 = 500;

/// How far a checkpoint may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Copy what can be copied; writers are not disturbed.
    Open,
    /// If writers keep appending, hold the write lock for the rest, without waiting for it.
    Close,
    /// Like close, and cut the WAL file to nothing.
    Truncate,
}

/// How a catching up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caught {
    /// Everything that was committed is captured.
    Up,
    /// Writers are ahead still.
    Behind,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Every checkpoint pragma that was run, with its answer and how long it took.
    pub(crate) runs: Vec<(CheckpointMode, CheckpointResult, Duration)>,
    /// What was captured on the way.
    pub(crate) steps: Vec<Step>,
    /// All of the WAL is in the database file and the next writer starts it anew.
    pub(crate) at_rest: bool,
    /// How long writers were kept waiting.
    pub(crate) write_lock: Option<Duration>,
}

impl Capture {
    /// Runs a checkpoint. Everything up to the pinned reader must be captured already, which it is
    /// whenever [`Capture::step`] has returned without being limited.
    pub(crate) fn checkpoint(&mut self, effort: Effort) -> Result<Report> {
        let mut report = Report::default();
        if self.is_aside() {
            // Another process runs one and has the locks for it.
            return Ok(report);
        }
        self.passive(&mut report)?;
        if !self.try_rest(&mut report)? && effort != Effort::Open {
            for _ in 0..OPEN_ROUNDS {
                let began = Instant::now();
                let step = self.step()?;
                report.steps.push(step);
                if step.limited {
                    // More came than one file holds: the next captures are for that.
                    return Ok(report);
                }
                self.passive(&mut report)?;
                if self.try_rest(&mut report)? || began.elapsed() < SHORT_ROUND {
                    break;
                }
            }
            if !report.at_rest && !self.is_held_back()? {
                self.close_gap(u32::MAX, &mut report)?;
            }
        }
        if report.at_rest && effort == Effort::Truncate {
            self.run(CheckpointMode::Truncate, &mut report)?;
        }
        Ok(report)
    }

    /// For a WAL that has become too long while captures do not catch up with writers: copies what is captured,
    /// then keeps writers waiting for a bounded time and captures meanwhile. Ends with all captured, and
    /// at rest if little was left to be copied then, or `at_any_cost`; else writers go on, having lost
    /// that time, and the next call comes after the next capture.
    pub(crate) fn brake(&mut self, at_any_cost: bool) -> Result<Report> {
        let mut report = Report::default();
        let rests = self.let_go.is_some_and(|at| at.elapsed() < LET_GO_TIME);
        if self.is_aside() || self.rebase.is_some() || rests {
            return Ok(report);
        }
        // What was begun to become the next pin stands behind what is captured; the pin itself keeps all.
        self.pin.give_up_next();
        // In the open, so that little is left to be copied under the lock.
        self.passive(&mut report)?;
        if self.pin_is_held_back()? {
            return Ok(report);
        }
        let most = if at_any_cost { u32::MAX } else { LOCKED_FRAMES };
        self.close_gap(most, &mut report)?;
        self.let_go = (!report.at_rest).then(Instant::now);
        if report.at_rest {
            self.run(CheckpointMode::Truncate, &mut report)?;
        }
        Ok(report)
    }

    fn run(&mut self, mode: CheckpointMode, report: &mut Report) -> Result<()> {
        let started = Instant::now();
        let result = self.pin.spare()?.checkpoint(mode)?;
        report.runs.push((mode, result, started.elapsed()));
        Ok(())
    }

    fn passive(&mut self, report: &mut Report) -> Result<()> {
        self.run(CheckpointMode::Passive, report)
    }

    /// Whether what is captured cannot be copied, because a reader of somebody else stands before it or another
    /// checkpoint runs. Then nobody needs to be kept waiting: it would be in vain.
    fn is_held_back(&self) -> Result<bool> {
        let index = self.pin.peek()?;
        Ok(index.checkpoint.backfilled < self.tail.frames_of(index.header.salts))
    }

    /// Whether not even what the pin has seen can be copied, for the reason of [`Self::is_held_back`].
    fn pin_is_held_back(&self) -> Result<bool> {
        let index = self.pin.peek()?;
        let mark = self.pin.mark();
        Ok(mark.is_some_and(|(salts, frame)| {
            salts == index.header.salts && index.checkpoint.backfilled < frame
        }))
    }

    /// Captures in small pieces until nothing is left, or the time is over.
    fn catch_up(&mut self, until: Instant, report: &mut Report) -> Result<Caught> {
        let most = match self.settings.max_wal_bytes {
            0 => LOCKED_PIECE,
            bytes => bytes.min(LOCKED_PIECE),
        };
        loop {
            let step = self.step_within(most)?;
            report.steps.push(step);
            if !step.limited {
                return Ok(Caught::Up);
            }
            if Instant::now() >= until {
                return Ok(Caught::Behind);
            }
        }
    }

    /// Moves the pin to where it keeps nobody from starting the WAL anew, if everything is captured
    /// and copied at this moment.
    pub(crate) fn try_rest(&mut self, report: &mut Report) -> Result<bool> {
        if self.rebase.is_some() {
            return Ok(false);
        }
        let index = self.pin.peek()?;
        if !is_copied(&index) || self.is_behind(&index) {
            return Ok(false);
        }
        if index.header.max_frame == 0 || self.pin.is_at_rest() {
            report.at_rest = true;
            return Ok(true);
        }
        let index = self.pin.begin_next()?;
        if self.is_behind(&index) || !self.pin.next_is_at_rest() {
            // A writer was quicker: the newer transaction is not needed, the older one stays.
            self.pin.spare()?.end();
            return Ok(false);
        }
        self.pin.hand_over();
        report.at_rest = true;
        Ok(true)
    }

    /// Captures the last frames while the write lock is held, and copies them if they are `most` at most. Gives up when it is not to
    /// be had within a moment: the next attempt comes with the next capture.
    fn close_gap(&mut self, most: u32, report: &mut Report) -> Result<()> {
        let mut attempts = 1;
        while !self.pin.try_begin_write()? {
            if attempts == LOCK_ATTEMPTS {
                return Ok(());
            }
            attempts += 1;
            std::thread::sleep(LOCK_PAUSE);
        }
        let started = Instant::now();
        let closed = self.under_write_lock(started + LOCKED_TIME, most, report);
        // Whichever connection holds the lock: it is let go of now.
        self.pin.end_write();
        report.write_lock = Some(started.elapsed());
        closed
    }

    fn under_write_lock(&mut self, until: Instant, most: u32, report: &mut Report) -> Result<()> {
        // The writing transaction is the next pin: it stands at the last frame there can be.
        if self.catch_up(until, report)? == Caught::Behind {
            return Ok(());
        }
        if !self.pin.holds_write() {
            return Err(Error::Replaced {
                what: "write transaction on database",
                path: self.settings.path.clone(),
            });
        }
        let index = self.pin.peek()?;
        let uncopied = index
            .header
            .max_frame
            .saturating_sub(index.checkpoint.backfilled);
        if uncopied > most {
            // The pin has moved to the last frame: all that can be copied in the open by the next call.
            return Ok(());
        }
        self.passive(report)?;
        let index = self.pin.begin_next()?;
        if self.is_behind(&index) {
            self.pin.spare()?.end();
            return Ok(());
        }
        report.at_rest = self.pin.next_is_at_rest();
        self.pin.hand_over();
        Ok(())
    }
}
