//! What must hold in every state.

use crate::config::Config;
use crate::engine;
use crate::search::Steps;
use crate::state::{EngineAt, Fault, Goal, NONE, Owner, Slot, State, content_at, page_of};

/// Which invariant a state breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// Frames were captured that are not the next transactions, or were overwritten while being read.
    WrongFrames,
    /// A base image is not the committed state that it claims.
    WrongImage,
    /// A committed transaction is neither in L0 nor in the WAL behind the position.
    Lost,
    /// The engine continues a chain that a power loss took back.
    Diverged,
    /// A frame that is not captured was copied into the database file.
    EarlyBackfill,
    /// The engine runs without a read transaction.
    NoPin,
    /// The engine is aside in a slot that a checkpoint may wait for.
    InTheWay,
    /// The engine holds the write lock outside the bounded step, or could not leave it.
    WriteLock,
    /// `SQLite` itself would show its users a wrong database.
    Sqlite,
}

/// Which invariants to check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// What safety of the replica needs: no loss, nothing wrong.
    Safety,
    /// Only what the application sees.
    Sqlite,
}

/// Steps that the engine may need from taking the write lock to letting it go.
const LOCKED_STEPS: u32 = 40;

/// The first invariant that `state` breaks.
pub(crate) fn check(state: &State, config: &Config, scope: Scope) -> Option<Broken> {
    if scope == Scope::Sqlite {
        return (!is_readable(state)).then_some(Broken::Sqlite);
    }
    match state.fault {
        Fault::No => {}
        Fault::WrongFrames => return Some(Broken::WrongFrames),
        Fault::WrongImage => return Some(Broken::WrongImage),
    }
    if state.engine.trusted {
        if state.diverged {
            return Some(Broken::Diverged);
        }
        if is_lost(state) {
            return Some(Broken::Lost);
        }
    }
    if scope == Scope::Safety {
        return None;
    }
    let engine = &state.engine;
    if engine.trusted && [engine.pin, engine.other, engine.aside] == [NONE; 3] {
        return Some(Broken::NoPin);
    }
    if is_in_the_way(state) {
        return Some(Broken::InTheWay);
    }
    // A bare lock on a slot without a mark keeps the generation, not the database file.
    if engine.trusted && engine.aside == NONE && is_early(state) {
        return Some(Broken::EarlyBackfill);
    }
    if state.locks.write == Owner::Engine && !leaves_write_lock(state, config) {
        return Some(Broken::WriteLock);
    }
    (!config.reset_bug && !is_readable(state)).then_some(Broken::Sqlite)
}

/// Invariant 5 of a running engine: what is committed and not captured stands in the WAL behind the
/// position, without a hole.
fn is_lost(state: &State) -> bool {
    let (header, position) = (state.shm.header, state.engine.position);
    let from = if header.salts == position.salts {
        position.frame
    } else {
        0
    };
    state.read_transactions(header.salts, from, header.mx, position.seq) != Some(state.committed)
}

/// The engine is aside, but the slot it holds has a mark, for which a checkpoint would wait, or
/// is the one that a checkpoint waits for.
fn is_in_the_way(state: &State) -> bool {
    let engine = &state.engine;
    engine.aside != NONE
        && engine.at != EngineAt::AsideCheck
        && state.locks.slots == Owner::Nobody
        && (state.shm.marks[usize::from(engine.aside) - 1] != NONE
            || state.ckpt.waits && state.ckpt.next == engine.aside)
}

/// `nBackfill` is beyond the position. While the new header is out and `nBackfill` is not yet reset,
/// the old number means the old generation.
fn is_early(state: &State) -> bool {
    if state.locks.slots != Owner::Nobody {
        return false;
    }
    let position = state.engine.position;
    let captured = if state.shm.header.salts == position.salts {
        position.frame
    } else {
        0
    };
    state.shm.backfill > captured
}

/// The write lock is held only in the bounded step, and the engine leaves it whatever others do (they
/// cannot stop it: it waits for nobody).
fn leaves_write_lock(state: &State, config: &Config) -> bool {
    let mut at = *state;
    for _ in 0..LOCKED_STEPS {
        if at.locks.write != Owner::Engine {
            return true;
        }
        if !matches!(at.engine.goal, Goal::Locked | Goal::Repin)
            || matches!(at.engine.at, EngineAt::Idle | EngineAt::Down)
        {
            return false;
        }
        let mut out = Steps::default();
        engine::steps(
            &at,
            &Config {
                crash: false,
                ..*config
            },
            &mut out,
        );
        match out.first_fair() {
            Some(next) => at = next,
            None => return false,
        }
    }
    false
}

/// A new reader sees the committed state: frames past `nBackfill` over the database file.
fn is_readable(state: &State) -> bool {
    let mut pages = state.files.pages;
    let header = state.shm.header;
    for frame in state.shm.backfill..header.mx {
        match state.files.slots[usize::from(frame)] {
            Slot::Frame {
                salts, seq, part, ..
            } if salts == header.salts => {
                pages[page_of(seq, part)] = seq;
            }
            _ => return false,
        }
    }
    // While a checkpoint runs it may have copied newer versions of pages that the WAL overrides.
    pages == content_at(state.committed)
}
