//! Merging files: for each page the newest version wins.
//!
//! The inputs form a heap by page number, so a page costs one step per input that holds it,
//! whatever the number of inputs. Every input is decoded and verified to its end, also the pages
//! that lose, and all are verified before the output is complete.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Write};

use crate::checksum::Checksum;
use crate::decoder::Decoder;
use crate::encoder::{Encoder, Written};
use crate::error::{Cause, Error, Result};
use crate::frame::Encoding;
use crate::header::{Header, HeaderFlags};
use crate::order::PageOrder;
use crate::page::Pgno;
use crate::trailer::check_post_apply;

/// Memory for the read buffers of all inputs together, as far as their least size allows.
const INPUT_BUFFERS: usize = 8 * 1024 * 1024;
const LARGEST_BUFFER: usize = 64 * 1024;

/// Several files of one database, ready to be merged.
///
/// The inputs are given oldest first. Their transactions must follow each other without a hole;
/// they may overlap, but each input must reach further than the one before.
///
/// # Cost
///
/// Each page of each input is decompressed once, and compressed not at all where the winning input
/// has an LZ4 block. Memory: the read buffers share 8 MiB, but each has at least 4 KiB, plus some
/// hundred bytes per input. A reader is dropped as soon as its file is verified.
pub struct Merge<R> {
    header: Header,
    inputs: Vec<Option<Decoder<R>>>,
    /// The next page of each input. The newest of equal pages comes out first.
    heads: BinaryHeap<Reverse<(Pgno, Reverse<usize>)>>,
    last_header: Header,
    /// Database checksum of the last input, known once it is verified.
    post_apply: u64,
    page: Vec<u8>,
    loser: Vec<u8>,
    scratch: Vec<u8>,
}

/// Takes a page of the result: number, LZ4 block if there is one, content.
type Emit<'a> = dyn FnMut(Pgno, Option<&[u8]>, &[u8]) -> Result<()> + 'a;

impl<R: Read> Merge<R> {
    /// Checks that the inputs can be merged and reads as far as their first pages.
    pub fn new(inputs: impl IntoIterator<Item = Decoder<R>>) -> Result<Self> {
        let mut inputs: Vec<_> = inputs.into_iter().collect();
        let (header, last_header) = merged_header(&inputs)?;
        let share = (INPUT_BUFFERS / inputs.len()).min(LARGEST_BUFFER);
        for input in &mut inputs {
            input.set_buffer_size(share);
        }
        let page = vec![0; header.page_size.bytes()];
        let mut merge = Self {
            header,
            heads: BinaryHeap::with_capacity(inputs.len()),
            inputs: inputs.into_iter().map(Some).collect(),
            last_header,
            post_apply: 0,
            loser: page.clone(),
            page,
            scratch: Vec::new(),
        };
        for input in 0..merge.inputs.len() {
            merge.advance(input)?;
        }
        Ok(merge)
    }

    /// The header of the result: pages and transactions from the first to the last input, commit
    /// size and timestamp of the last, no tracked checksums, no WAL range.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Writes the result as one file.
    ///
    /// # Errors
    ///
    /// Besides damaged inputs: if the first input is a snapshot and the result lacks pages, if the
    /// first input has a database checksum before it or the last one after it (the result cannot
    /// carry them on), or if the database ends up without pages, which a file without tracked
    /// checksums cannot say.
    pub fn encode<W: Write>(mut self, out: W) -> Result<(W, Written)> {
        let mut encoder = Encoder::new(out, self.header)?;
        let mut emit = |pgno: Pgno, block: Option<&[u8]>, page: &[u8]| match block {
            Some(block) => encoder.encode_compressed(pgno, block, page),
            None => encoder.encode_page(pgno, page),
        };
        while self.step(&mut emit)?.is_some() {}
        encoder.finish_with(self.post_apply)
    }

    /// Gives the pages of the result instead of a file, to build a database of them.
    pub fn pages(self) -> MergedPages<R> {
        let order = PageOrder::new(&self.header);
        let is_summed = self.header.is_snapshot() && self.last_header.flags.tracks_checksums();
        let sum = is_summed.then_some(Checksum::EMPTY);
        MergedPages {
            merge: self,
            order,
            sum,
            state: State::Reading,
        }
    }

    /// Decodes the next page into `self.page` and consumes it in all inputs; `None` at the end,
    /// when every input has been verified. `emit` gets every page that belongs into the result.
    fn step(&mut self, emit: &mut Emit<'_>) -> Result<Option<Pgno>> {
        while let Some(Reverse((pgno, Reverse(winner)))) = self.heads.pop() {
            let is_kept = pgno.get() <= self.header.commit;
            if let Some(Some(input)) = self.inputs.get_mut(winner) {
                let (encoding, payload) =
                    input.decompress_peeked(&mut self.page, &mut self.scratch)?;
                if is_kept {
                    emit(
                        pgno,
                        (encoding == Encoding::Block).then_some(payload),
                        &self.page,
                    )?;
                }
            }
            self.advance(winner)?;
            self.skip_older(pgno)?;
            if is_kept {
                return Ok(Some(pgno));
            }
        }
        Ok(None)
    }

