//! Steps of the engine: the chain of pins, capture, own checkpoints, crash.

use crate::ckpt;
use crate::config::{Config, Mistake};
use crate::recovery;
use crate::search::Steps;
use crate::state::{
    Ckpt, CkptAt, Engine, EngineAt, Fault, Goal, Header, NONE, Owner, Position, State,
};

/// All steps that the engine can take, the crash included.
pub(crate) fn steps(state: &State, config: &Config, out: &mut Steps) {
    let engine = &state.engine;
    if config.crash && engine.at != EngineAt::Down {
        let mut next = *state;
        crash(&mut next);
        out.new_work("engine is killed", next);
    }
    match engine.at {
        EngineAt::Down => recovery::start(state, config, out),
        EngineAt::Idle => choose(state, config, out),
        EngineAt::BeginHeader
        | EngineAt::BeginChoose
        | EngineAt::BeginLock0
        | EngineAt::BeginCheck0
        | EngineAt::BeginLock
        | EngineAt::BeginCheck => begin(state, config, out),
        EngineAt::WriteLock => write_lock(state, config, out),
        EngineAt::AsideLock | EngineAt::AsideCheck => aside(state, config, out),
        EngineAt::ReadHeader => read_header(state, config, out),
        EngineAt::Copy => copy(state, config, out),
        EngineAt::EndOld => end_old(state, config, out),
        EngineAt::Ckpt => checkpoint(state, config, out),
        EngineAt::Rollback => rollback(state, out),
        EngineAt::NextSlot
        | EngineAt::LastSlot
        | EngineAt::Backfilled
        | EngineAt::Page0
        | EngineAt::Page1
        | EngineAt::Overlay => recovery::steps(state, config, out),
    }
}

fn crash(next: &mut State) {
    for owner in [
        &mut next.locks.write,
        &mut next.locks.ckpt,
        &mut next.locks.slot0,
        &mut next.locks.slots,
    ] {
        if *owner == Owner::Engine {
            *owner = Owner::Nobody;
        }
    }
    next.engine = Engine::down(next.engine.position);
}

/// The engine may at any time capture, step aside, or checkpoint in one of its two ways.
fn choose(state: &State, config: &Config, out: &mut Steps) {
    if config.aside {
        choose_aside(state, config, out);
    }
    let mut capture = *state;
    if config.makes(Mistake::AsideUnlockBeforeBegin) {
        capture.engine.aside = NONE;
    }
    capture.engine.goal = Goal::Capture;
    capture.engine.at = EngineAt::BeginHeader;
    if config.makes(Mistake::EndPinBeforeBegin) {
        capture.engine.pin = NONE;
    }
    if config.makes(Mistake::ReadHeaderBeforeBegin) {
        capture.engine.at = EngineAt::ReadHeader;
    }
    out.fair("engine begins a capture", capture);
    if !config.own_checkpoint || state.engine.aside != NONE {
        return;
    }
    let mut passive = *state;
    passive.engine.goal = Goal::Passive;
    passive.engine.at = EngineAt::Ckpt;
    if config.makes(Mistake::PassiveWithoutPin) {
        passive.engine.pin = NONE;
    }
    out.fair("engine begins a PASSIVE beside its pin", passive);
    let mut locked = *state;
    locked.engine.goal = Goal::Locked;
    locked.engine.at = EngineAt::BeginHeader;
    out.fair("engine begins a checkpoint under the write lock", locked);
}

/// While aside, the engine may capture without a new pin; else it looks for a slot without a mark.
fn choose_aside(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    next.engine.goal = Goal::Aside;
    if state.engine.aside != NONE {
        next.engine.at = EngineAt::ReadHeader;
        out.fair("engine begins a capture while it is aside", next);
        return;
    }
    for slot in 1..=config.slots {
        if state.shm.marks[usize::from(slot) - 1] == NONE {
            next.engine.slot = slot;
            next.engine.at = EngineAt::AsideLock;
            if config.makes(Mistake::AsideEndBeforeLock) {
                next.engine.pin = NONE;
            }
            out.fair("engine finds a slot without a mark", next);
        } else if is_ahead(state, slot, config) && state.is_free(slot) {
            next.shm.marks[usize::from(slot) - 1] = NONE;
            next.engine.cleared = true;
            next.engine.slot = slot;
            next.engine.at = EngineAt::AsideLock;
            out.fair("engine takes the mark of a free slot away", next);
        }
    }
}

/// A slot before this one has a mark that is behind: a checkpoint that waits has not come so far.
fn is_ahead(state: &State, slot: u8, config: &Config) -> bool {
    let before = &state.shm.marks[..usize::from(slot) - 1];
    before.iter().any(|mark| *mark < state.shm.header.mx)
        || (config.makes(Mistake::AsideInWaitedSlot) && slot > 1)
}

