//! `SQLite`'s rules for locks, reader slots, restarts and rebuilding the wal-index.
//!
//! Written from the behaviour of the library (and held against it by the conformance test). Taking a
//! free slot exclusively, storing its mark and letting go is one step here: meanwhile others can only
//! see "busy", and being refused is always possible in the model as an extra choice.

use crate::config::Config;
use crate::state::{
    Header, NO_HEADER_SALT, NONE, Owner, RANDOM_SALT_STEP, SLOTS, Salts, Slot, State, frames_of,
};

impl State {
    /// Somebody holds reader slot `slot` shared.
    pub(crate) fn is_shared(&self, slot: u8) -> bool {
        [
            self.writer.slot,
            self.reader,
            self.engine.pin,
            self.engine.other,
            self.engine.aside,
        ]
        .contains(&slot)
    }

    /// Slot `slot` (1..) could be locked exclusively.
    pub(crate) fn is_free(&self, slot: u8) -> bool {
        self.locks.slots == Owner::Nobody && !self.is_shared(slot)
    }

    /// Slots 1.. could all be locked exclusively.
    pub(crate) fn are_slots_free(&self, config: &Config) -> bool {
        (1..=config.slots).all(|slot| self.is_free(slot))
    }

    /// The part of starting to read that chooses a slot 1.. and its mark for the header copy `seen`.
    /// `None`: nothing to be had, start over.
    pub(crate) fn choose_slot(&mut self, seen: Header, config: &Config) -> Option<(u8, u8)> {
        let mut best: Option<(u8, u8)> = None;
        for slot in 1..=config.slots {
            let mark = self.shm.marks[usize::from(slot) - 1];
            if mark <= seen.mx && best.is_none_or(|(_, largest)| largest <= mark) {
                best = Some((slot, mark));
            }
        }
        if best.is_none_or(|(_, mark)| mark < seen.mx)
            && let Some(slot) = (1..=config.slots).find(|&slot| self.is_free(slot))
        {
            self.shm.marks[usize::from(slot) - 1] = seen.mx;
            best = Some((slot, seen.mx));
        }
        best
    }

    /// Starts a read transaction of the application in one step; returns its slot.
    pub(crate) fn begin_read(&mut self, past_slot0: bool, config: &Config) -> Option<u8> {
        let seen = self.shm.header;
        if !past_slot0 && self.shm.backfill == seen.mx && self.locks.slot0 == Owner::Nobody {
            return Some(0);
        }
        if self.locks.slots != Owner::Nobody {
            return None;
        }
        self.choose_slot(seen, config).map(|(slot, _)| slot)
    }

    /// A fresh generation by `SQLite`'s arithmetic, or `None` at the bound of the run.
    pub(crate) fn next_generation(&mut self, random: bool, config: &Config) -> Option<Salts> {
        if self.next_salt >= config.generations {
            return None;
        }
        let step = if random { RANDOM_SALT_STEP } else { 1 };
        let salts = Salts {
            one: self.shm.header.salts.one.wrapping_add(step),
            two: self.next_salt,
        };
        self.next_salt += 1;
        Some(salts)
    }

    /// Second half of a restart: the header is out, now `nBackfill` and the marks.
    pub(crate) fn reset_marks(&mut self) {
        self.shm.backfill = 0;
        self.shm.synced = 0;
        self.shm.marks = [NONE; SLOTS];
        self.shm.marks[0] = 0;
        self.locks.slots = Owner::Nobody;
    }

    /// Last frame and last transaction of the valid chain in the WAL file.
    pub(crate) fn valid_chain(&self) -> (u8, Option<u8>) {
        let mut end = (0, None);
        let mut expected: Option<(u8, u8)> = None;
        for (index, slot) in self.files.slots.iter().enumerate() {
            let Slot::Frame {
                salts,
                boot,
                seq,
                part,
            } = *slot
            else {
                break;
            };
            let continues = match expected {
                None => part == 0,
                Some(next) => next == (seq, part),
            };
            // A frame of an earlier boot behind one of this boot has a broken checksum chain.
            let torn = index > 0
                && matches!(self.files.slots[index - 1], Slot::Frame { boot: before, .. } if before > boot);
            if Some(salts) != self.files.wal_salts || !continues || torn || seq > self.committed {
                break;
            }
            if part + 1 == frames_of(seq) {
                end = (index as u8 + 1, Some(seq));
                expected = Some((seq + 1, 0));
            } else {
                expected = Some((seq, part + 1));
            }
        }
        end
    }

    /// Rebuilds the wal-index from the WAL file; slots in use keep their marks.
    pub(crate) fn rebuild_index(&mut self, config: &Config) {
        let (mx, _) = self.valid_chain();
        // `SQLite` puts zero salts in place of those of a missing header. That they may come twice is
        // not modelled; a checksum chain that starts at the position tells such twins apart.
        let salts = self.files.wal_salts.unwrap_or_else(|| {
            self.next_salt += 1;
            Salts {
                one: NO_HEADER_SALT,
                two: self.next_salt - 1,
            }
        });
        self.shm.header = Header { salts, mx };
        self.shm.backfill = 0;
        self.shm.synced = mx;
        for slot in 1..=config.slots {
            if self.is_free(slot) {
                self.shm.marks[usize::from(slot) - 1] = if slot == 1 && mx > 0 { mx } else { NONE };
            }
        }
    }

    /// Frames `from..to` all carry `salts`: all that a reader of the file can check.
    pub(crate) fn is_of_generation(&self, salts: Salts, from: u8, to: u8) -> bool {
        self.files.slots[usize::from(from)..usize::from(to)]
            .iter()
            .all(|slot| matches!(*slot, Slot::Frame { salts: of, .. } if of == salts))
    }

    /// Transactions in frames `from..to` of the generation `salts`, which must follow `seq` without a
    /// hole; returns the last one.
    pub(crate) fn read_transactions(&self, salts: Salts, from: u8, to: u8, seq: u8) -> Option<u8> {
        let (mut done, mut parts) = (seq, 0);
        if from > to {
            return None;
        }
        for slot in &self.files.slots[usize::from(from)..usize::from(to)] {
            let Slot::Frame {
                salts: of,
                seq,
                part,
                ..
            } = *slot
            else {
                return None;
            };
            if of != salts || seq != done + 1 || part != parts {
                return None;
            }
            parts += 1;
            if parts == frames_of(seq) {
                (done, parts) = (seq, 0);
            }
        }
        (parts == 0).then_some(done)
    }
}