    /// Decodes, for its checksum only, the page in the inputs that have an older version of it.
    fn skip_older(&mut self, pgno: Pgno) -> Result<()> {
        while let Some(&Reverse((next, Reverse(input)))) = self.heads.peek() {
            if next != pgno {
                break;
            }
            self.heads.pop();
            if let Some(Some(decoder)) = self.inputs.get_mut(input) {
                decoder.decompress_peeked(&mut self.loser, &mut self.scratch)?;
            }
            self.advance(input)?;
        }
        Ok(())
    }

    /// Moves an input to its next page, or verifies and drops it at its end.
    fn advance(&mut self, input: usize) -> Result<()> {
        let is_last = input + 1 == self.inputs.len();
        let Some(slot) = self.inputs.get_mut(input) else {
            return Ok(());
        };
        let Some(mut decoder) = slot.take() else {
            return Ok(());
        };
        if let Some(pgno) = decoder.peek()? {
            *slot = Some(decoder);
            self.heads.push(Reverse((pgno, Reverse(input))));
            return Ok(());
        }
        let verified = decoder.finish()?;
        if is_last {
            self.post_apply = verified.trailer.post_apply;
        }
        Ok(())
    }
}

impl<R> std::fmt::Debug for Merge<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge")
            .field("header", &self.header)
            .field("inputs", &self.inputs.len())
            .finish_non_exhaustive()
    }
}

/// Checks the rules between the inputs; gives the header of the result and that of the last input.
fn merged_header<R: Read>(inputs: &[Decoder<R>]) -> Result<(Header, Header)> {
    let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else {
        return Err(Cause::NoInput.into());
    };
    for (prior, next) in inputs.iter().zip(inputs.iter().skip(1)) {
        let sizes = (prior.header().page_size, next.header().page_size);
        if sizes.0 != sizes.1 {
            let cause = Cause::MismatchedPageSizes(sizes.0.get(), sizes.1.get());
            return Err(Error::from(cause).in_file(next.file()));
        }
        let ranges = (prior.header().range(), next.header().range());
        if !ranges.1.extends(&ranges.0) {
            return Err(Error::from(Cause::NonContiguous(ranges.0, ranges.1)).in_file(next.file()));
        }
    }
    let (first, last) = (first.header(), last.header());
    let header = Header {
        flags: HeaderFlags::NO_CHECKSUM,
        page_size: first.page_size,
        commit: last.commit,
        min_txid: first.min_txid,
        max_txid: last.max_txid,
        timestamp: last.timestamp,
        pre_apply: first.pre_apply,
        wal_offset: 0,
        wal_size: 0,
        wal_salt1: 0,
        wal_salt2: 0,
        node_id: 0,
    };
    Ok((header, *last))
}

/// Merges files, oldest first, into one. See [`Merge`].
pub fn merge<R: Read, W: Write>(
    inputs: impl IntoIterator<Item = Decoder<R>>,
    out: W,
) -> Result<Written> {
    Merge::new(inputs)?.encode(out).map(|(_, written)| written)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Done,
    Failed,
}

/// The pages of a merge in ascending order, without the lock page.
///
/// If the first input is a snapshot, these are all pages of the database; a database file is built
/// by writing each at [`PageSize::offset_of`](crate::PageSize::offset_of), zeros at the lock page,
/// and cutting to [`Header::commit`] pages.
pub struct MergedPages<R> {
    merge: Merge<R>,
    order: PageOrder,
    /// Sum of the pages so far, if the last input says what it has to be.
    sum: Option<Checksum>,
    state: State,
}

impl<R: Read> MergedPages<R> {
    /// The header a file of these pages would have.
    pub fn header(&self) -> &Header {
        self.merge.header()
    }

    /// The next page; `None` once all pages were given and every input was verified.
    ///
    /// The pages must not be trusted before `None` was returned. After an error every call fails.
    #[expect(
        clippy::should_implement_trait,
        reason = "the page is lent, an Iterator cannot do that"
    )]
    pub fn next(&mut self) -> Result<Option<(Pgno, &[u8])>> {
        match self.state {
            State::Reading => {}
            State::Done => return Ok(None),
            State::Failed => return Err(Cause::MergeFailed.into()),
        }
        self.state = State::Failed;
        let Some(found) = self.merge.step(&mut |_, _, _| Ok(()))? else {
            self.finish()?;
            self.state = State::Done;
            return Ok(None);
        };
        self.order.advance(found)?;
        if let Some(sum) = self.sum {
            self.sum = Some(sum.toggle(Checksum::of_page(found, &self.merge.page)));
        }
        self.state = State::Reading;
        Ok(Some((found, &self.merge.page)))
    }

    fn finish(&self) -> Result<()> {
        self.order.finish()?;
        let post_apply = self.merge.post_apply;
        check_post_apply(&self.merge.last_header, post_apply)?;
        match self.sum.map(Checksum::get) {
            Some(found) if found != post_apply => Err(Cause::PostApplyMismatch {
                expected: post_apply,
                found,
            }
            .into()),
            _ => Ok(()),
        }
    }
}

impl<R> std::fmt::Debug for MergedPages<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergedPages")
            .field("merge", &self.merge)
            .finish_non_exhaustive()
    }
}
