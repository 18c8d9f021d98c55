//! One apply as one transaction on the copy, with `SQLite`'s own locks and rollback journal.
//!
//! Order: reserved lock (no other writer; readers go on); record of both states durable; journal of
//! the pages that change durable; exclusive lock (readers end); pages written and durable; journal
//! removed, which is the commit; locks let go; position durable. Stopped anywhere, even by a loss of
//! power, whoever opens the copy next finds the state before or after, and the record tells which.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ltx::{Checksum, PageSize, Pgno, Txid};

use super::batch::Batch;
use super::error::FollowError;
use super::file::CopyFile;
use super::journal::{self, Journal};
use super::page_one::{self, Fields};
use super::record::{Point, Record, Records};
use crate::capture::with_suffix;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{FileStep, Files, Ownership};

/// Pages gathered into one write: 1 MiB.
const WRITE_SIZE: usize = 1 << 20;

/// A copy on the disk.
#[derive(Debug, Clone)]
pub(super) struct LocalCopy {
    path: PathBuf,
    records: Records,
    files: Files,
    /// How long a lock is waited for.
    wait: Duration,
}

/// What the files beside a copy say of it.
enum Known {
    /// The record, and the position if there is one.
    Record(Record, Option<Txid>),
    /// The position alone.
    Position(Txid),
}

/// An apply on its way.
struct Change<'a> {
    copy: &'a LocalCopy,
    file: &'a CopyFile,
    batch: &'a mut Batch,
    next: Point,
    old_size: u64,
    old_page_size: PageSize,
    /// The new first page.
    first: Vec<u8>,
    /// Whether the copy may differ from what it was.
    is_touched: bool,
}

impl LocalCopy {
    pub(super) fn new(path: &Path, files: Files, wait: Duration) -> Self {
        Self {
            path: path.to_owned(),
            records: Records::of(path),
            files,
            wait,
        }
    }

    /// Where the copy is. Undoes an apply that was interrupted, and catches up with the files
    /// beside the copy.
    pub(super) fn settle(&self) -> Result<Txid> {
        match self.known()? {
            Known::Position(saved) => Ok(saved),
            Known::Record(..) => self.begin().map(|(_, point)| point.txid),
        }
    }

    /// What the files beside the copy say. A record that is not about the saved position is not
    /// used: v0.5.17 has gone on with the copy.
    fn known(&self) -> Result<Known> {
        let is_about = |record: &Record, saved| {
            record.now.txid == saved || record.next.is_some_and(|next| next.txid == saved)
        };
        match (self.records.position()?, self.records.record()?) {
            (Some(saved), Some(record)) if is_about(&record, saved) => {
                Ok(Known::Record(record, Some(saved)))
            }
            (Some(saved), _) => Ok(Known::Position(saved)),
            (None, Some(record)) => Ok(Known::Record(record, None)),
            (None, None) => Err(FollowError::NoPosition(self.path.clone()).into()),
        }
    }

    /// Takes the reserved lock and tells which state the copy is in.
    fn begin(&self) -> Result<(CopyFile, Point)> {
        let (record, saved) = match self.known()? {
            Known::Record(record, saved) => (record, saved),
            Known::Position(saved) => return self.adopt(saved),
        };
        let file = CopyFile::open(&self.path, self.wait)?;
        self.check_no_wal(&file)?;
        // Whatever journal is there, SQLite rolls back.
        file.run("lock copy", "BEGIN IMMEDIATE")
            .map_err(|error| match error.kind() {
                ErrorKind::Corrupt => self.written(&error.to_string()),
                _ => error,
            })?;
        let (fields, header) = self.fields(&file)?;
        if !fields.is_rollback {
            return Err(self.written("its journal mode was changed"));
        }
        let Some(point) = record.point(fields.counter) else {
            let (found, expected) = (fields.counter, record.next.unwrap_or(record.now).counter);
            return Err(self.written(&format!(
                "change counter expected {expected:#010x}, found {found:#010x}"
            )));
        };
        let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
        let (expected, found) = (
            u64::from(pages) * u64::from(fields.page_size.get()),
            file.size()?,
        );
        if expected != found {
            return Err(self.written(&format!("size expected {expected}, found {found}")));
        }
        if Some(point.txid) != saved {
            self.records.write_position(&self.files, point.txid)?;
        }
        Ok((file, point))
    }

    /// Takes over a copy that v0.5.17 kept: nothing but its position is known.
    fn adopt(&self, saved: Txid) -> Result<(CopyFile, Point)> {
        let file = CopyFile::open(&self.path, self.wait)?;
        self.check_no_wal(&file)?;
        if !self.fields(&file)?.0.is_rollback {
            file.run(
                "change journal mode of copy",
                "PRAGMA journal_mode = DELETE",
            )?;
        }
        // An empty transaction: SQLite corrects a size in the header that is not right.
        file.run("lock copy", "BEGIN IMMEDIATE")?;
        file.run("commit copy", "COMMIT")?;
        file.run("lock copy", "BEGIN IMMEDIATE")?;
        let fields = self.fields(&file)?.0;
        if !fields.is_rollback {
            return Err(self.written("its journal mode was changed"));
        }
        let now = Point {
            txid: saved,
            counter: fields.counter,
            original: None,
        };
        let record = Record { now, next: None };
        self.records.write_record(&self.files, &record)?;
        Ok((file, now))
    }

