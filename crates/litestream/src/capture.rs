//! Follows one live database: committed frames of its WAL become level-0 LTX files.
//!
//! Owns the connections to the database, the pinned reader, the position in the WAL and the sinks.
//! Everything here is synchronous and belongs to one caller at a time; `database` schedules it.
//!
//! Invariant: a committed frame is in a durable level-0 file, or it is in the valid part of the WAL
//! behind the position and the pinned reader keeps it there.

mod aside;
mod base;
mod checkpoint;
mod connection;
mod frozen;
mod locks;
mod ltx_sink;
mod pin;
mod record;
mod recovery;
pub(crate) mod shared;
mod sink;
mod start;

pub(crate) use self::start::with_suffix;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ltx::{PageSize, Txid};
use sqlite_wal::{Cursor, PageMap, WalHeader, WalIndex};

pub(crate) use self::checkpoint::{Effort, Report};
pub use self::connection::{CheckpointMode, CheckpointResult};
pub(crate) use self::frozen::Frozen;
pub(crate) use self::locks::Foreign;
use self::ltx_sink::LtxSink;
pub(crate) use self::ltx_sink::encode_image;
pub(crate) use self::pin::{Pin, is_copied};
pub(crate) use self::record::FileStamp;
use self::record::Record;
use self::recovery::Tail;
pub use self::sink::{BaseImage, CommitBatch, Pages, Sink};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::files::FileStep;
use crate::local::{DirectoryLock, LocalDir};

/// What capture needs to know of the settings.
#[derive(Debug, Clone)]
pub(crate) struct CaptureSettings {
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    pub(crate) max_wal_bytes: u64,
}

/// What a file that continues a lost history has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What differs from the state it follows, when that is known.
    Difference,
    /// Every page: the state it follows is of another history.
    Whole,
}

/// What one step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// A level-0 file was written.
    pub(crate) wrote: bool,
    /// Bytes of WAL that went into it.
    pub(crate) wal_bytes: u64,
    /// More is waiting than one file may hold.
    pub(crate) limited: bool,
}

/// See the module.
pub(crate) struct Capture {
    settings: CaptureSettings,
    wal_path: PathBuf,
    local: LocalDir,
    clock: Arc<dyn Clock>,
    pin: Pin,
    database: FileStamp,
    wal: Option<FileStamp>,
    page_size: PageSize,
    tail: Tail,
    ltx: LtxSink,
    boot: u64,
    /// Why the next file must be a base image.
    rebase: Option<&'static str>,
    map: PageMap,
    buffer: Vec<u8>,
    /// When writers that a brake had kept waiting for as long as it may were let go.
    let_go: Option<std::time::Instant>,
    /// Kept for as long as the database is open.
    pub(crate) place: Option<crate::database::Place>,
    /// Keeps other processes from replicating the same database; let go of last.
    _lock: DirectoryLock,
}

impl Capture {
    /// Transaction of the newest durable level-0 file.
    pub(crate) fn position(&self) -> Option<Txid> {
        self.ltx.position().map(|position| position.txid)
    }

    /// End of what is captured, as an offset in the WAL in bytes.
    pub(crate) fn wal_offset(&self) -> u64 {
        let frames = match self.tail {
            Tail::Fresh => 0,
            Tail::At(cursor) => cursor.frame,
        };
        sqlite_wal::frames_end(self.page_size.get(), frames)
    }

    /// Size of the database file in bytes.
    pub(crate) fn database_size(&self) -> Result<u64> {
        self.pin.connection().database_size()
    }

    /// Whether something is committed that is not captured. Costs no system call.
    pub(crate) fn has_news(&self) -> Result<bool> {
        Ok(self.rebase.is_some() || self.is_behind(&self.pin.peek()?))
    }

    /// Bytes of the WAL that are committed and not captured; a base image that is asked for counts as
    /// one. Costs no system call.
    pub(crate) fn news(&self) -> Result<u64> {
        let index = self.pin.peek()?;
        let captured = self.tail.frames_of(index.header.salts);
        let frames = u64::from(index.header.max_frame.saturating_sub(captured));
        let frame = u64::from(self.page_size.get()) + sqlite_wal::FRAME_HEADER_SIZE;
        Ok((frames * frame).max(u64::from(self.rebase.is_some())))
    }

    fn is_behind(&self, index: &WalIndex) -> bool {
        index.header.max_frame > self.tail.frames_of(index.header.salts)
    }

    /// The next file will have a TXID above `floor` and stand on nothing that was captured before.
    pub(crate) fn demand_base(
        &mut self,
        reason: &'static str,
        floor: Option<Txid>,
        extent: Extent,
    ) {
        self.rebase = Some(reason);
        if let Some(floor) = floor {
            self.ltx.raise_floor(floor);
        }
        if extent == Extent::Whole {
            self.ltx.demand_whole();
        }
    }