/// Locks the slot that was found. Nobody can give it a mark from then on; somebody may have before.
fn aside(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let e = &mut next.engine;
    if e.at == EngineAt::AsideLock {
        if state.locks.slots == Owner::Nobody {
            (e.aside, e.slot, e.at) = (e.slot, 0, EngineAt::AsideCheck);
            out.fair("engine locks the slot", next);
        } else {
            next.engine = e.idle();
            out.fair("engine finds the slot locked, stays", next);
        }
        return;
    }
    let fits = state.shm.marks[usize::from(e.aside) - 1] == NONE
        && (!e.cleared || is_ahead(state, e.aside, config));
    if fits || config.makes(Mistake::AsideUnchecked) {
        e.cleared = false;
        e.at = EngineAt::ReadHeader;
        out.fair("engine holds a slot without a mark", next);
    } else {
        e.aside = NONE;
        next.engine = e.idle();
        out.fair("engine finds a mark in the slot, stays", next);
    }
}

/// `BEGIN` and the first read, as `SQLite` does it.
fn begin(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let seen = state.engine.seen;
    let e = &mut next.engine;
    match e.at {
        EngineAt::BeginHeader => {
            e.seen = state.shm.header;
            e.at = EngineAt::BeginChoose;
            out.fair("engine copies the header", next);
        }
        EngineAt::BeginChoose if state.shm.backfill == seen.mx => {
            e.at = EngineAt::BeginLock0;
            out.fair("engine sees a WAL that is backfilled", next);
        }
        EngineAt::BeginLock0 if state.locks.slot0 == Owner::Nobody => {
            e.other = 0;
            e.at = EngineAt::BeginCheck0;
            out.fair("engine locks slot 0", next);
        }
        EngineAt::BeginChoose | EngineAt::BeginLock0 => {
            if state.locks.slots != Owner::Nobody {
                e.at = EngineAt::BeginHeader;
                out.fair("engine finds the slots locked", next);
            } else if let Some((slot, mark)) = next.choose_slot(seen, config) {
                let e = &mut next.engine;
                (e.slot, e.mark, e.at) = (slot, mark, EngineAt::BeginLock);
                out.fair("engine chooses a slot", next);
            } else {
                next.engine.at = EngineAt::BeginHeader;
                out.fair("engine finds no slot", next);
            }
        }
        EngineAt::BeginLock => {
            if state.locks.slots == Owner::Nobody {
                e.other = e.slot;
                e.at = EngineAt::BeginCheck;
                out.fair("engine locks its slot", next);
            } else {
                e.at = EngineAt::BeginHeader;
                out.fair("engine finds its slot locked", next);
            }
        }
        EngineAt::BeginCheck0 | EngineAt::BeginCheck => {
            let same_mark =
                e.at == EngineAt::BeginCheck0 || state.shm.marks[usize::from(e.slot) - 1] == e.mark;
            if same_mark && seen == state.shm.header {
                begun(next, config, out);
            } else {
                (e.other, e.slot, e.mark, e.at) = (NONE, 0, 0, EngineAt::BeginHeader);
                out.fair("engine sees that the header moved", next);
            }
        }
        _ => {}
    }
}

/// The new read transaction stands; go on with what it was for.
fn begun(mut next: State, config: &Config, out: &mut Steps) {
    let e = &mut next.engine;
    (e.slot, e.mark) = (0, 0);
    e.at = match e.goal {
        Goal::Capture if config.makes(Mistake::ReadHeaderAfterEndingPin) => EngineAt::EndOld,
        Goal::Capture if config.makes(Mistake::ReadHeaderBeforeBegin) => EngineAt::Copy,
        Goal::Capture if config.makes(Mistake::AsideUnlockBeforeCopy) => {
            e.aside = NONE;
            EngineAt::ReadHeader
        }
        Goal::Capture | Goal::Passive | Goal::Aside => EngineAt::ReadHeader,
        Goal::Locked => EngineAt::WriteLock,
        Goal::Repin => EngineAt::Rollback,
        Goal::Start => {
            (e.pin, e.other) = (e.other, NONE);
            if config.makes(Mistake::StartHeaderBeforePin) {
                recovery::decide(next, config, out);
                return;
            }
            EngineAt::ReadHeader
        }
    };
    if e.goal != Goal::Locked {
        e.seen = Header::default();
    }
    out.fair("engine holds a new read transaction", next);
}

/// `BEGIN IMMEDIATE` with busy timeout 0, second half.
fn write_lock(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    if state.locks.write == Owner::Nobody && state.engine.seen == state.shm.header {
        next.locks.write = Owner::Engine;
        next.engine.at = if config.makes(Mistake::LockedWithoutTail) {
            EngineAt::EndOld
        } else {
            EngineAt::ReadHeader
        };
        next.engine.seen = Header::default();
        out.fair("engine takes the write lock", next);
    } else {
        next.engine = Engine {
            other: NONE,
            ..state.engine
        }
        .idle();
        out.fair("engine does not get the write lock", next);
    }
}

