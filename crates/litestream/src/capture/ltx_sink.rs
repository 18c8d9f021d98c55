//! Writes captured transactions as level-0 LTX files in the meta directory.
//!
//! Invariant: the position is the newest file that is durable under its final name, and every file
//! holds all pages by which the database grew.
//!
//! Where continuity is lost, [`LtxSink::base`] decides how the history goes on: with the pages that
//! differ from the newest state, when their checksums are at hand, else with the whole database.

use std::io::Write;
use std::sync::Arc;

use ltx::{Encoder, Header, PageSize, Pgno, Timestamp, Txid};
use sqlite_wal::{Salts, WAL_HEADER_SIZE, frames_end};

use super::sink::{BaseImage, CommitBatch, Pages, Sink};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::files::Ownership;
use crate::local::LocalDir;
use crate::page_sums::{Head, PageSums, SumsWriter};

/// Database pages read at once for a base image: 1 MiB.
const READ_AHEAD: usize = 1 << 20;

/// What the newest level-0 file stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Its transaction.
    pub(crate) txid: Txid,
    /// Its file checksum.
    pub(crate) file_checksum: u64,
    /// Size of the database in pages.
    pub(crate) commit: u32,
    /// Time written in it.
    pub(crate) timestamp: Timestamp,
}

/// See the module.
pub(crate) struct LtxSink {
    local: LocalDir,
    ownership: Ownership,
    clock: Arc<dyn Clock>,
    position: Option<Position>,
    /// The next file's TXID is above this, whatever the position.
    floor: Option<Txid>,
    page: Vec<u8>,
    chunk: Vec<u8>,
    /// Bytes of the files written since this was last asked for.
    written: u64,
    /// The next base image must hold every page: it follows on another history.
    whole: bool,
    /// Page checksums of the state after the floor were read from a replica.
    has_read_floor: bool,
}

impl LtxSink {
    pub(crate) fn new(
        local: LocalDir,
        ownership: Ownership,
        clock: Arc<dyn Clock>,
        position: Option<Position>,
    ) -> Self {
        Self {
            local,
            ownership,
            clock,
            position,
            floor: None,
            page: Vec::new(),
            chunk: Vec::new(),
            written: 0,
            whole: false,
            has_read_floor: false,
        }
    }

    /// Bytes of the files written since the last call.
    pub(crate) fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    /// The next base image must hold every page, whatever is known of the state before.
    pub(crate) fn demand_whole(&mut self) {
        self.whole = true;
    }

    /// The page checksums in the meta directory may be of the floor's state.
    pub(crate) fn read_floor(&mut self) {
        self.has_read_floor = true;
    }

    /// The state whose page checksums would spare a base image the unchanged pages, if they are not
    /// at hand.
    pub(crate) fn lacks_sums(&self, page_size: PageSize) -> Option<Txid> {
        let before = self.newest()?;
        let is_local = self
            .position
            .is_some_and(|position| position.txid == before);
        (!self.whole && !self.local.has_sums(before, page_size, is_local)).then_some(before)
    }

    /// The transaction that the next one follows.
    fn newest(&self) -> Option<Txid> {
        self.position.map(|position| position.txid).max(self.floor)
    }