    /// The state whose page checksums would spare the next file the unchanged pages, if they are
    /// not at hand.
    pub(crate) fn lacks_sums(&self) -> Option<Txid> {
        self.rebase?;
        self.ltx.lacks_sums(self.page_size)
    }

    /// Page checksums of the state that the next file follows have been read from a replica.
    pub(crate) fn has_read_sums(&mut self) {
        self.ltx.read_floor();
    }

    /// Bytes of level-0 files written since the last call.
    pub(crate) fn take_written(&mut self) -> u64 {
        self.ltx.take_written()
    }

    /// Captures up to one file's worth, and moves the pinned reader forward once nothing that it
    /// kept in place is missing.
    pub(crate) fn step(&mut self) -> Result<Step> {
        self.step_within(self.settings.max_wal_bytes)
    }

    /// As [`Self::step`], with a file's worth of so many bytes of WAL; 0 means no limit.
    fn step_within(&mut self, most: u64) -> Result<Step> {
        self.check_identity()?;
        if let Some(step) = self.step_aside(most)? {
            if step.wrote {
                self.write_record();
            }
            return Ok(step);
        }
        let index = match self.pin.at_newest()? {
            Some(index) => index,
            None => self.pin.begin_next()?,
        };
        let was_lost = self.rebase.is_some();
        let step = if let Some(reason) = self.rebase {
            Step {
                wrote: self.take_base(&index, reason)?,
                wal_bytes: 0,
                limited: false,
            }
        } else {
            self.capture_frames(&index, most)?
        };
        let may_move = !self.is_behind(&index) || self.has_passed_next();
        if may_move && self.rebase.is_none() {
            self.pin.hand_over();
        }
        if step.wrote || was_lost {
            self.write_record();
        }
        Ok(step)
    }

    /// Whether the next pin, which began while more was committed than one file holds, stands at or before
    /// the position by now: then it keeps all that is not captured, and lets nothing of it be copied.
    fn has_passed_next(&self) -> bool {
        let next = self.pin.next_mark();
        next.is_some_and(|(salts, frame)| frame > 0 && self.tail.frames_of(salts) >= frame)
    }

    /// Where in the generation in force capture goes on; `None` when there is nothing to read.
    ///
    /// The position itself stays where it is until a frame of a new generation is captured: SQLite
    /// may bring the old one back if an application dies while it starts the new one.
    fn next_cursor(&mut self, index: &WalIndex) -> Result<Option<Cursor>> {
        let header = &index.header;
        if let Tail::At(cursor) = self.tail
            && cursor.header.salts == header.salts
        {
            if header.max_frame < cursor.frame {
                self.rebase = Some("wal truncated by another process");
            }
            return Ok((header.max_frame > cursor.frame).then_some(cursor));
        }
        if header.max_frame == 0 {
            return Ok(None);
        }
        let wal = self.open_wal()?;
        let found = WalHeader::read(&wal).map_err(|error| Error::wal(&self.wal_path, error))?;
        let fits = found
            .filter(|found| found.salts == header.salts && found.page_size == self.page_size.get());
        if fits.is_none() {
            self.rebase = Some("wal header does not fit the wal-index");
        }
        Ok(fits.map(Cursor::start))
    }

    fn capture_frames(&mut self, index: &WalIndex, most: u64) -> Result<Step> {
        let Some(cursor) = self.next_cursor(index)? else {
            return Ok(Step::default());
        };
        let limit = index.header.max_frame;
        let wal = self.open_wal()?;
        let batch =
            sqlite_wal::read_batch(&wal, cursor, limit, most, &mut self.map, &mut self.buffer)
                .map_err(|error| Error::wal(&self.wal_path, error))?;
        if batch.is_empty() || (!batch.limited && batch.to.frame != limit) {
            // The wal-index promises frames that the file does not have: not our history any more.
            self.rebase = Some("wal does not hold what the wal-index promises");
            return Ok(Step::default());
        }
        let restarted = self.tail.frames_of(index.header.salts) == 0;
        let confirm = || self.pin.confirm(index.header.salts, &self.wal_path);
        let commit = CommitBatch {
            from: batch.from,
            to: batch.to,
            commit: batch.commit,
            pages: Pages {
                page_size: self.page_size,
                map: &self.map,
                wal: Some((&wal, &self.wal_path)),
                batch: Some((&batch, &self.buffer)),
                database: self.pin.connection(),
                database_path: &self.settings.path,
            },
            confirm: &confirm,
        };
        if restarted {
            self.ltx.restart(index.header.salts);
        }
        self.ltx.commit(&commit)?;
        self.tail = Tail::At(batch.to);
        Ok(Step {
            wrote: true,
            wal_bytes: batch.to.offset() - batch.from.offset(),
            limited: batch.to.frame < limit,
        })
    }

    fn open_wal(&self) -> Result<File> {
        File::open(&self.wal_path).map_err(|error| Error::io("open", &self.wal_path, error))
    }

