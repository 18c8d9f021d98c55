//! The pinned reader: one of two connections always holds a read transaction.
//!
//! Invariant: from [`Pin::open`] until the pin is dropped a read lock is held without a gap. While
//! it is held the WAL cannot be started anew before everything in it is in the database file, and
//! nothing behind the reader's mark gets into the database file. The pin moves forward by beginning
//! the second transaction before ending the first. For the time that a checkpoint of another process
//! keeps writers out, a lock on a slot without a mark may take the place of the transaction: it keeps
//! the WAL too, but not the database file. See `docs/checkpoint-protocol.md`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlite_wal::{READ_MARK_UNUSED, Salts, WalIndex};

use super::connection::Connection;
use super::locks::{Foreign, Locks, Near};
use crate::error::{Error, Result};

/// How often a torn wal-index is read again; a writer publishes within microseconds.
const PEEK_ATTEMPTS: u32 = 1000;

/// How often a reader is begun again because of a commit in the same instant.
const BEGIN_ATTEMPTS: u32 = 4;

/// A frame of a generation of the WAL.
type Mark = (Salts, u32);

/// See the module.
pub(crate) struct Pin {
    path: PathBuf,
    busy_timeout: Duration,
    held: Connection,
    /// What the held transaction is.
    current: Hold,
    /// The reader slot without a mark that the held connection has locked apart from a transaction.
    aside: Option<u8>,
    /// The second connection, opened when first needed.
    spare: Option<Connection>,
    /// What the transaction begun on the second connection is.
    next: Hold,
    /// Found when first asked for; valid because the held connection keeps the wal-index open.
    locks: Option<Locks>,
    /// Where the descriptors of the connections are.
    near: Near,
}

/// What a transaction means for the writers and checkpoints of the application.
#[derive(Debug, Clone, Copy, Default)]
struct Hold {
    /// It began when everything was in the database file, so that it keeps nobody from starting the
    /// WAL anew.
    at_rest: bool,
    /// Where it certainly stands: everything up to there was committed when it began. A checkpoint
    /// can copy so far, and no further, without waiting for it.
    mark: Option<Mark>,
    /// It is, or was when it began, the writing one.
    writes: bool,
}

impl Hold {
    /// What a reader is that began between two looks at the wal-index.
    fn between(before: &WalIndex, after: &WalIndex) -> Self {
        let same = before.header.salts == after.header.salts
            && before.header.max_frame == after.header.max_frame;
        // The same fully copied WAL on both sides of the beginning: the reader needs no frame.
        let at_rest = same && is_copied(before) && is_copied(after);
        // When all slots are taken a reader shares one that is behind.
        let frame = after.header.max_frame;
        let has_slot = at_rest || after.checkpoint.read_marks.contains(&frame);
        Self {
            at_rest,
            mark: (same && has_slot).then_some((after.header.salts, frame)),
            writes: false,
        }
    }
}

impl Pin {
    /// Opens the database and begins the first read transaction.
    pub(crate) fn open(path: &Path, busy_timeout: Duration) -> Result<Self> {
        let near = Near::new();
        let held = Connection::open(path, busy_timeout)?;
        held.ensure_wal_mode()?;
        // The first transaction maps the wal-index, which tells where the second one stands.
        held.begin_read()?;
        held.end();
        let mut pin = Self {
            path: path.to_owned(),
            busy_timeout,
            held,
            current: Hold::default(),
            aside: None,
            spare: None,
            next: Hold::default(),
            locks: None,
            near,
        };
        let before = pin.peek()?;
        pin.held.begin_read()?;
        pin.current = Hold::between(&before, &pin.peek()?);
        Ok(pin)
    }

    /// The connection whose transaction is held.
    pub(crate) fn connection(&self) -> &Connection {
        &self.held
    }

    /// Whether the read transaction, or what stands in for it, is still there; SQLite may have rolled
    /// it back after an error.
    pub(crate) fn is_held(&self) -> bool {
        self.held.in_transaction() || self.aside.is_some()
    }

    /// Whether a lock on a slot stands in for the read transaction.
    pub(crate) fn is_aside(&self) -> bool {
        self.aside.is_some() && !self.held.in_transaction()
    }

