//! Steps of the engine at its start: pin, then prove continuity or take a new base image.

use crate::config::{Config, Mistake};
use crate::search::Steps;
use crate::state::{
    EngineAt, FRAMES, Fault, Goal, Header, NONE, Position, Slot, State, content_at, frames_of,
    page_of,
};

/// The engine comes up.
pub(crate) fn start(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    next.engine.goal = Goal::Start;
    next.engine.at = if config.makes(Mistake::StartHeaderBeforePin) {
        EngineAt::ReadHeader
    } else {
        EngineAt::BeginHeader
    };
    out.fair("engine starts", next);
}

/// The pin stands and the header is read: which proof is possible?
pub(crate) fn decide(mut next: State, config: &Config, out: &mut Steps) {
    let e = &mut next.engine;
    let (h, p) = (e.h, e.position);
    if p.frame == NONE || e.must_base {
        base(next, "engine needs a base", out);
    } else if h.salts == p.salts {
        if h.mx < p.frame {
            base(next, "engine finds fewer frames than it captured", out);
        } else if p.frame == 0 || config.makes(Mistake::EqualSaltsWithoutChecksum) {
            catch_up(next, config, out);
        } else {
            e.at = EngineAt::LastSlot;
            out.fair("engine finds its generation", next);
        }
    } else {
        let step = h.salts.one == p.salts.one.wrapping_add(1) || config.makes(Mistake::AnySaltStep);
        let has_frame = p.frame > 0 || config.makes(Mistake::ProofFromFrameZero);
        let same_boot = p.boot == next.boot || config.makes(Mistake::ProofAcrossPowerLoss);
        if !step || !has_frame || !same_boot {
            base(next, "engine finds a generation that it cannot prove", out);
            return;
        }
        e.at = if config.makes(Mistake::LastSlotBeforeNext) {
            EngineAt::LastSlot
        } else {
            EngineAt::NextSlot
        };
        out.fair("engine finds the generation after its own", next);
    }
}

fn base(mut next: State, label: &'static str, out: &mut Steps) {
    next.engine.at = EngineAt::Backfilled;
    out.fair(label, next);
}

/// The pin may stand in slot 0 (all frames backfilled while the engine was down), where a writer may
/// restart the WAL and overwrite what is still to be read. So the chain is not yet trusted: the copy
/// checks every frame, and what it finds decides.
fn catch_up(mut next: State, config: &Config, out: &mut Steps) {
    next.engine.trusted = config.makes(Mistake::CatchUpUnchecked);
    next.engine.at = EngineAt::Copy;
    out.fair("engine goes to catch up from its position", next);
}

/// The reads of the file that the proof needs, and the base image.
pub(crate) fn steps(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let e = &mut next.engine;
    let h = e.h;
    let crosses = h.salts != e.position.salts;
    let next_first = !config.makes(Mistake::LastSlotBeforeNext);
    match e.at {
        EngineAt::NextSlot => {
            if !proves_end(state, config) {
                base(next, "engine cannot prove that its generation ended", out);
            } else if next_first {
                e.at = EngineAt::LastSlot;
                out.fair("engine sees no continuation of its generation", next);
            } else {
                catch_up(next, config, out);
            }
        }
        EngineAt::LastSlot => {
            if !holds_last_frame(state, config) {
                base(next, "engine does not find its last frame", out);
            } else if crosses && !next_first {
                e.at = EngineAt::NextSlot;
                out.fair("engine finds its last frame", next);
            } else {
                catch_up(next, config, out);
            }
        }
        EngineAt::Backfilled => {
            if h == state.shm.header || config.makes(Mistake::HeaderNotReadAgain) {
                e.h_backfill = state.shm.backfill;
                e.at = EngineAt::Page0;
                out.fair("engine reads nBackfill", next);
            } else {
                e.h = Header::default();
                e.h_seq = 0;
                e.at = EngineAt::ReadHeader;
                out.fair("engine reads the header again", next);
            }
        }
        EngineAt::Page0 => {
            e.image[0] = state.files.pages[0];
            e.at = EngineAt::Page1;
            out.fair("engine copies page 0", next);
        }
        EngineAt::Page1 => {
            e.image[1] = state.files.pages[1];
            e.at = EngineAt::Overlay;
            out.fair("engine copies page 1", next);
        }
        EngineAt::Overlay => overlay(next, config, out),
        _ => {}
    }
}

/// The position after the last captured frame exists and holds nothing of that generation.
fn proves_end(state: &State, config: &Config) -> bool {
    if config.makes(Mistake::NextSlotUnchecked) {
        return true;
    }
    let old = state.engine.position.salts;
    let index = usize::from(state.engine.position.frame);
    match state
        .files
        .slots
        .get(index)
        .copied()
        .filter(|_| index < FRAMES)
    {
        // The bound of the model stands for the end of the file.
        None | Some(Slot::Absent) => config.makes(Mistake::NextSlotMayBeAbsent),
        Some(Slot::Junk) => true,
        Some(Slot::Spilled(salts) | Slot::Frame { salts, .. }) => salts != old,
    }
}

/// The last captured frame is where it was, with its checksum.
fn holds_last_frame(state: &State, config: &Config) -> bool {
    let p = state.engine.position;
    if config.makes(Mistake::LastSlotUnchecked) || p.frame == 0 {
        return true;
    }
    let last = Slot::Frame {
        salts: p.salts,
        boot: p.boot,
        seq: p.seq,
        part: frames_of(p.seq) - 1,
    };
    state.files.slots[usize::from(p.frame) - 1] == last
}

/// Lays the frames past `nBackfill` over the copied pages and makes the image durable.
fn overlay(mut next: State, config: &Config, out: &mut Steps) {
    let (h, seq) = (next.engine.h, next.engine.h_seq);
    let from = if config.makes(Mistake::OverlayFromFirstFrame) {
        0
    } else {
        next.engine.h_backfill
    };
    let mut image = next.engine.image;
    for slot in next
        .files
        .slots
        .iter()
        .take(usize::from(h.mx))
        .skip(usize::from(from))
    {
        match *slot {
            Slot::Frame {
                salts, seq, part, ..
            } if salts == h.salts => {
                image[page_of(seq, part)] = seq;
            }
            _ => next.fault = Fault::WrongFrames,
        }
    }
    // With the WAL-reset bug the database file itself is wrong: the image is faithful to that.
    if image != content_at(seq) && !config.reset_bug {
        next.fault = Fault::WrongImage;
    }
    next.diverged = false;
    next.engine.position = Position {
        salts: h.salts,
        frame: h.mx,
        seq,
        boot: next.boot,
    };
    next.engine.trusted = true;
    next.engine = next.engine.idle();
    out.fair("engine makes a base image durable", next);
}
