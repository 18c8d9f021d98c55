//! Where reading of a WAL stopped, with all that is needed to go on from there.
//!
//! Invariant: `checksum` is the running checksum after `frame` in the generation of `header.salts`. A
//! cursor says nothing about what the file holds now; [`continues`] and the reader find out.

use crate::checksum::RunningChecksum;
use crate::error::Result;
use crate::header::WalHeader;
use crate::layout::frames_end;
use crate::probe::probe_frame;
use crate::reader::WalReader;
use crate::salts::Salts;
use crate::source::ReadAt;

/// Where reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The header that the frames belong to.
    pub header: WalHeader,
    /// The last frame consumed, 0 when none was.
    pub frame: u32,
    /// Running checksum after that frame.
    pub checksum: RunningChecksum,
}

impl Cursor {
    /// The cursor in front of the first frame.
    pub fn start(header: WalHeader) -> Self {
        Self {
            header,
            frame: 0,
            checksum: header.checksum,
        }
    }

    /// The cursor behind `frame` of the generation `salts`, known from elsewhere (an LTX header).
    ///
    /// The checksum stored in `frame` is taken over unverified. `header` is what the file begins with
    /// now and may be of a later generation: byte order and page size are taken from it, and the salts
    /// of the result are `salts`. Its `checkpoint_seq` and `checksum` then mean nothing.
    ///
    /// `None` when `frame` is not there or carries other salts: it has been overwritten or cut off.
    /// Frame 0 is the start of the file, so it needs the salts of `header`.
    ///
    /// # Errors
    /// As [`probe_frame`].
    pub fn resume<S: ReadAt + ?Sized>(
        source: &S,
        header: WalHeader,
        salts: Salts,
        frame: u32,
    ) -> Result<Option<Self>> {
        if frame == 0 {
            return Ok((header.salts == salts).then(|| Self::start(header)));
        }
        let found = probe_frame(source, header.page_size, frame)?;
        Ok(found
            .filter(|found| found.salts == salts)
            .map(|found| Self {
                header: WalHeader { salts, ..header },
                frame,
                checksum: found.checksum,
            }))
    }

    /// Offset in bytes behind the last frame consumed.
    pub fn offset(&self) -> u64 {
        frames_end(self.header.page_size, self.frame)
    }
}

/// Whether the frame behind the cursor is a valid continuation of the cursor's generation, by salts
/// and running checksum, whatever the header at offset 0 says now.
///
/// This is the proof that frames were written after the cursor that have not been read, or, when it
/// is `false`, that the frame there now does not belong to them. It looks at one frame: cost is one read.
///
/// # Errors
/// [`crate::Error::Read`], and [`crate::Error::PageSize`] for a header that was not parsed.
pub fn continues<S: ReadAt + ?Sized>(source: &S, cursor: Cursor) -> Result<bool> {
    let Some(next) = cursor.frame.checked_add(1) else {
        return Ok(false);
    };
    let mut buffer = Vec::new();
    let mut reader = WalReader::new(source, cursor, next, &mut buffer);
    Ok(reader.next_frame()?.is_some())
}