    /// The paths must still lead to the files that were opened.
    fn check_identity(&mut self) -> Result<()> {
        let path = &self.settings.path;
        let replaced = |what, path: &Path| Error::Replaced {
            what,
            path: path.to_owned(),
        };
        match FileStamp::of(path)? {
            Some(now) if now.is_same_file(&self.database) => {}
            _ => return Err(replaced("database", path)),
        }
        match (FileStamp::of(&self.wal_path)?, &self.wal) {
            (Some(now), Some(before)) if now.is_same_file(before) => {}
            (Some(now), None) => self.wal = Some(now),
            _ => return Err(replaced("wal", &self.wal_path)),
        }
        if self.pin.is_held() {
            Ok(())
        } else {
            Err(replaced("read transaction on database", path))
        }
    }

    /// Replaces the capture record; failing to only costs proof at the next start.
    pub(crate) fn write_record(&self) {
        if let Err(error) = self.try_write_record() {
            tracing::debug!(path = %self.settings.path.display(), %error, "capture record");
        }
    }

    fn try_write_record(&self) -> Result<()> {
        match self.describe()? {
            Some(record) => {
                // A record tells the next process that they are.
                self.local.sync_folders()?;
                let path = self.local.record();
                let files = self.local.files();
                files
                    .before(FileStep::Write, &path)
                    .map_err(|error| Error::io("write", &path, error))?;
                record.write(&path, self.ltx.ownership())
            }
            None => Ok(()),
        }
    }

    /// Whether a record written now would prove that nothing was missed, if nothing happens from here
    /// on but the start of another generation of the WAL.
    pub(crate) fn is_provable(&self) -> Result<bool> {
        let record = self.describe()?;
        Ok(record.is_some_and(|record| record.proves_untouched(&record.database)))
    }

    fn describe(&self) -> Result<Option<Record>> {
        let Some(position) = self.ltx.position() else {
            return Ok(None);
        };
        if self.rebase.is_some() {
            return Ok(None);
        }
        let Some(database) = FileStamp::of(&self.settings.path)? else {
            return Ok(None);
        };
        let index = self.pin.peek()?;
        let (salts, frame, checksum) = match self.tail {
            Tail::At(cursor) => (cursor.header.salts, cursor.frame, cursor.checksum),
            Tail::Fresh => (
                index.header.salts,
                0,
                sqlite_wal::RunningChecksum { s0: 0, s1: 0 },
            ),
        };
        Ok(Some(Record {
            txid: position.txid,
            file_checksum: position.file_checksum,
            salts,
            frame,
            checksum,
            // All that is captured is in the database file, and nothing else: a generation ends only
            // when all of it is copied, so of the next one nothing may be.
            copied: index.checkpoint.backfilled == self.tail.frames_of(index.header.salts),
            database,
            written: i128::from(self.clock.now().as_millis()) * 1_000_000,
            boot: self.boot,
        }))
    }

    /// Whether the next step writes a base image.
    pub(crate) fn needs_base(&self) -> bool {
        self.rebase.is_some()
    }

    /// The WAL file.
    pub(crate) fn wal_path(&self) -> &Path {
        &self.wal_path
    }

    /// Frames in the generation in force.
    pub(crate) fn frames(&self) -> Result<u32> {
        Ok(self.pin.peek()?.header.max_frame)
    }

    /// Whether frames wait to be copied into the database file.
    pub(crate) fn has_uncopied(&self) -> Result<bool> {
        Ok(!is_copied(&self.pin.peek()?))
    }

    /// Whether the pin keeps checkpoints waiting although everything is captured: it began before all
    /// was copied, or it stands behind what is captured. Costs no system call.
    pub(crate) fn is_in_the_way(&self) -> Result<bool> {
        let index = self.pin.peek()?;
        let newest = (index.header.salts, index.header.max_frame);
        Ok(index.header.max_frame > 0
            && !self.is_behind(&index)
            && !(self.pin.is_at_rest() && is_copied(&index))
            && (is_copied(&index) || self.pin.mark() != Some(newest)))
    }

    /// What checkpoint another process runs, and the newest frame at that time.
    pub(crate) fn foreign_checkpoint(&mut self) -> Result<(Foreign, (u32, u32))> {
        let header = self.pin.peek()?.header;
        let newest = (header.salts.salt1, header.max_frame);
        Ok((self.pin.foreign_checkpoint(), newest))
    }

    /// Gets the pinned reader out of the way of writers that could start the WAL anew.
    pub(crate) fn rest(&mut self) -> Result<()> {
        self.try_rest(&mut Report::default()).map(drop)
    }

    /// Gives back the memory and the connection that only a busy database needs.
    pub(crate) fn settle(&mut self) {
        self.pin.drop_spare();
        self.pin.shrink();
        self.map = PageMap::new();
        self.buffer = Vec::new();
        self.ltx.settle();
    }
}