fn read_header(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let e = &mut next.engine;
    e.h = state.shm.header;
    e.h_seq = state.committed;
    if e.goal == Goal::Start {
        if config.makes(Mistake::StartHeaderBeforePin) && e.pin == NONE {
            e.at = EngineAt::BeginHeader;
            out.fair("engine reads the header before it pins", next);
        } else {
            recovery::decide(next, config, out);
        }
        return;
    }
    e.at = match (e.goal, config.mistake) {
        (Goal::Capture, Some(Mistake::ReadHeaderBeforeBegin)) => EngineAt::BeginHeader,
        (Goal::Capture, Some(Mistake::CopyAfterEndingPin)) => EngineAt::EndOld,
        _ => EngineAt::Copy,
    };
    out.fair("engine reads the header", next);
}

/// Copies the committed frames behind the position into a durable L0 file.
fn copy(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let (h, position) = (state.engine.h, state.engine.position);
    let from = if h.salts == position.salts {
        position.frame
    } else {
        0
    };
    let read = state.read_transactions(h.salts, from, h.mx, position.seq);
    if read == Some(state.engine.h_seq) {
        // An empty generation does not move the position: a rebuilt index may take it back.
        if h.mx > from {
            let (seq, boot) = (state.engine.h_seq, state.boot);
            next.engine.position = Position {
                salts: h.salts,
                frame: h.mx,
                seq,
                boot,
            };
        }
        next.engine.trusted = true;
    } else if state.engine.goal == Goal::Start
        && !state.is_of_generation(h.salts, from, h.mx)
        && !config.makes(Mistake::CatchUpUnchecked)
    {
        next.engine.h = Header::default();
        next.engine.h_seq = 0;
        next.engine.at = EngineAt::ReadHeader;
        next.engine.must_base = true;
        out.fair("engine finds frames overwritten while it catches up", next);
        return;
    } else {
        next.fault = Fault::WrongFrames;
    }
    let e = &mut next.engine;
    (e.h, e.h_seq) = (Header::default(), 0);
    if e.goal == Goal::Aside {
        if e.pin == NONE {
            next.engine = e.idle();
        } else {
            e.at = EngineAt::EndOld;
        }
        out.fair("engine makes an L0 file durable, aside", next);
        return;
    }
    if e.other == NONE {
        // At the start there is no old pin; some mistakes have ended it already.
        next.engine = e.idle();
        out.fair("engine makes an L0 file durable", next);
        return;
    }
    e.at = EngineAt::EndOld;
    out.fair("engine makes an L0 file durable", next);
}

fn end_old(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let e = &mut next.engine;
    if e.goal == Goal::Aside {
        e.pin = NONE;
        next.engine = e.idle();
        out.fair("engine ends its pin and is aside", next);
        return;
    }
    (e.pin, e.other, e.aside) = (e.other, NONE, NONE);
    match (e.goal, config.mistake) {
        (Goal::Locked, _) => e.at = EngineAt::Ckpt,
        (Goal::Capture, Some(Mistake::CopyAfterEndingPin)) => e.at = EngineAt::Copy,
        (Goal::Capture, Some(Mistake::ReadHeaderAfterEndingPin)) => e.at = EngineAt::ReadHeader,
        _ => next.engine = e.idle(),
    }
    out.fair("engine ends the old pin", next);
}

/// PASSIVE on the idle connection.
fn checkpoint(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    if state.engine.ckpt.at != CkptAt::Idle {
        ckpt::advance(state, Owner::Engine, config, out);
        // The last step leaves the checkpoint idle: go on from there.
        if let Some(last) = out.last_mut()
            && last.engine.ckpt == Ckpt::default()
        {
            after_checkpoint(last, config);
        }
    } else if state.locks.ckpt == Owner::Nobody {
        next.locks.ckpt = Owner::Engine;
        next.engine.ckpt.at = CkptAt::Header;
        out.fair("engine takes the checkpoint lock", next);
    } else {
        after_checkpoint(&mut next, config);
        out.fair("engine finds another checkpoint running", next);
    }
}

fn after_checkpoint(next: &mut State, config: &Config) {
    let e = &mut next.engine;
    match e.goal {
        Goal::Locked if config.makes(Mistake::RollbackBeforeRepin) => {
            // The holder of the write lock is the pin: both end together.
            next.locks.write = Owner::Nobody;
            e.pin = NONE;
            e.goal = Goal::Capture;
            e.at = EngineAt::BeginHeader;
        }
        Goal::Locked => {
            e.goal = Goal::Repin;
            e.at = EngineAt::BeginHeader;
        }
        _ if config.makes(Mistake::PassiveWithoutPin) => e.at = EngineAt::BeginHeader,
        _ => *e = e.idle(),
    }
}

/// Ends the transaction that holds the write lock; the new pin stands.
fn rollback(state: &State, out: &mut Steps) {
    let mut next = *state;
    next.locks.write = Owner::Nobody;
    next.engine.pin = state.engine.other;
    next.engine.other = NONE;
    next.engine = next.engine.idle();
    out.fair("engine lets the write lock go", next);
}