    /// Mode and owner of what is written.
    pub(crate) fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.position
    }

    /// Gives back the buffers.
    pub(crate) fn settle(&mut self) {
        self.page = Vec::new();
        self.chunk = Vec::new();
    }

    /// Makes the next TXID larger than `floor`: a replica holds transactions up to it.
    pub(crate) fn raise_floor(&mut self, floor: Txid) {
        self.floor = self.floor.max(Some(floor));
    }

    /// Writes a transaction that changes nothing: page 1 and one other, as they are. It covers no
    /// frame: what comes next follows on what came before.
    pub(crate) fn mark(&mut self, image: &BaseImage<'_>, other: Option<u32>) -> Result<()> {
        let page_size = image.pages.page_size();
        let range = WalRange {
            offset: frames_end(page_size.get(), image.frames),
            size: 0,
            salts: image.salts,
        };
        let header = self.header(page_size, image.commit, &range)?;
        let path = self.local.file(header.max_txid);
        let numbers = [
            Some(1),
            other.filter(|pgno| *pgno > 1 && *pgno <= image.commit),
        ];
        let encode = |encoder: &mut StagedEncoder, page: &mut Vec<u8>, _: &mut Vec<u8>| {
            page.resize(page_size.bytes(), 0);
            for pgno in numbers.into_iter().flatten().filter_map(Pgno::new) {
                if !image.pages.read_from_wal(pgno, page)? {
                    image.pages.read_from_database(pgno, page)?;
                }
                encoder
                    .encode_page(pgno, page)
                    .map_err(|error| Error::ltx("write", &path, error))?;
            }
            Ok(())
        };
        self.write(header, encode, || image.confirm())
    }

    fn next_txid(&self) -> Result<Txid> {
        match self.newest() {
            None => Ok(Txid::FIRST),
            Some(newest) => newest
                .get()
                .checked_add(1)
                .and_then(Txid::new)
                .ok_or_else(|| Error::Setting("transaction ids are used up".to_owned())),
        }
    }

    fn header(&self, page_size: PageSize, commit: u32, range: &WalRange) -> Result<Header> {
        let txid = self.next_txid()?;
        let now = self.clock.now();
        // Restores to a time rely on files whose times do not go back, even when the clock does.
        let timestamp = self
            .position
            .map_or(now, |position| now.max(position.timestamp));
        Ok(Header {
            wal_offset: range.offset,
            wal_size: range.size,
            wal_salt1: range.salts.salt1,
            wal_salt2: range.salts.salt2,
            ..Header::new(page_size, commit, ltx::TxidRange::single(txid), timestamp)
        })
    }

    /// Writes one file and makes it durable; only then the position moves.
    fn write(
        &mut self,
        header: Header,
        encode: impl FnOnce(&mut StagedEncoder, &mut Vec<u8>, &mut Vec<u8>) -> Result<()>,
        confirm: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let (mut encoder, mut page, mut chunk) = self.begin(header)?;
        encode(&mut encoder, &mut page, &mut chunk)?;
        self.page = page;
        self.chunk = chunk;
        self.end(header, encoder, confirm)
    }

    /// Starts a file; gives the buffers for its pages too.
    fn begin(&mut self, header: Header) -> Result<(StagedEncoder, Vec<u8>, Vec<u8>)> {
        let path = self.local.file(header.max_txid);
        let staged = self.local.stage(header.max_txid, &self.ownership)?;
        let encoder =
            Encoder::new(staged, header).map_err(|error| Error::ltx("write", &path, error))?;
        let buffers = (
            std::mem::take(&mut self.page),
            std::mem::take(&mut self.chunk),
        );
        Ok((encoder, buffers.0, buffers.1))
    }

    /// Ends a file that was begun, and makes it durable.
    fn end(
        &mut self,
        header: Header,
        encoder: StagedEncoder,
        confirm: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let path = self.local.file(header.max_txid);
        let (mut staged, written) = encoder
            .finish()
            .map_err(|error| Error::ltx("write", &path, error))?;
        staged
            .flush()
            .map_err(|error| Error::io("write", &path, error))?;
        confirm()?;
        staged.commit()?;
        self.written += written.size;
        self.position = Some(Position {
            txid: header.max_txid,
            file_checksum: written.trailer.file_checksum,
            commit: header.commit,
            timestamp: header.timestamp,
        });
        Ok(())
    }
}

type StagedEncoder = Encoder<crate::files::Staged>;

/// The part of the WAL that a file covers.
struct WalRange {
    offset: u64,
    size: u64,
    salts: Salts,
}