    fn fields(&self, file: &CopyFile) -> Result<(Fields, [u8; page_one::SIZE])> {
        let mut header = [0; page_one::SIZE];
        file.read(&mut header, 0)?;
        Ok((page_one::parse(&self.path, &header)?, header))
    }

    fn written(&self, detail: &str) -> Error {
        let (path, detail) = (self.path.clone(), detail.to_owned());
        FollowError::Written { path, detail }.into()
    }

    /// A WAL with content is the work of somebody else, and would hide what is applied.
    fn check_no_wal(&self, file: &CopyFile) -> Result<()> {
        let wal = with_suffix(file.real_path(), "-wal");
        match std::fs::metadata(&wal) {
            Ok(found) if found.len() > 0 => Err(self.written("it has a WAL with content")),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("stat", &wal, error))
            }
            _ => Ok(()),
        }
    }

    /// Makes `page` the first one of a new copy of `commit` pages, and writes the files beside it,
    /// all before the copy gets its name: a copy is never without its position.
    pub(super) fn found(&self, page: &mut [u8], commit: u32, txid: Txid) -> Result<()> {
        let original = page_one::original(page);
        let counter = page.get(24..28).and_then(|bytes| bytes.try_into().ok());
        let counter = page_one::next_counter(u32::from_be_bytes(counter.unwrap_or_default()));
        page_one::stamp(page, counter, commit);
        let now = Point {
            txid,
            counter,
            original: Some(original),
        };
        let record = Record { now, next: None };
        self.records.write_record(&self.files, &record)?;
        self.records.write_position(&self.files, txid)
    }

    /// Brings the copy to the end of the batch; the transaction it was at before.
    pub(super) fn apply(&self, batch: &mut Batch) -> Result<Txid> {
        let (file, from) = self.begin()?;
        let (to, oldest) = (batch.to, *batch.image.oldest());
        if from.txid >= to {
            // Another follower was faster.
            return Ok(from.txid);
        }
        if from.txid.next() < oldest.min_txid {
            return Err(Error::NonContiguous {
                have: from.txid,
                next: oldest.min_txid,
            });
        }
        let mut change = self.change(&file, batch, from)?;
        let next = Some(change.next);
        let record = Record { now: from, next };
        self.records.write_record(&self.files, &record)?;
        let journal = with_suffix(file.real_path(), "-journal");
        if let Err(error) = change.commit(&journal) {
            if !change.is_touched {
                // The copy is as it was, so the journal only stands in the way of readers.
                if let Err(error) = journal::remove(&journal, &self.files) {
                    tracing::debug!(path = %journal.display(), %error, "journal stays");
                }
            }
            drop(file);
            self.roll_back();
            return Err(error);
        }
        drop(file);
        self.records.write_position(&self.files, to)?;
        Ok(from.txid)
    }

    fn change<'a>(
        &'a self,
        file: &'a CopyFile,
        batch: &'a mut Batch,
        from: Point,
    ) -> Result<Change<'a>> {
        let fields = self.fields(file)?.0;
        let old_size = file.size()?;
        let (page_size, commit) = (batch.image.page_size(), batch.image.commit());
        let old_pages = (old_size / u64::from(fields.page_size.get())) as u32;
        let is_same_size = fields.page_size == page_size;
        batch
            .image
            .check_present(if is_same_size { old_pages + 1 } else { 1 })?;
        check_start(file, batch, from, fields.page_size, old_pages)?;
        let mut first = vec![0; page_size.bytes()];
        let original = if let Some(page) = batch.image.first_page() {
            first.copy_from_slice(page);
            Some(page_one::original(page))
        } else {
            file.read(&mut first, 0)?;
            from.original
        };
        let counter = page_one::next_counter(from.counter);
        page_one::stamp(&mut first, counter, commit);
        let next = Point {
            txid: batch.to,
            counter,
            original,
        };
        Ok(Change {
            copy: self,
            file,
            batch,
            next,
            old_size,
            old_page_size: fields.page_size,
            first,
            is_touched: false,
        })
    }

    /// Lets SQLite undo what an apply left, so that readers without permission to write need not.
    fn roll_back(&self) {
        let done = CopyFile::open(&self.path, self.wait)
            .and_then(|file| file.run("roll back copy", "BEGIN IMMEDIATE"));
        if let Err(error) = done {
            tracing::debug!(path = %self.path.display(), %error, "rolled back when opened next");
        }
    }
}

