//! What a step can do, and how it is chosen.

use std::fmt;

use anyhow::Result;
use rusqlite::Connection;

use super::change::{Change, content_bytes};
use super::maintain::CheckpointMode;
use super::options::Options;
use super::random::Random;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A transaction that commits.
    Change(Change),
    /// A transaction that is rolled back, after it has spilled frames into the WAL.
    Rollback,
    /// `VACUUM`, and then a commit of its own.
    Vacuum,
    /// A checkpoint by another connection.
    Checkpoint(CheckpointMode),
    /// A reader begins and stays.
    ReaderOpen,
    /// The reader ends.
    ReaderClose,
}

impl Action {
    /// Whether the step becomes part of the committed history.
    pub fn commits(self) -> bool {
        matches!(self, Self::Change(_) | Self::Vacuum)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(change) => write!(f, "{change:?}"),
            Self::Checkpoint(mode) => write!(f, "Checkpoint{}", mode.as_str()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// How often each action comes, relative to the others.
const WEIGHTS: [(u64, Action); 20] = [
    (18, Action::Change(Change::Insert)),
    (16, Action::Change(Change::Update)),
    (8, Action::Change(Change::Delete)),
    (6, Action::Change(Change::Blob)),
    (3, Action::Change(Change::Grow)),
    (2, Action::Change(Change::Shrink)),
    (3, Action::Change(Change::CreateTable)),
    (2, Action::Change(Change::DropTable)),
    (3, Action::Change(Change::AlterTable)),
    (3, Action::Change(Change::Index)),
    (5, Action::Change(Change::Savepoints)),
    (2, Action::Change(Change::FreePages)),
    (4, Action::Rollback),
    (2, Action::Vacuum),
    (3, Action::Checkpoint(CheckpointMode::Passive)),
    (2, Action::Checkpoint(CheckpointMode::Full)),
    (2, Action::Checkpoint(CheckpointMode::Restart)),
    (2, Action::Checkpoint(CheckpointMode::Truncate)),
    (3, Action::ReaderOpen),
    (3, Action::ReaderClose),
];

/// Chooses the action of a step.
pub(super) fn choose(
    random: &mut Random,
    connection: &Connection,
    options: &Options,
) -> Result<Action> {
    let total: u64 = WEIGHTS.iter().map(|(weight, _)| weight).sum();
    let mut point = random.below(total);
    let mut chosen = Action::Change(Change::Insert);
    for (weight, action) in WEIGHTS {
        if point < weight {
            chosen = action;
            break;
        }
        point -= weight;
    }
    // Judged by content, not by pages: free pages depend on who checkpointed and vacuumed.
    if chosen.commits() && content_bytes(connection)? > options.content_limit {
        return Ok(Action::Change(Change::Shrink));
    }
    Ok(chosen)
}