impl Sink for LtxSink {
    fn commit(&mut self, batch: &CommitBatch<'_>) -> Result<()> {
        let pages = &batch.pages;
        let page_size = pages.page_size();
        let range = WalRange {
            offset: batch.from.offset(),
            size: batch.to.offset() - batch.from.offset(),
            salts: batch.to.header.salts,
        };
        let header = self.header(page_size, batch.commit, &range)?;
        let path = self.local.file(header.max_txid);
        let before = self.position.map_or(0, |position| position.commit);
        let encode = |encoder: &mut StagedEncoder, page: &mut Vec<u8>, _: &mut Vec<u8>| {
            page.resize(page_size.bytes(), 0);
            let lock = page_size.lock_page();
            let mut grown = before.saturating_add(1)..=batch.commit;
            let mut put = |pgno: Pgno, page: &[u8]| {
                encoder
                    .encode_page(pgno, page)
                    .map_err(|error| Error::ltx("write", &path, error))
            };
            // Two ascending sequences merged: changed pages, and pages that are new to us although
            // the WAL does not have them.
            for pgno in pages.in_wal().filter(|pgno| *pgno != lock) {
                fill_growth(pages, &mut grown, Some(pgno), page, &mut put)?;
                pages.read_from_wal(pgno, page)?;
                put(pgno, page)?;
            }
            fill_growth(pages, &mut grown, None, page, &mut put)
        };
        self.write(header, encode, || batch.confirm())
    }

    fn restart(&mut self, _salts: Salts) {}

    fn base(&mut self, image: &BaseImage<'_>, reason: &str) -> Result<()> {
        let page_size = image.pages.page_size();
        let at_hand = self.newest().filter(|_| !self.whole).and_then(|before| {
            let is_floor = self.has_read_floor && self.floor == Some(before);
            let sums = self.local.sums(before, is_floor)?;
            (sums.head().page_size == page_size).then_some(sums)
        });
        match at_hand {
            Some(sums) => self.difference(image, sums, reason)?,
            None => self.image(image, reason)?,
        }
        self.whole = false;
        self.has_read_floor = false;
        Ok(())
    }
}

impl LtxSink {
    fn base_header(&self, image: &BaseImage<'_>) -> Result<Header> {
        let page_size = image.pages.page_size();
        let range = WalRange {
            offset: WAL_HEADER_SIZE,
            size: frames_end(page_size.get(), image.frames) - WAL_HEADER_SIZE,
            salts: image.salts,
        };
        self.header(page_size, image.commit, &range)
    }

    /// Writes the whole database, and the checksums of its pages on the way.
    fn image(&mut self, image: &BaseImage<'_>, reason: &str) -> Result<()> {
        let header = self.base_header(image)?;
        let path = self.local.file(header.max_txid);
        if self.newest().is_some() {
            tracing::info!(path = %path.display(), reason, "capturing the whole database");
        }
        tracing::debug!(txid = %header.max_txid, snap = true, reason, "sync");
        let mut sums = self.start_sums();
        let encode = |encoder: &mut StagedEncoder, page: &mut Vec<u8>, chunk: &mut Vec<u8>| {
            encode_image(&image.pages, image.commit, page, chunk, |pgno, page| {
                note(&mut sums, pgno, page);
                encoder
                    .encode_page(pgno, page)
                    .map_err(|error| Error::ltx("write", &path, error))
            })
        };
        self.write(header, encode, || image.confirm())?;
        self.finish_sums(sums, &header);
        Ok(())
    }