/// A file that says from which content it starts must start from that of the copy.
fn check_start(
    file: &CopyFile,
    batch: &Batch,
    from: Point,
    page_size: PageSize,
    pages: u32,
) -> Result<()> {
    let oldest = batch.image.oldest();
    let Some(original) = from
        .original
        .filter(|_| oldest.pre_apply != 0 && from.txid.checked_next() == Some(oldest.min_txid))
    else {
        return Ok(());
    };
    let mut sum = Checksum::EMPTY;
    let mut page = vec![0; page_size.bytes()];
    let lock = page_size.lock_page();
    for pgno in (1..=pages)
        .filter_map(Pgno::new)
        .filter(|pgno| *pgno != lock)
    {
        file.read(&mut page, page_size.offset_of(pgno))?;
        if pgno == Pgno::FIRST {
            page_one::unstamp(&mut page, &original);
        }
        sum = sum.toggle(Checksum::of_page(pgno, &page));
    }
    if sum.get() == oldest.pre_apply {
        return Ok(());
    }
    Err(FollowError::OtherHistory {
        range: oldest.range(),
        expected: oldest.pre_apply,
        found: sum.get(),
    }
    .into())
}

impl Change<'_> {
    fn commit(&mut self, journal: &Path) -> Result<()> {
        self.keep(journal)?;
        let copy = self.copy;
        if !self.file.lock_exclusive(copy.wait)? {
            return Err(FollowError::Held {
                path: copy.path.clone(),
                seconds: copy.wait.as_secs_f64(),
            }
            .into());
        }
        self.write()?;
        self.before(FileStep::SyncFile)?;
        self.file.sync()?;
        journal::remove(journal, &copy.files)
    }

    fn before(&self, step: FileStep) -> Result<()> {
        let path = &self.copy.path;
        let fail = |error| Error::io("write copy", path, error);
        self.copy.files.before(step, path).map_err(fail)
    }

    fn new_page(&self, pgno: Pgno, page: &mut [u8]) -> Result<()> {
        if pgno == Pgno::FIRST {
            page.copy_from_slice(&self.first);
            return Ok(());
        }
        self.batch.read(pgno, page)
    }

    /// Journals the pages that change, and leaves out those that do not.
    fn keep(&mut self, path: &Path) -> Result<()> {
        let page_size = self.old_page_size;
        let pages = (self.old_size / u64::from(page_size.get())) as u32;
        let mut journal = Journal::create(
            path.to_owned(),
            &self.copy.files,
            &Ownership::of_database(self.file.real_path())?,
            self.next.counter,
            page_size,
            pages,
        )?;
        let mut old = vec![0; page_size.bytes()];
        let mut gone = 1;
        if page_size == self.batch.image.page_size() {
            self.file.read(&mut old, 0)?;
            journal.keep(Pgno::FIRST, &old)?;
            self.keep_changed(&mut journal, &mut old, pages)?;
            gone = self.batch.image.commit() + 1;
        }
        let lock = page_size.lock_page();
        for pgno in (gone..=pages).filter_map(Pgno::new) {
            if pgno != lock {
                self.file.read(&mut old, page_size.offset_of(pgno))?;
                journal.keep(pgno, &old)?;
            }
        }
        journal.seal()
    }

    /// Compares the pages behind the first one.
    fn keep_changed(
        &mut self,
        journal: &mut Journal<'_>,
        old: &mut [u8],
        pages: u32,
    ) -> Result<()> {
        let page_size = self.old_page_size;
        let mut new = vec![0; page_size.bytes()];
        let mut from = 2;
        while let Some(pgno) = self.batch.image.next_page(from) {
            from = pgno.get() + 1;
            if pgno.get() > pages {
                break;
            }
            self.file.read(old, page_size.offset_of(pgno))?;
            self.batch.read(pgno, &mut new)?;
            if old == new.as_slice() {
                self.batch.image.leave_out(pgno);
            } else {
                journal.keep(pgno, old)?;
            }
        }
        Ok(())
    }

    /// Writes the pages in their order.
    fn write(&mut self) -> Result<()> {
        let page_size = self.batch.image.page_size();
        let mut page = vec![0; page_size.bytes()];
        let (mut run, mut start) = (Vec::with_capacity(WRITE_SIZE), 0);
        let mut next = Some(Pgno::FIRST);
        while let Some(pgno) = next {
            self.new_page(pgno, &mut page)?;
            let offset = page_size.offset_of(pgno);
            if start + run.len() as u64 != offset || run.len() + page.len() > WRITE_SIZE {
                self.flush(&mut run, start)?;
                start = offset;
            }
            run.extend_from_slice(&page);
            next = self.batch.image.next_page(pgno.get() + 1);
        }
        self.flush(&mut run, start)?;
        let size = u64::from(self.batch.image.commit()) * u64::from(page_size.get());
        if size < self.old_size {
            self.before(FileStep::Write)?;
            self.file.truncate(size)?;
        }
        Ok(())
    }

    fn flush(&mut self, run: &mut Vec<u8>, start: u64) -> Result<()> {
        if !run.is_empty() {
            self.before(FileStep::Write)?;
            self.is_touched = true;
            self.file.write(run, start)?;
            run.clear();
        }
        Ok(())
    }
}
