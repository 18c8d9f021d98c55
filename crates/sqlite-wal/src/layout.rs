//! Where frames lie in a WAL file.
//!
//! A WAL is a header of 32 bytes and then frames, each a header of 24 bytes and one page. There are no
//! gaps and no padding, so frame number and offset determine each other.

use crate::error::{Error, Result};

/// Size of the WAL header in bytes.
pub const WAL_HEADER_SIZE: u64 = 32;
/// Size of a frame header in bytes.
pub const FRAME_HEADER_SIZE: u64 = 24;
/// Smallest page size of SQLite in bytes.
pub const MIN_PAGE_SIZE: u32 = 512;
/// Largest page size of SQLite in bytes.
pub const MAX_PAGE_SIZE: u32 = 65_536;

/// Size in bytes of one frame: header and page.
fn frame_size(page_size: u32) -> u64 {
    FRAME_HEADER_SIZE + u64::from(page_size)
}

/// Offset in bytes of the header of `frame` (from 1).
///
/// Frame 0, "no frame", gives the offset of the first.
pub fn frame_offset(page_size: u32, frame: u32) -> u64 {
    frames_end(page_size, frame.saturating_sub(1))
}

/// Offset in bytes of the page in `frame` (from 1).
pub fn page_offset(page_size: u32, frame: u32) -> u64 {
    frame_offset(page_size, frame).saturating_add(FRAME_HEADER_SIZE)
}

/// Offset in bytes behind the last of `frames` frames: the size of a WAL that holds just them.
///
/// Saturates for sizes that no page size of SQLite reaches.
pub fn frames_end(page_size: u32, frames: u32) -> u64 {
    u64::from(frames)
        .saturating_mul(frame_size(page_size))
        .saturating_add(WAL_HEADER_SIZE)
}

/// The number of frames before `offset`, which must be the boundary of a frame.
///
/// # Errors
/// [`Error::UnalignedOffset`] when no frame begins or ends at `offset`.
pub fn frame_at_offset(page_size: u32, offset: u64) -> Result<u32> {
    let frame_size = frame_size(page_size);
    offset
        .checked_sub(WAL_HEADER_SIZE)
        .filter(|frames| frames % frame_size == 0)
        .and_then(|frames| u32::try_from(frames / frame_size).ok())
        .ok_or(Error::UnalignedOffset { offset, frame_size })
}

/// Accepts a page size that SQLite accepts; `offset` is that of the field, for the error.
pub(crate) fn check_page_size(page_size: u32, offset: u64) -> Result<u32> {
    if page_size.is_power_of_two() && (MIN_PAGE_SIZE..=MAX_PAGE_SIZE).contains(&page_size) {
        Ok(page_size)
    } else {
        Err(Error::PageSize {
            offset,
            found: page_size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_frames_determine_each_other() {
        assert_eq!(frame_offset(4096, 1), 32);
        assert_eq!(frame_offset(4096, 2), 4152);
        assert_eq!(frame_offset(4096, 3), 8272);
        assert_eq!(page_offset(4096, 2), 4176);
        assert_eq!(frames_end(4096, 0), 32);
        for frames in [0, 1, 77, u32::MAX] {
            for page_size in [512, 4096, 65_536] {
                let end = frames_end(page_size, frames);
                assert_eq!(frame_at_offset(page_size, end).expect("aligned"), frames);
            }
        }
    }

    #[test]
    fn unaligned_offsets_are_refused() {
        for offset in [0, 31, 33, 32 + 4096, 32 + 4119, 32 + 4121, u64::MAX] {
            let error = frame_at_offset(4096, offset).expect_err("unaligned");
            assert!(
                matches!(error, Error::UnalignedOffset { offset: o, frame_size: 4120 } if o == offset)
            );
        }
        let beyond = 32 + 4120 * (u64::from(u32::MAX) + 1);
        assert!(frame_at_offset(4096, beyond).is_err());
    }

    #[test]
    fn absurd_sizes_saturate() {
        assert_eq!(frames_end(u32::MAX, u32::MAX), u64::MAX);
        assert_eq!(page_offset(u32::MAX, u32::MAX), u64::MAX);
    }
}