    /// Locks a slot that has no mark, besides the transaction, while a checkpoint of another process keeps
    /// writers out; `false` when none is to be had.
    ///
    /// Nobody can give the slot a mark while it is locked, so that the checkpoint passes it by. If readers
    /// have left their marks in all slots, one is taken away, as checkpoints themselves do; but only from a slot
    /// that the checkpoint, which goes from slot 1 upwards, has certainly not come to yet: it would
    /// go on to wait for it.
    pub(crate) fn lock_aside(&mut self) -> Result<bool> {
        if self.aside.is_some() {
            return Ok(true);
        }
        // A checkpoint never takes the mark of slot 1 away.
        for slot in (2..=4).rev() {
            if self.is_unmarked(slot)? && self.try_lock_aside(slot)? {
                if self.is_unmarked(slot)? {
                    return Ok(true);
                }
                // A reader came in between.
                self.unlock_aside();
            }
        }
        for slot in (2..=4).rev() {
            if self.is_ahead_of_checkpoint(slot)?
                && self.held.clear_mark(slot)?
                && self.try_lock_aside(slot)?
            {
                if self.is_unmarked(slot)? && self.is_ahead_of_checkpoint(slot)? {
                    return Ok(true);
                }
                self.unlock_aside();
            }
        }
        Ok(false)
    }

    fn try_lock_aside(&mut self, slot: u8) -> Result<bool> {
        let locked = self.held.lock_slot(slot)?;
        self.aside = locked.then_some(slot);
        Ok(locked)
    }

    fn is_unmarked(&self, slot: u8) -> Result<bool> {
        let marks = self.peek()?.checkpoint.read_marks;
        Ok(marks.get(usize::from(slot)) == Some(&READ_MARK_UNUSED))
    }

    /// Whether a slot before this one has a mark for which the checkpoint would wait: what it has passed
    /// has none, and as no writer comes in between it does not get one again.
    fn is_ahead_of_checkpoint(&self, slot: u8) -> Result<bool> {
        let index = self.peek()?;
        let mut before = index.checkpoint.read_marks.iter().take(slot.into()).skip(1);
        Ok(before.any(|mark| *mark < index.header.max_frame))
    }

    /// Ends all transactions: the lock taken by [`Self::lock_aside`] stands in for them until the next
    /// [`Self::hand_over`].
    pub(crate) fn move_aside(&mut self) {
        if self.aside.is_none() {
            return;
        }
        if let Some(spare) = &self.spare {
            spare.end();
        }
        self.held.end();
        (self.current, self.next) = (Hold::default(), Hold::default());
    }

    fn unlock_aside(&mut self) {
        if let Some(slot) = self.aside.take() {
            self.held.unlock_slot(slot);
        }
    }

