//! The model against the real `SQLite`: random schedules of whole operations, compared after each.
//!
//! The wal-index is read through one descriptor that lives as long as the connections: closing any
//! descriptor of it would drop the POSIX locks of the whole process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;

use crate::config::Config;
use crate::search::Steps;
use crate::state::{Ckpt, CkptAt, Mode, NONE, Owner, SLOTS, State, WriterAt, frames_of};
use crate::{app, ckpt};

const SCHEDULES: u64 = 300;
const OPERATIONS: usize = 40;

/// What the wal-index says.
#[derive(PartialEq, Eq, Debug)]
struct Observed {
    mx: u32,
    backfill: u32,
    marks: [u32; SLOTS],
}

/// How often the interesting things happened: a comparison that never saw them proves nothing.
#[derive(Default, Debug)]
struct Seen {
    restarts: u32,
    kept: u32,
    truncated: u32,
    truncated_again: u32,
    busy: u32,
    limited: u32,
    random_salts: u32,
    salts_kept: u32,
}

/// One real database with the connections of all actors, and the model beside it.
struct Pair {
    shm: File,
    engine: [Connection; 2],
    writer: Connection,
    reader: Connection,
    checkpointer: Connection,
    model: State,
    config: Config,
    salts: (u32, u32),
    _dir: tempfile::TempDir,
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("open");
    connection
        .execute_batch(
            "PRAGMA busy_timeout=0; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF;",
        )
        .expect("pragmas");
    connection
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("db");
        let checkpointer = open(&path);
        checkpointer
            .execute_batch(
                "PRAGMA journal_mode=WAL; CREATE TABLE a(v); CREATE TABLE b(v);
                 INSERT INTO a VALUES(0); INSERT INTO b VALUES(0); PRAGMA wal_checkpoint(TRUNCATE);",
            )
            .expect("schema");
        let shm = File::open(dir.path().join("db-shm")).expect("wal-index");
        let config = Config {
            slots: SLOTS as u8,
            frames: 4,
            generations: NONE,
            ..Config::steady()
        };
        let mut pair = Self {
            shm,
            engine: [open(&path), open(&path)],
            writer: open(&path),
            reader: open(&path),
            checkpointer,
            model: State::new(&config),
            config: Config {
                transactions: NONE,
                ..config
            },
            salts: (0, 0),
            _dir: dir,
        };
        pair.salts = pair.read_salts();
        pair
    }

    fn word(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.shm
            .read_exact_at(&mut bytes, offset)
            .expect("wal-index");
        u32::from_ne_bytes(bytes)
    }

    fn read_salts(&self) -> (u32, u32) {
        (u32::from_be(self.word(32)), u32::from_be(self.word(36)))
    }

    fn observed(&self) -> Observed {
        Observed {
            mx: self.word(16),
            backfill: self.word(96),
            marks: std::array::from_fn(|slot| self.word(104 + 4 * slot as u64)),
        }
    }

    fn expected(&self) -> Observed {
        let wide = |mark: u8| {
            if mark == NONE {
                u32::MAX
            } else {
                u32::from(mark)
            }
        };
        let shm = &self.model.shm;
        Observed {
            mx: u32::from(shm.header.mx),
            backfill: u32::from(shm.backfill),
            marks: shm.marks.map(wide),
        }
    }

    /// Takes the writer's steps until it is idle.
    fn run_writer(&mut self) {
        while self.model.writer.at != WriterAt::Idle {
            let mut out = Steps::default();
            app::writer(&self.model, &self.config, &mut out);
            self.model = out.alone().expect("nobody is in the way").0;
        }
    }

    /// Commits the open write transaction in both worlds and compares what became of the salts.
    fn commit(&mut self, seen: &mut Seen) {
        let seq = self.model.committed + 1;
        let before = self.model.shm.header;
        if self.model.shm.header.mx + frames_of(seq) > 4 && self.model.writer.slot != 0 {
            self.writer.execute_batch("ROLLBACK").expect("rollback");
            self.model.writer.at = WriterAt::Release;
            self.run_writer();
            return;
        }
        let change = match seq % 3 {
            1 => "UPDATE a SET v=v+1;",
            2 => "UPDATE b SET v=v+1;",
            _ => "UPDATE a SET v=v+1; UPDATE b SET v=v+1;",
        };
        self.run_writer();
        if self.model.committed != seq {
            // The transaction did not fit: slot 0, but a reader kept the WAL from being restarted.
            self.writer.execute_batch("ROLLBACK").expect("rollback");
            return;
        }
        self.writer
            .execute_batch(&format!("{change} COMMIT"))
            .expect("commit");
        let salts = self.read_salts();
        if before.mx == 0 {
            let counter = if salts == self.salts {
                &mut seen.salts_kept
            } else {
                &mut seen.random_salts
            };
            *counter += 1;
        } else if self.model.shm.header.salts == before.salts {
            assert_eq!(salts, self.salts, "appending keeps the salts");
            seen.kept += 1;
        } else {
            assert_eq!(
                salts.0,
                self.salts.0.wrapping_add(1),
                "a restart adds one to salt 1"
            );
            assert_ne!(salts.1, self.salts.1, "a restart draws salt 2");
            seen.restarts += 1;
        }
        self.salts = salts;
    }

    fn begin_write(&mut self) {
        let real = self.writer.execute_batch("BEGIN IMMEDIATE");
        real.expect("nobody else takes the write lock between operations");
        let mut next = self.model;
        next.writer.slot = next.begin_read(false, &self.config).expect("a slot");
        next.locks.write = Owner::Writer;
        next.writer.at = WriterAt::Locked;
        self.model = next;
    }

    /// Begins or ends a read transaction of one connection: engine 0, engine 1, reader 2.
    fn toggle(&mut self, who: usize) {
        let connection = self.engine.get(who).unwrap_or(&self.reader);
        let slot = match who {
            0 => self.model.engine.pin,
            1 => self.model.engine.other,
            _ => self.model.reader,
        };
        let next = if slot == NONE {
            connection
                .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
                .expect("begin");
            self.model.begin_read(false, &self.config).expect("a slot")
        } else {
            connection.execute_batch("COMMIT").expect("commit");
            NONE
        };
        match who {
            0 => self.model.engine.pin = next,
            1 => self.model.engine.other = next,
            _ => self.model.reader = next,
        }
    }

    /// A checkpoint of the given mode; both worlds must agree on all three results.
    fn checkpoint(&mut self, mode: Mode, seen: &mut Seen) {
        let name = format!("{mode:?}");
        let real: (i64, i64, i64) = self
            .checkpointer
            .query_row(&format!("PRAGMA wal_checkpoint({name})"), [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .expect("checkpoint");
        let before = self.model.shm;
        let at = if mode == Mode::Passive {
            CkptAt::Header
        } else {
            CkptAt::WriteLock
        };
        self.model.locks.ckpt = Owner::Checkpointer;
        self.model.ckpt = Ckpt {
            at,
            mode,
            ..Ckpt::default()
        };
        let mut busy = false;
        while self.model.ckpt.at != CkptAt::Idle {
            let incomplete = self.model.ckpt.at == CkptAt::Unlock
                && self.model.shm.backfill < self.model.ckpt.seen.mx
                && self.model.shm.header.salts == before.header.salts;
            busy |= incomplete;
            let mut out = Steps::default();
            ckpt::steps(&self.model, &self.config, &mut out);
            let (next, gave_up) = out.alone().expect("a checkpoint always goes on");
            busy |= gave_up;
            self.model = next;
        }
        busy &= mode != Mode::Passive;
        let shm = &self.model.shm;
        let expected = (
            i64::from(busy),
            i64::from(shm.header.mx),
            i64::from(shm.backfill),
        );
        assert_eq!(real, expected, "results of {name}");
        seen.busy += u32::from(busy);
        seen.limited += u32::from(shm.backfill < shm.header.mx);
        let salts = self.read_salts();
        if shm.header.salts == before.header.salts {
            assert_eq!(salts, self.salts, "{name} keeps the salts");
        } else {
            assert_eq!(
                salts.0,
                self.salts.0.wrapping_add(1),
                "TRUNCATE adds one to salt 1"
            );
            seen.truncated += 1;
            seen.truncated_again += u32::from(before.header.mx == 0);
        }
        self.salts = salts;
    }

    fn operate(&mut self, choice: u64, seen: &mut Seen) {
        let writing = self.model.writer.at != WriterAt::Idle;
        match choice % 12 {
            0..4 if writing => self.commit(seen),
            0..4 => self.begin_write(),
            4 => self.toggle(0),
            5 => self.toggle(1),
            6 => self.toggle(2),
            7 | 8 => self.checkpoint(Mode::Passive, seen),
            9 => self.checkpoint(Mode::Full, seen),
            10 => self.checkpoint(Mode::Restart, seen),
            _ => self.checkpoint(Mode::Truncate, seen),
        }
    }
}

/// A small generator, seeded by the schedule's number.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 33
}

#[test]
fn the_model_agrees_with_sqlite() {
    let mut seen = Seen::default();
    for schedule in 1..=SCHEDULES {
        let mut pair = Pair::new();
        assert_eq!(
            pair.observed(),
            pair.expected(),
            "schedule {schedule} at its start"
        );
        let mut randomness = schedule.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for operation in 0..OPERATIONS {
            pair.operate(random(&mut randomness), &mut seen);
            let place = format!("schedule {schedule}, operation {operation}");
            assert_eq!(
                pair.observed(),
                pair.expected(),
                "{place}: {:?}",
                pair.model
            );
        }
    }
    println!("{seen:?}");
    let counts = [
        seen.restarts,
        seen.kept,
        seen.truncated,
        seen.truncated_again,
        seen.busy,
        seen.limited,
        seen.random_salts,
        seen.salts_kept,
    ];
    assert!(
        counts.iter().all(|&count| count >= 5),
        "the schedules missed a case: {seen:?}"
    );
}
