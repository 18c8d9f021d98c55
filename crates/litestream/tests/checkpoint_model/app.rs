//! Steps of the application: writer, reader, and the accidents that befall it and the machine.

use crate::config::Config;
use crate::search::Steps;
use crate::state::{
    Ckpt, Engine, FRAMES, Header, NONE, Owner, SLOTS, Slot, State, Writer, WriterAt, content_at,
    frames_of,
};

/// All steps that the application's writer and reader and the outside world can take.
pub(crate) fn steps(state: &State, config: &Config, out: &mut Steps) {
    writer(state, config, out);
    reader(state, config, out);
    if config.power_loss && state.boot == 0 {
        power_loss(state, config, out);
    }
    if config.reopen {
        reopen(state, config, out);
    }
}

/// Steps of the writer alone.
pub(crate) fn writer(state: &State, config: &Config, out: &mut Steps) {
    match state.writer.at {
        WriterAt::Idle => {
            if state.committed < config.transactions && state.locks.write == Owner::Nobody {
                let mut next = *state;
                if let Some(slot) = next.begin_read(false, config) {
                    next.locks.write = Owner::Writer;
                    next.writer.slot = slot;
                    next.writer.at = WriterAt::Locked;
                    out.new_work("writer begins and takes the write lock", next);
                }
            }
        }
        WriterAt::Locked => first_write(state, config, out),
        WriterAt::Restarting => {
            let mut next = *state;
            next.reset_marks();
            if let Some(slot) = next.begin_read(true, config) {
                next.writer.slot = slot;
                enter_writing(next, config, out);
            }
        }
        WriterAt::Writing => write_frame(state, config, out),
        WriterAt::Ready => commit(state, config, out),
        WriterAt::Release => {
            let mut next = *state;
            release_writer(&mut next);
            out.fair("writer lets go", next);
        }
    }
}

/// The first write of a transaction: restart the WAL, or leave slot 0, or just go on.
fn first_write(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    if state.writer.slot != 0 {
        enter_writing(next, config, out);
        return;
    }
    if state.shm.backfill > 0 && state.are_slots_free(config) {
        if let Some(salts) = next.next_generation(false, config) {
            if config.kill {
                let mut killed = *state;
                release_writer(&mut killed);
                killed.rebuild_index(config);
                out.new_work(
                    "writer is killed while it restarts the WAL; index rebuilt",
                    killed,
                );
            }
            next.shm.header = Header { salts, mx: 0 };
            next.locks.slots = Owner::Writer;
            next.writer.at = WriterAt::Restarting;
            out.fair("writer publishes a new generation", next);
        } else {
            release_writer(&mut next);
            out.fair("writer gives up (bound of the run)", next);
        }
        // Another connection that holds a slot exclusively for an instant makes the restart fail.
        next = *state;
    }
    if let Some(slot) = next.begin_read(true, config) {
        next.writer.slot = slot;
        enter_writing(next, config, out);
    }
}

/// The writer is about to write frames behind the published header.
fn enter_writing(mut next: State, config: &Config, out: &mut Steps) {
    next.writer.at = WriterAt::Writing;
    next.writer.written = 0;
    next.writer.salts = next.shm.header.salts;
    let needed = next.shm.header.mx + frames_of(next.committed + 1);
    if needed > config.frames {
        release_writer(&mut next);
        out.fair("writer gives up (bound of the run)", next);
        return;
    }
    if next.shm.header.mx == 0 && config.random_salts {
        let mut random = next;
        if let Some(salts) = random.next_generation(true, config) {
            random.writer.salts = salts;
            out.fair("writer enters the empty WAL with random salts", random);
        }
    }
    out.fair("writer keeps the salts of the header", next);
}

fn write_frame(state: &State, config: &Config, out: &mut Steps) {
    let seq = state.committed + 1;
    let at = usize::from(state.shm.header.mx + state.writer.written);
    let mut next = *state;
    if state.shm.header.mx == 0 && state.writer.written == 0 {
        next.files.wal_salts = Some(state.writer.salts);
    }
    if config.spill && state.writer.written == 0 {
        let mut spilled = next;
        spilled.files.slots[at] = Slot::Spilled(state.writer.salts);
        spilled.writer.at = WriterAt::Release;
        out.new_work("writer spills a frame and rolls back", spilled);
    }
    next.files.slots[at] = Slot::Frame {
        salts: state.writer.salts,
        boot: state.boot,
        seq,
        part: state.writer.written,
    };
    next.writer.written += 1;
    if next.writer.written == frames_of(seq) {
        next.writer.at = WriterAt::Ready;
    }
    out.fair("writer writes a frame", next);
}