    /// Writes the pages that are not as they were in the state that the next file follows. Without
    /// any there is nothing to write, unless a transaction is asked for.
    fn difference(&mut self, image: &BaseImage<'_>, sums: PageSums, reason: &str) -> Result<()> {
        let header = self.base_header(image)?;
        let path = self.local.file(header.max_txid);
        let is_floor = self.position.map(|position| position.txid) != Some(sums.head().txid);
        let is_resized = sums.head().commit != image.commit;
        let mut sums = sums;
        let mut changed = 0_u64;
        let (mut encoder, mut page, mut chunk) = self.begin(header)?;
        encode_image(
            &image.pages,
            image.commit,
            &mut page,
            &mut chunk,
            |pgno, page| {
                if sums.holds(pgno, page)? {
                    return Ok(());
                }
                changed += 1;
                encoder
                    .encode_page(pgno, page)
                    .map_err(|error| Error::ltx("write", &path, error))
            },
        )?;
        if changed == 0 && !is_floor && !is_resized {
            image.confirm()?;
            tracing::info!(
                path = %image.pages.database_path().display(), txid = %sums.head().txid, reason,
                "every page is as it was captured"
            );
            return Ok(());
        }
        if changed == 0 {
            // A file has pages. The first one goes in whatever it holds.
            page.resize(header.page_size.bytes(), 0);
            let first = Pgno::new(1).ok_or_else(|| Error::Setting("page 1".to_owned()))?;
            if !image.pages.read_from_wal(first, &mut page)? {
                image.pages.read_from_database(first, &mut page)?;
            }
            encoder
                .encode_page(first, &page)
                .map_err(|error| Error::ltx("write", &path, error))?;
        }
        self.end(header, encoder, || image.confirm())?;
        self.page = page;
        self.chunk = chunk;
        tracing::info!(
            path = %path.display(), pages = changed.max(1), of = image.commit, reason,
            "capturing the pages that differ"
        );
        if is_floor {
            self.local.anchor(sums, header.max_txid);
        }
        Ok(())
    }

    /// Page checksums are an aid: what fails here costs a base image one day, and nothing else.
    fn start_sums(&self) -> Option<SumsWriter> {
        self.local
            .write_sums(&self.ownership)
            .inspect_err(|error| tracing::debug!(%error, "page checksums"))
            .ok()
            .flatten()
    }

    fn finish_sums(&self, sums: Option<SumsWriter>, header: &Header) {
        let head = Head {
            page_size: header.page_size,
            commit: header.commit,
            txid: header.max_txid,
            file_checksum: self.position.map_or(0, |position| position.file_checksum),
        };
        match sums.map(|sums| sums.finish(&head)) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "page checksums");
                self.local.drop_sums();
            }
            None => self.local.drop_sums(),
        }
    }
}

/// Notes the checksum of a page; the first failure ends it.
fn note(sums: &mut Option<SumsWriter>, pgno: Pgno, page: &[u8]) {
    if let Some(writer) = sums
        && let Err(error) = writer.set(pgno, page)
    {
        tracing::debug!(%error, "page checksums");
        *sums = None;
    }
}

/// Emits the new pages before `until` that the WAL does not hold, and passes over `until` itself.
fn fill_growth(
    pages: &Pages<'_>,
    grown: &mut std::ops::RangeInclusive<u32>,
    until: Option<Pgno>,
    page: &mut [u8],
    put: &mut impl FnMut(Pgno, &[u8]) -> Result<()>,
) -> Result<()> {
    let end = until.map_or(u32::MAX, Pgno::get);
    while !grown.is_empty() && *grown.start() <= end {
        let next = *grown.start();
        *grown = next.saturating_add(1)..=*grown.end();
        let Some(pgno) = Pgno::new(next) else {
            continue;
        };
        if Some(pgno) == until || pgno == pages.page_size().lock_page() {
            continue;
        }
        pages.read_from_database(pgno, page)?;
        put(pgno, page)?;
    }
    Ok(())
}

/// Emits every page of the database in order, without the lock page.
pub(crate) fn encode_image(
    pages: &Pages<'_>,
    commit: u32,
    page: &mut Vec<u8>,
    chunk: &mut Vec<u8>,
    mut put: impl FnMut(Pgno, &[u8]) -> Result<()>,
) -> Result<()> {
    let size = pages.page_size().bytes();
    page.resize(size, 0);
    let lock = pages.page_size().lock_page();
    let at_once = (READ_AHEAD / size).max(1) as u32;
    let mut first = 1;
    while first <= commit {
        let count = at_once.min(commit - first + 1);
        chunk.resize(count as usize * size, 0);
        let Some(start) = Pgno::new(first) else { break };
        pages.read_from_database(start, chunk)?;
        for (number, bytes) in (first..).zip(chunk.chunks_exact(size)) {
            let Some(pgno) = Pgno::new(number).filter(|pgno| *pgno != lock) else {
                continue;
            };
            if pages.read_from_wal(pgno, page)? {
                put(pgno, page)?;
            } else {
                put(pgno, bytes)?;
            }
        }
        first += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
