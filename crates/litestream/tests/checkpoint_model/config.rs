//! What a run of the model allows: bounds, actors, accidents, and deliberate mistakes in the protocol.

/// A deliberate mistake; the enumerator must find a violation (or the mistake is shown to be harmless).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mistake {
    /// End the old pin, then begin the new one.
    EndPinBeforeBegin,
    /// Read the header before the new pin begins and capture only to that.
    ReadHeaderBeforeBegin,
    /// Begin the new pin, read the header, end the old pin, then copy.
    CopyAfterEndingPin,
    /// Begin the new pin, end the old pin, then read the header and copy.
    ReadHeaderAfterEndingPin,
    /// Run the own PASSIVE checkpoint with no pin held.
    PassiveWithoutPin,
    /// Under the write lock: end the old pin without capturing the tail.
    LockedWithoutTail,
    /// Under the write lock: roll back before the new pin has begun.
    RollbackBeforeRepin,
    /// Aside: end the pin, then lock the slot.
    AsideEndBeforeLock,
    /// Aside: do not look at the slot's mark again after it is locked.
    AsideUnchecked,
    /// Aside: take the mark away from any free slot, also from one that a checkpoint may wait for.
    AsideInWaitedSlot,
    /// Aside: unlock the slot, then begin the new pin.
    AsideUnlockBeforeBegin,
    /// Aside: begin the new pin, unlock the slot, then capture.
    AsideUnlockBeforeCopy,
    /// Start: trust the frames up to `mxFrame` without checking their salts and checksums.
    CatchUpUnchecked,
    /// Start: read the header, then begin the pin.
    StartHeaderBeforePin,
    /// Start, equal salts: do not compare the checksum of the last captured frame.
    EqualSaltsWithoutChecksum,
    /// Start, other salts: do not require salt 1 to be one higher.
    AnySaltStep,
    /// Start, other salts: do not look at the frame after the last captured one.
    NextSlotUnchecked,
    /// Start, other salts: take a file that ends after the last captured frame as proof.
    NextSlotMayBeAbsent,
    /// Start, other salts: do not look at the last captured frame.
    LastSlotUnchecked,
    /// Start, other salts: look at the last captured frame first, at the next one after it.
    LastSlotBeforeNext,
    /// Start, other salts: trust the file also after a power loss.
    ProofAcrossPowerLoss,
    /// Start, other salts: continue from a position that has no frame in its generation.
    ProofFromFrameZero,
    /// Base image: read all frames of the WAL instead of those past `nBackfill`.
    OverlayFromFirstFrame,
    /// Base image: do not re-read the header after `nBackfill`.
    HeaderNotReadAgain,
}

/// Bounds and actors of one run.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of one run"
)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Transactions committed and backfilled before the run begins.
    pub(crate) history: u8,
    /// The WAL file is longer than its generation: old frames stand at every position.
    pub(crate) long_file: bool,
    /// Reader slots 1..=slots.
    pub(crate) slots: u8,
    /// Frames that fit in one generation.
    pub(crate) frames: u8,
    /// Transactions that the writer may commit.
    pub(crate) transactions: u8,
    /// Distinct salts that may appear.
    pub(crate) generations: u8,
    pub(crate) reader: bool,
    /// FULL, RESTART and TRUNCATE by the application (PASSIVE is always there).
    pub(crate) blocking_modes: bool,
    /// The engine checkpoints by itself.
    pub(crate) own_checkpoint: bool,
    /// The engine steps aside, whether or not a checkpoint waits.
    pub(crate) aside: bool,
    /// The engine is killed at any step and started again.
    pub(crate) crash: bool,
    /// The writer rolls back after spilling a frame.
    pub(crate) spill: bool,
    /// An application process is killed while it publishes the wal-index header; the index is rebuilt.
    pub(crate) kill: bool,
    /// One power loss that drops any set of frames not yet backfilled.
    pub(crate) power_loss: bool,
    /// The last application closes while the engine is down: WAL deleted, new random salts.
    pub(crate) reopen: bool,
    /// The first writer after an empty WAL may pick random salts.
    pub(crate) random_salts: bool,
    /// `journal_size_limit`: the first commit of a generation may cut the file.
    pub(crate) size_limit: bool,
    /// The application's checkpointer has the WAL-reset bug.
    pub(crate) reset_bug: bool,
    pub(crate) mistake: Option<Mistake>,
}

impl Config {
    /// Engine without crashes, all application actors.
    pub(crate) const fn steady() -> Self {
        Self {
            history: 0,
            long_file: false,
            slots: 2,
            frames: 3,
            transactions: 4,
            generations: 3,
            reader: true,
            blocking_modes: true,
            own_checkpoint: true,
            aside: false,
            crash: false,
            spill: false,
            kill: false,
            power_loss: false,
            reopen: false,
            random_salts: false,
            size_limit: false,
            reset_bug: false,
            mistake: None,
        }
    }

    /// Engine that is killed and started again, application that goes on meanwhile.
    pub(crate) const fn restarts() -> Self {
        Self {
            frames: 4,
            reader: false,
            own_checkpoint: false,
            crash: true,
            ..Self::steady()
        }
    }

    /// A restart story in few steps: only PASSIVE by the application.
    pub(crate) const fn short_restarts() -> Self {
        Self {
            transactions: 3,
            blocking_modes: false,
            ..Self::restarts()
        }
    }

    pub(crate) fn mistaken(self, mistake: Mistake) -> Self {
        Self {
            mistake: Some(mistake),
            ..self
        }
    }

    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}