fn commit(state: &State, config: &Config, out: &mut Steps) {
    let mut next = *state;
    let first = state.shm.header.mx == 0;
    next.shm.header = Header {
        salts: state.writer.salts,
        mx: state.shm.header.mx + state.writer.written,
    };
    next.committed += 1;
    if config.kill {
        let mut killed = next;
        release_writer(&mut killed);
        killed.rebuild_index(config);
        out.new_work(
            "writer is killed while it publishes a commit; index rebuilt",
            killed,
        );
    }
    next.writer.at = WriterAt::Release;
    if first && config.size_limit {
        for keep in usize::from(next.shm.header.mx)..FRAMES {
            let mut cut = next;
            cut.files.slots[keep..].fill(Slot::Absent);
            if cut.files.slots != next.files.slots {
                out.fair("writer commits and cuts the WAL file", cut);
            }
        }
    }
    out.fair("writer commits", next);
}

fn release_writer(next: &mut State) {
    next.locks.write = Owner::Nobody;
    next.writer = idle_writer();
}

fn idle_writer() -> Writer {
    Writer {
        at: WriterAt::Idle,
        slot: NONE,
        written: 0,
        salts: crate::state::Salts::default(),
    }
}

fn reader(state: &State, config: &Config, out: &mut Steps) {
    if !config.reader {
        return;
    }
    let mut next = *state;
    if state.reader != NONE {
        next.reader = NONE;
        out.fair("reader ends", next);
    } else if let Some(slot) = next.begin_read(false, config) {
        next.reader = slot;
        out.new_work("reader begins", next);
    }
}

/// Every process dies, any set of frames that no checkpoint has synced is lost, the index is rebuilt.
fn power_loss(state: &State, config: &Config, out: &mut Steps) {
    let base = if state
        .files
        .wal_salts
        .is_none_or(|salts| salts == state.shm.header.salts)
    {
        usize::from(state.shm.synced)
    } else {
        FRAMES // The file still holds the previous generation, all of it synced.
    };
    let end = usize::from(state.shm.header.mx);
    let losable = end.saturating_sub(base);
    let before = match state.files.slots[0] {
        Slot::Frame { seq, .. } if end > 0 => seq - 1,
        _ => state.committed,
    };
    for lost in 0_u8..1 << losable {
        let mut next = *state;
        next.locks = crate::state::Locks::default();
        next.writer = idle_writer();
        next.reader = NONE;
        next.ckpt = Ckpt::default();
        next.engine = Engine::down(state.engine.position);
        for bit in 0..losable {
            if lost >> bit & 1 == 1 {
                next.files.slots[base + bit] = Slot::Junk;
            }
        }
        next.shm.marks = [NONE; SLOTS];
        let (mx, seq) = next.valid_chain();
        next.committed = if base == FRAMES {
            state.committed
        } else {
            seq.unwrap_or(before)
        };
        next.rebuild_index(config);
        debug_assert_eq!(
            next.shm.header.mx, mx,
            "the chain does not depend on the index"
        );
        if mx == 0 {
            next.shm.marks[0] = 0;
        }
        next.boot = 1;
        next.diverged |=
            next.engine.position.frame != NONE && next.engine.position.seq > next.committed;
        out.new_work("power loss", next);
    }
}

/// The application's last connection closes while the engine is down, and opens again later.
fn reopen(state: &State, config: &Config, out: &mut Steps) {
    let quiet = state.engine.at == crate::state::EngineAt::Down
        && state.writer.at == WriterAt::Idle
        && state.reader == NONE
        && state.ckpt == Ckpt::default();
    if !quiet {
        return;
    }
    let mut next = *state;
    if let Some(salts) = next.next_generation(true, config) {
        next.files.pages = content_at(state.committed);
        next.files.slots = [Slot::Absent; FRAMES];
        next.files.wal_salts = None;
        next.shm.header = Header { salts, mx: 0 };
        next.reset_marks();
        out.new_work("last connection closes, WAL deleted", next);
    }
}