    /// Whether the held reader lets writers start the WAL anew.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.current.at_rest
    }

    /// Where the held reader stands, if that is certain.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.current.mark
    }

    /// Where the reader begun by [`Self::begin_next`] stands, if there is one and that is certain.
    pub(crate) fn next_mark(&self) -> Option<Mark> {
        let begun = self.spare.as_ref().is_some_and(Connection::in_transaction);
        self.next.mark.filter(|_| begun)
    }

    /// Ends what was begun by [`Self::begin_next`]; the pin stays.
    pub(crate) fn give_up_next(&mut self) {
        if let Some(spare) = &self.spare {
            spare.end();
        }
        self.next = Hold::default();
    }

    /// What the wal-index says now. Costs no system call.
    pub(crate) fn peek(&self) -> Result<WalIndex> {
        for attempt in 0..PEEK_ATTEMPTS {
            let first = sqlite_wal::parse_wal_index(&self.held.wal_index_bytes()?);
            let again = sqlite_wal::parse_wal_index(&self.held.wal_index_bytes()?);
            // What is copied belongs to the header only if the header is the same before and after.
            if let (Some(first), Some(again)) = (first, again)
                && first.header == again.header
            {
                return Ok(first);
            }
            if attempt > 8 {
                std::thread::yield_now();
            }
        }
        Err(Error::WalIndex {
            path: self.path.clone(),
        })
    }

    /// What checkpoint another process runs now. Costs one or two system calls.
    pub(crate) fn foreign_checkpoint(&mut self) -> Foreign {
        let (path, near) = (&self.path, self.near);
        self.locks
            .get_or_insert_with(|| Locks::find(path, near))
            .checkpoint()
    }

    /// Fails if the WAL is not of this generation any more. A generation is replaced in the
    /// wal-index before its frames are overwritten.
    pub(crate) fn confirm(&self, salts: Salts, wal: &Path) -> Result<()> {
        if self.peek()?.header.salts == salts {
            return Ok(());
        }
        Err(Error::Replaced {
            what: "wal",
            path: wal.to_owned(),
        })
    }

    /// What the wal-index says if the pin stands there already, and would stand no better after
    /// [`Self::begin_next`]: a database that nobody writes to needs no second connection.
    pub(crate) fn at_newest(&self) -> Result<Option<WalIndex>> {
        let is_moving = self.spare.as_ref().is_some_and(Connection::in_transaction);
        if is_moving || self.aside.is_some() || !self.held.in_transaction() {
            return Ok(None);
        }
        let index = self.peek()?;
        let newest = (index.header.salts, index.header.max_frame);
        let stands =
            self.current.mark == Some(newest) && (self.current.at_rest || !is_copied(&index));
        Ok(stands.then_some(index))
    }

    /// Begins a transaction on the second connection unless it is begun already, and says what the
    /// wal-index holds after that.
    ///
    /// A commit in the instant of the beginning leaves it open what the reader's mark is; then it is begun
    /// again. Capture does not need the mark, but checkpoints of the application wait for it.
    pub(crate) fn begin_next(&mut self) -> Result<WalIndex> {
        if self.spare()?.in_transaction() {
            return self.peek();
        }
        for _ in 1..BEGIN_ATTEMPTS {
            let index = self.try_begin_next()?;
            if self.next.mark.is_some() {
                return Ok(index);
            }
            self.spare()?.end();
        }
        self.try_begin_next()
    }

    fn try_begin_next(&mut self) -> Result<WalIndex> {
        let before = self.peek()?;
        self.spare()?.begin_read()?;
        let after = self.peek()?;
        self.next = Hold::between(&before, &after);
        Ok(after)
    }

    /// Ends the older transaction; the one begun by [`Self::begin_next`] is the pin from here on.
    pub(crate) fn hand_over(&mut self) {
        match self.spare.take() {
            Some(next) if next.in_transaction() => {
                let old = std::mem::replace(&mut self.held, next);
                old.end();
                if let Some(slot) = self.aside.take() {
                    old.unlock_slot(slot);
                }
                self.spare = Some(old);
                self.current = std::mem::take(&mut self.next);
            }
            other => self.spare = other,
        }
    }

    /// The second connection, which is not the pin.
    pub(crate) fn spare(&mut self) -> Result<&Connection> {
        if self.spare.is_none() {
            self.spare = Some(Connection::open(&self.path, self.busy_timeout)?);
        }
        self.spare.as_ref().ok_or_else(|| Error::WalIndex {
            path: self.path.clone(),
        })
    }

    /// Closes the second connection when it is not needed for a while; saves its descriptors.
    pub(crate) fn drop_spare(&mut self) {
        if self
            .spare
            .as_ref()
            .is_some_and(|spare| !spare.in_transaction())
        {
            self.spare = None;
        }
    }

    /// Gives back what the held connection keeps in memory but does not need while nothing happens.
    pub(crate) fn shrink(&self) {
        if let Err(error) = self.held.shrink() {
            tracing::debug!(path = %self.path.display(), %error, "shrink connection");
        }
    }

    /// Whether the transaction begun by [`Self::begin_next`] lets writers start the WAL anew.
    pub(crate) fn next_is_at_rest(&self) -> bool {
        self.next.at_rest
    }

    /// Takes the write lock on the second connection, without waiting; its transaction is then the
    /// next pin.
    pub(crate) fn try_begin_write(&mut self) -> Result<bool> {
        let begun = self.spare()?.try_begin_write()?;
        self.next = Hold {
            writes: begun,
            ..Hold::default()
        };
        Ok(begun)
    }

    /// Whether the pin is the transaction with the write lock.
    pub(crate) fn holds_write(&self) -> bool {
        self.current.writes
    }

    /// Lets go of the write lock, if it is held, without losing the pin.
    ///
    /// While the pin itself is the writing transaction, a reader is begun on the other connection
    /// first; if that fails, the lock is let go of all the same and the pin is lost, which the next
    /// capture notices.
    pub(crate) fn end_write(&mut self) {
        if std::mem::take(&mut self.next.writes)
            && let Some(spare) = &self.spare
        {
            spare.end();
        }
        if !self.current.writes {
            return;
        }
        match self.begin_next() {
            Ok(_) => self.hand_over(),
            Err(error) => tracing::debug!(path = %self.path.display(), %error, "end write lock"),
        }
        if std::mem::take(&mut self.current.writes) {
            self.held.end();
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // SQLite counts locks for each process: closing the connection alone would leave it.
        self.unlock_aside();
    }
}

/// Whether all frames are in the database file.
pub(crate) fn is_copied(index: &WalIndex) -> bool {
    index.checkpoint.backfilled >= index.header.max_frame
}

#[cfg(test)]
mod tests;
