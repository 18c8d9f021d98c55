//! The state of the model: shared memory, files, locks and the program counters of all actors.
//!
//! Everything is small and `Copy`, so that millions of states can be kept and compared. Fields that an
//! actor does not need at its present step hold their default: two states differ only where the future
//! can differ.

use crate::config::Config;

/// "No slot", "no position" and `SQLite`'s own `READMARK_NOT_USED`.
pub(crate) const NONE: u8 = 255;
/// Largest number of frames that one WAL generation can hold in the model.
pub(crate) const FRAMES: usize = 4;
/// Reader slots 1..=4 of `SQLite`; a configuration may use fewer.
pub(crate) const SLOTS: usize = 4;
/// Added to salt 1 when `SQLite` picks both salts at random: never reads as "one more".
pub(crate) const RANDOM_SALT_STEP: u8 = 16;
/// Salt 1 after the index was rebuilt from a WAL file without a header.
pub(crate) const NO_HEADER_SALT: u8 = 8;

/// The two salts of a generation. `two` is unique in a run, `one` follows `SQLite`'s arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Salts {
    pub(crate) one: u8,
    pub(crate) two: u8,
}

/// What one frame position of the WAL file holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Slot {
    /// The file ends before this position.
    #[default]
    Absent,
    /// Bytes that belong to no generation (writes that a power loss dropped).
    Junk,
    /// A frame of a transaction that was rolled back: valid chain, no commit.
    Spilled(Salts),
    /// Part `part` of transaction `seq`, written after `boot` power losses.
    Frame {
        salts: Salts,
        boot: u8,
        seq: u8,
        part: u8,
    },
}

/// Number of frames of transaction `seq`. Transactions cycle through page 0, page 1, both.
pub(crate) fn frames_of(seq: u8) -> u8 {
    if seq.is_multiple_of(3) { 2 } else { 1 }
}

/// Page that part `part` of transaction `seq` writes.
pub(crate) fn page_of(seq: u8, part: u8) -> usize {
    match seq % 3 {
        1 => 0,
        2 => 1,
        _ => usize::from(part),
    }
}

/// The database content right after transaction `seq`: per page the transaction that wrote it last.
pub(crate) fn content_at(seq: u8) -> [u8; 2] {
    let last = |skip: u8| (1..=seq).rev().find(|q| q % 3 != skip).unwrap_or(0);
    [last(2), last(1)]
}

/// The published wal-index header as one connection copies it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Header {
    pub(crate) salts: Salts,
    pub(crate) mx: u8,
}

/// The wal-index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Shm {
    pub(crate) header: Header,
    pub(crate) backfill: u8,
    /// Ghost: frames that some checkpoint has synced (kept only where power losses are modelled).
    pub(crate) synced: u8,
    /// Read marks of slots 1..; index 0 is slot 1.
    pub(crate) marks: [u8; SLOTS],
}

/// The database file and the WAL file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Files {
    /// Salts in the WAL file's own header; they follow the wal-index only with the first frame.
    /// `None` once TRUNCATE has cut the file to nothing.
    pub(crate) wal_salts: Option<Salts>,
    pub(crate) slots: [Slot; FRAMES],
    pub(crate) pages: [u8; 2],
}

/// Holder of an exclusive lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Owner {
    #[default]
    Nobody,
    Writer,
    Checkpointer,
    Engine,
}

/// Exclusive locks. Shared locks on reader slots are the `slot` fields of the connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Locks {
    pub(crate) write: Owner,
    pub(crate) ckpt: Owner,
    pub(crate) slot0: Owner,
    /// All of the slots 1.. at once, as a restart takes them.
    pub(crate) slots: Owner,
}

/// Where the application's writer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum WriterAt {
    #[default]
    Idle,
    Locked,
    Restarting,
    Writing,
    Ready,
    Release,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Writer {
    pub(crate) at: WriterAt,
    pub(crate) slot: u8,
    pub(crate) written: u8,
    /// Salts of the frames being written; public only with the commit.
    pub(crate) salts: Salts,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Mode {
    #[default]
    Passive,
    Full,
    Restart,
    Truncate,
}

/// Where a checkpoint is; the application's and the engine's share the steps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum CkptAt {
    #[default]
    Idle,
    WriteLock,
    Header,
    Compare,
    Marks,
    Slot0,
    Salts,
    Copy,
    Publish,
    Finish,
    Truncating,
    TruncateFile,
    Unlock,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Ckpt {
    pub(crate) at: CkptAt,
    pub(crate) mode: Mode,
    pub(crate) seen: Header,
    pub(crate) safe: u8,
    /// Reader slot being scanned, then page being copied.
    pub(crate) next: u8,
    /// It has found the slot in use, and now waits for it whatever its mark becomes.
    pub(crate) waits: bool,
}

/// Where the engine is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum EngineAt {
    #[default]
    Down,
    Idle,
    /// `BEGIN` + first read of the idle connection, in `SQLite`'s steps.
    BeginHeader,
    BeginChoose,
    BeginLock0,
    BeginCheck0,
    BeginLock,
    BeginCheck,
    WriteLock,
    /// Aside: a slot without a mark is chosen, locked, looked at again.
    AsideLock,
    AsideCheck,
    ReadHeader,
    Copy,
    EndOld,
    Ckpt,
    Rollback,
    NextSlot,
    LastSlot,
    Backfilled,
    Page0,
    Page1,
    Overlay,
}

