//! A checkpoint in `SQLite`'s steps, for the application (all modes) and for the engine (PASSIVE).
//!
//! Waiting for a lock (the busy handler) is the absence of a step; giving up is a step of its own.

use crate::config::Config;
use crate::search::Steps;
use crate::state::{Ckpt, CkptAt, FRAMES, Header, Mode, NONE, Owner, SLOTS, Slot, State, page_of};

/// Steps of the application's checkpointer.
pub(crate) fn steps(state: &State, config: &Config, out: &mut Steps) {
    if state.ckpt.at != CkptAt::Idle {
        advance(state, Owner::Checkpointer, config, out);
        return;
    }
    if state.locks.ckpt != Owner::Nobody {
        return;
    }
    let modes: &[Mode] = if config.blocking_modes {
        &[Mode::Passive, Mode::Full, Mode::Restart, Mode::Truncate]
    } else {
        &[Mode::Passive]
    };
    for &mode in modes {
        let mut next = *state;
        next.locks.ckpt = Owner::Checkpointer;
        let at = if mode == Mode::Passive {
            CkptAt::Header
        } else {
            CkptAt::WriteLock
        };
        next.ckpt = Ckpt {
            at,
            mode,
            ..Ckpt::default()
        };
        out.new_work("application starts a checkpoint", next);
    }
}

fn of(state: &mut State, who: Owner) -> &mut Ckpt {
    if who == Owner::Engine {
        &mut state.engine.ckpt
    } else {
        &mut state.ckpt
    }
}

/// One step of the running checkpoint of `who`.
pub(crate) fn advance(state: &State, who: Owner, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let ckpt = *of(&mut next, who);
    let mut goto = |mut next: State, at: CkptAt, label: &'static str| {
        of(&mut next, who).at = at;
        out.fair(label, next);
    };
    match ckpt.at {
        CkptAt::Idle => {}
        CkptAt::WriteLock => write_lock(next, out),
        CkptAt::Header => {
            of(&mut next, who).seen = state.shm.header;
            goto(next, CkptAt::Compare, "checkpoint reads the header");
        }
        CkptAt::Compare => {
            if state.shm.backfill < ckpt.seen.mx {
                of(&mut next, who).safe = ckpt.seen.mx;
                of(&mut next, who).next = 1;
                goto(next, CkptAt::Marks, "checkpoint has work");
            } else {
                goto(next, CkptAt::Finish, "checkpoint has nothing to copy");
            }
        }
        CkptAt::Marks => scan_mark(state, who, config, out),
        CkptAt::Slot0 => lock_slot0(state, who, out),
        CkptAt::Salts => {
            if ckpt.seen.salts != state.shm.header.salts && !config.reset_bug {
                next.locks.slot0 = Owner::Nobody;
                goto(
                    next,
                    CkptAt::Finish,
                    "checkpoint sees that the WAL was restarted",
                );
            } else {
                of(&mut next, who).next = 0;
                if config.power_loss {
                    // The sync covers the whole file, not only what will be copied.
                    next.shm.synced = state.shm.header.mx;
                }
                goto(next, CkptAt::Copy, "checkpoint goes to copy");
            }
        }
        CkptAt::Copy => copy_page(state, who, out),
        CkptAt::Publish => {
            next.shm.backfill = ckpt.safe;
            next.locks.slot0 = Owner::Nobody;
            goto(next, CkptAt::Finish, "checkpoint publishes nBackfill");
        }
        CkptAt::Finish => finish(state, who, config, out),
        CkptAt::Truncating => {
            next.shm.backfill = 0;
            next.shm.synced = 0;
            next.shm.marks = [NONE; SLOTS];
            next.shm.marks[0] = 0;
            goto(
                next,
                CkptAt::TruncateFile,
                "TRUNCATE resets nBackfill and marks",
            );
        }
        CkptAt::TruncateFile => {
            next.files.wal_salts = None;
            next.files.slots = [Slot::Absent; FRAMES];
            next.locks.slots = Owner::Nobody;
            goto(next, CkptAt::Unlock, "TRUNCATE cuts the file");
        }
        CkptAt::Unlock => {
            release(&mut next, who);
            out.fair("checkpoint ends", next);
        }
    }
}

fn release(next: &mut State, who: Owner) {
    next.locks.ckpt = Owner::Nobody;
    if who == Owner::Checkpointer && next.locks.write == Owner::Checkpointer {
        next.locks.write = Owner::Nobody;
    }
    *of(next, who) = Ckpt::default();
}

/// FULL, RESTART, TRUNCATE want the write lock first; without it they are a PASSIVE.
fn write_lock(mut next: State, out: &mut Steps) {
    next.ckpt.at = CkptAt::Header;
    if next.locks.write == Owner::Nobody {
        next.locks.write = Owner::Checkpointer;
        out.fair("checkpoint takes the write lock", next);
    } else {
        next.ckpt.mode = Mode::Passive;
        out.give_up("checkpoint gives up on the write lock", next);
    }
}

