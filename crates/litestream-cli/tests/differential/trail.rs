//! What the application did and which transactions of the replica hold it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testkit::process::wait_until;
use testkit::program::Program;
use testkit::writer::{CommittedStep, HistoryWriter};

use super::place::Place;

/// Limit for whatever should be soon.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// A state that was in the replica when `sync -wait` returned.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// Transaction of the replica.
    pub(crate) txid: u64,
    /// Index into [`Trail::steps`] of the newest step in it.
    pub(crate) step: usize,
    /// Unix time in milliseconds: after everything in it, before everything else.
    pub(crate) time: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Trail {
    seed: u64,
    steps: Vec<CommittedStep>,
    marks: Vec<Mark>,
}

impl Trail {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            steps: Vec::new(),
            marks: Vec::new(),
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The content hash after the step at `index`.
    pub(crate) fn hash(&self, index: usize) -> &str {
        let step = self.steps.get(index).expect("a recorded step");
        step.hash.as_deref().expect("hashes are recorded")
    }

    /// The step after which the content had this hash.
    pub(crate) fn step_of(&self, hash: &str) -> Option<usize> {
        self.steps
            .iter()
            .position(|step| step.hash.as_deref() == Some(hash))
    }

    /// The newest step that may have been committed by `time`, in Unix milliseconds.
    pub(crate) fn begun_by(&self, time: u64) -> usize {
        let begun = self
            .steps
            .partition_point(|step| step.before / 1_000_000 <= time);
        begun.checked_sub(1).expect("a step before the time")
    }

    /// The index of the newest step.
    pub(crate) fn last(&self) -> usize {
        self.steps.len().checked_sub(1).expect("at least one step")
    }

    /// Lets the application do `count` steps.
    pub(crate) fn steps(&mut self, writer: &mut HistoryWriter, count: u64) {
        let done = writer.step(count);
        let done = done.unwrap_or_else(|error| panic!("seed {}: {error:#}", self.seed));
        self.steps.extend(done);
    }

    /// Lets the application do `count` steps while `program` replicates, and marks after every
    /// few of them what is in the replica.
    pub(crate) fn follow(
        &mut self,
        place: &Place,
        program: &Program,
        writer: &mut HistoryWriter,
        count: u64,
    ) {
        let mut left = count;
        let mut turn = self.seed;
        while left > 0 {
            let some = (1 + turn * 7 % 5).min(left);
            self.steps(writer, some);
            self.mark(place, program);
            left -= some;
            turn += 1;
        }
    }

    fn mark(&mut self, place: &Place, program: &Program) {
        let synced = program.sync_wait(place.socket(), &place.db());
        let synced = synced.unwrap_or_else(|error| panic!("seed {}: {error:#}", self.seed));
        assert!(
            synced.replica_txid == synced.txid && synced.txid > 0,
            "seed {}: {synced:?} of {}",
            self.seed,
            program.path().display()
        );
        // What comes next gets a later time, also in the milliseconds of the format.
        let done = unix_millis();
        wait_until(LONG, "the next milliseconds", || unix_millis() > done + 2).expect("time flows");
        self.marks.push(Mark {
            txid: synced.txid,
            step: self.last(),
            time: done + 1,
        });
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is after 1970").as_millis() as u64
}