/// What the engine is doing, where steps are shared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Goal {
    #[default]
    Capture,
    Start,
    Passive,
    Locked,
    Repin,
    /// Out of the way of a checkpoint: a bare lock takes the place of the read transaction.
    Aside,
}

/// The durable position: what the newest L0 file proves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Position {
    pub(crate) salts: Salts,
    /// Last captured frame; [`NONE`] while there is no base at all.
    pub(crate) frame: u8,
    /// Ghost: last captured transaction. With `boot` it also stands for the running checksum.
    pub(crate) seq: u8,
    pub(crate) boot: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Engine {
    pub(crate) at: EngineAt,
    pub(crate) goal: Goal,
    /// Reader slot of the pin, and of the other connection while both are open.
    pub(crate) pin: u8,
    pub(crate) other: u8,
    /// Reader slot that is locked without a read transaction.
    pub(crate) aside: u8,
    /// The mark of the slot to lock was taken away for it.
    pub(crate) cleared: bool,
    pub(crate) seen: Header,
    pub(crate) slot: u8,
    pub(crate) mark: u8,
    pub(crate) h: Header,
    /// Ghost: last committed transaction when `h` was read.
    pub(crate) h_seq: u8,
    pub(crate) h_backfill: u8,
    pub(crate) image: [u8; 2],
    pub(crate) position: Position,
    /// The position is known to continue without a hole.
    pub(crate) trusted: bool,
    /// The catch-up failed: only a base image will do.
    pub(crate) must_base: bool,
    pub(crate) ckpt: Ckpt,
}

/// A wrong thing that was done (not merely seen): it stays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Fault {
    #[default]
    No,
    WrongFrames,
    WrongImage,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) shm: Shm,
    pub(crate) files: Files,
    pub(crate) locks: Locks,
    pub(crate) writer: Writer,
    /// Slot of the application's reader.
    pub(crate) reader: u8,
    pub(crate) ckpt: Ckpt,
    pub(crate) engine: Engine,
    /// Ghost: number of committed transactions.
    pub(crate) committed: u8,
    /// Ghost: power losses so far.
    pub(crate) boot: u8,
    /// Ghost: next unused salt 2.
    pub(crate) next_salt: u8,
    /// Ghost: a power loss took back transactions that were captured.
    pub(crate) diverged: bool,
    pub(crate) fault: Fault,
}

impl State {
    /// A database with an empty generation in its WAL and nobody active.
    pub(crate) fn new(config: &Config) -> Self {
        let mut marks = [NONE; SLOTS];
        marks[0] = 0;
        let slot = if config.long_file {
            Slot::Junk
        } else {
            Slot::Absent
        };
        Self {
            shm: Shm {
                header: Header::default(),
                backfill: 0,
                synced: 0,
                marks,
            },
            files: Files {
                wal_salts: None,
                slots: [slot; FRAMES],
                pages: content_at(config.history),
            },
            locks: Locks::default(),
            writer: Writer {
                at: WriterAt::Idle,
                slot: NONE,
                written: 0,
                salts: Salts::default(),
            },
            reader: NONE,
            ckpt: Ckpt::default(),
            engine: Engine::down(Position {
                salts: Salts::default(),
                frame: NONE,
                seq: 0,
                boot: 0,
            }),
            committed: config.history,
            boot: 0,
            next_salt: 1,
            diverged: false,
            fault: Fault::No,
        }
    }
}

impl Engine {
    /// The engine not running, with what its disk holds.
    pub(crate) fn down(position: Position) -> Self {
        Self {
            at: EngineAt::Down,
            goal: Goal::Capture,
            pin: NONE,
            other: NONE,
            aside: NONE,
            cleared: false,
            seen: Header::default(),
            slot: 0,
            mark: 0,
            h: Header::default(),
            h_seq: 0,
            h_backfill: 0,
            image: [0, 0],
            position,
            trusted: false,
            must_base: false,
            ckpt: Ckpt::default(),
        }
    }

    /// The engine waiting for work with one pin.
    pub(crate) fn idle(&self) -> Self {
        Self {
            at: EngineAt::Idle,
            pin: self.pin,
            aside: self.aside,
            trusted: self.trusted,
            ..Self::down(self.position)
        }
    }
}