/// Looks at one reader slot: a reader's mark limits what may be copied.
fn scan_mark(state: &State, who: Owner, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let ckpt = of(&mut next, who);
    let (slot, safe, passive) = (ckpt.next, ckpt.safe, ckpt.mode == Mode::Passive);
    if slot > config.slots {
        ckpt.next = 0;
        ckpt.at = CkptAt::Slot0;
        out.fair("checkpoint has seen all marks", next);
        return;
    }
    let waits = ckpt.waits;
    let mark = state.shm.marks[usize::from(slot) - 1];
    if safe > mark && config.aside && !waits && !passive && !state.is_free(slot) {
        ckpt.waits = true;
        out.fair("checkpoint waits for a slot", next);
        return;
    }
    ckpt.next = slot + 1;
    ckpt.waits = false;
    if safe <= mark && !waits {
        out.fair("checkpoint passes a slot", next);
        return;
    }
    if state.is_free(slot) {
        next.shm.marks[usize::from(slot) - 1] = if slot == 1 { safe } else { NONE };
        out.fair("checkpoint resets an unused mark", next);
        return;
    }
    ckpt.safe = safe.min(mark);
    if passive {
        out.fair("checkpoint is limited by a reader", next);
    } else {
        out.give_up("checkpoint gives up on a reader", next);
    }
}

/// Slot 0 exclusively: no reader may rely on the database file alone while it is written.
fn lock_slot0(state: &State, who: Owner, out: &mut Steps) {
    let mut next = *state;
    let ckpt = of(&mut next, who);
    let passive = ckpt.mode == Mode::Passive;
    ckpt.at = CkptAt::Finish;
    if state.shm.backfill >= ckpt.safe {
        out.fair("checkpoint may copy nothing", next);
    } else if state.locks.slot0 == Owner::Nobody && !state.is_shared(0) {
        ckpt.at = CkptAt::Salts;
        next.locks.slot0 = who;
        out.fair("checkpoint locks slot 0", next);
    } else if passive {
        out.fair("checkpoint finds slot 0 in use", next);
    } else {
        out.give_up("checkpoint gives up on slot 0", next);
    }
}

/// Copies the newest safe version of one page; between pages the checkpoint may be interrupted.
fn copy_page(state: &State, who: Owner, out: &mut Steps) {
    let mut next = *state;
    let ckpt = of(&mut next, who);
    let (page, safe) = (usize::from(ckpt.next), ckpt.safe);
    if page == state.files.pages.len() {
        ckpt.at = CkptAt::Publish;
        ckpt.next = 0;
        out.fair("checkpoint has copied", next);
        return;
    }
    ckpt.next += 1;
    for frame in (state.shm.backfill..safe.min(FRAMES as u8)).rev() {
        if let Slot::Frame { seq, part, .. } = state.files.slots[usize::from(frame)]
            && page_of(seq, part) == page
        {
            next.files.pages[page] = seq;
            break;
        }
    }
    if page > 0 {
        let mut interrupted = *state;
        interrupted.locks.slot0 = Owner::Nobody;
        of(&mut interrupted, who).at = CkptAt::Unlock;
        out.give_up("checkpoint is interrupted", interrupted);
    }
    out.fair("checkpoint copies a page", next);
}

/// After the copy: what FULL, RESTART and TRUNCATE still do.
fn finish(state: &State, who: Owner, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let ckpt = *of(&mut next, who);
    of(&mut next, who).at = CkptAt::Unlock;
    let wants_all = matches!(ckpt.mode, Mode::Restart | Mode::Truncate);
    if !wants_all || state.shm.backfill < ckpt.seen.mx {
        out.fair("checkpoint is done", next);
        return;
    }
    if !state.are_slots_free(config) {
        out.give_up("checkpoint gives up on readers", next);
        return;
    }
    if ckpt.mode == Mode::Restart {
        out.fair("RESTART saw all slots free", next);
        return;
    }
    let Some(salts) = next.next_generation(false, config) else {
        out.fair("TRUNCATE stops (bound of the run)", next);
        return;
    };
    if config.kill && state.files.wal_salts.is_some() {
        let mut killed = *state;
        release(&mut killed, who);
        killed.rebuild_index(config);
        out.new_work(
            "TRUNCATE is killed while it publishes; index rebuilt",
            killed,
        );
    }
    next.locks.slots = Owner::Checkpointer;
    next.shm.header = Header { salts, mx: 0 };
    next.ckpt.at = CkptAt::Truncating;
    out.fair("TRUNCATE publishes an empty generation", next);
}
