//! LZ4 frames of one page, the encoding of older writers (page flag 0).
//!
//! ```text
//! 4   magic, little-endian 0x184D2204
//! 1   FLG: version 01, independent blocks, block checksum, content size, content checksum, 0, dictionary
//! 1   BD: largest block, 4 (64 KiB) to 7 (4 MiB), in bits 4 to 6
//! 8   content size, if FLG says so
//! 1   second byte of the xxHash32 of FLG to here
//!     blocks: size (bit 31: stored), bytes, xxHash32 of the bytes if FLG says so
//! 4   zero
//! 4   xxHash32 of the uncompressed page
//! ```
//!
//! The next page header follows at once, so the end is found by walking the blocks: [`Walk`] says
//! how many more bytes belong to the frame, and never asks for one too many.

use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use xxhash_rust::xxh32::xxh32;

use crate::error::Cause;

const MAGIC: u32 = 0x184d_2204;
/// Magic, FLG, BD and the header checksum.
const SHORTEST_HEADER: usize = 7;
const CONTENT_SIZE: usize = 8;
const STORED: u32 = 1 << 31;

/// The flags of a frame that matter behind its header.
#[derive(Clone, Copy)]
struct Descriptor {
    header_len: usize,
    linked: bool,
    block_checksum: bool,
    content_size: Option<u64>,
    largest_block: usize,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u32::from_le_bytes(*word))
}

/// Reads the header; `Ok(Err(n))` if it has `n` bytes, more than are there.
fn descriptor(bytes: &[u8]) -> Result<Result<Descriptor, usize>, Cause> {
    if let Some(magic) = word(bytes, 0).filter(|&magic| magic != MAGIC) {
        return Err(Cause::Lz4Magic(magic));
    }
    let (Some(&flags), Some(&limit)) = (bytes.get(4), bytes.get(5)) else {
        return Ok(Err(SHORTEST_HEADER));
    };
    if flags >> 6 != 1 || flags & 0x02 != 0 {
        return Err(Cause::Lz4Descriptor("unknown frame version or flag"));
    }
    if flags & 0x01 != 0 {
        return Err(Cause::Lz4Descriptor(
            "frames with a dictionary are not supported",
        ));
    }
    let has_size = flags & 0x08 != 0;
    let header_len = SHORTEST_HEADER + if has_size { CONTENT_SIZE } else { 0 };
    let Some(header) = bytes.get(4..header_len) else {
        return Ok(Err(header_len));
    };
    let Some((&expected, covered)) = header.split_last() else {
        return Ok(Err(header_len));
    };
    let got = (xxh32(covered, 0) >> 8) as u8;
    if got != expected {
        return Err(Cause::Lz4HeaderChecksum { got, expected });
    }
    if flags & 0x04 == 0 {
        // Other readers take the four bytes behind the end mark for the checksum in any case.
        return Err(Cause::Lz4End("frame without content checksum"));
    }
    if limit & 0x8f != 0 || limit >> 4 < 4 {
        return Err(Cause::Lz4Descriptor("unknown block size"));
    }
    let content_size = covered.get(2..).and_then(|size| size.first_chunk());
    Ok(Ok(Descriptor {
        header_len,
        linked: flags & 0x20 == 0,
        block_checksum: flags & 0x10 != 0,
        content_size: content_size.map(|size| u64::from_le_bytes(*size)),
        largest_block: 1 << (2 * (limit >> 4) + 8),
    }))
}

/// Finds the end of a frame while its bytes arrive.
#[derive(Default)]
pub(crate) struct Walk {
    descriptor: Option<Descriptor>,
    /// Offset of the next block size, or of the end mark.
    at: usize,
}

impl Walk {
    /// How many bytes are missing to take the next step; zero when the frame is complete.
    /// `frame` holds all bytes asked for so far.
    pub(crate) fn missing(&mut self, frame: &[u8]) -> Result<usize, Cause> {
        let found = match self.descriptor {
            Some(found) => found,
            None => match descriptor(frame)? {
                Err(len) => return Ok(len - frame.len()),
                Ok(found) => {
                    self.at = found.header_len;
                    *self.descriptor.insert(found)
                }
            },
        };
        loop {
            let Some(size) = word(frame, self.at) else {
                return Ok(self.at + 4 - frame.len());
            };
            let len = if size == 0 {
                // The end mark, and behind it the content checksum.
                4
            } else {
                block_len(size, found)? + if found.block_checksum { 4 } else { 0 }
            };
            let next = self.at + 4 + len;
            if frame.len() < next {
                return Ok(next - frame.len());
            }
            if size == 0 {
                return Ok(0);
            }
            self.at = next;
        }
    }
}

fn block_len(size: u32, descriptor: Descriptor) -> Result<usize, Cause> {
    let len = (size & !STORED) as usize;
    if len == 0 || len > descriptor.largest_block {
        let limit = descriptor.largest_block as u64;
        return Err(Cause::CompressedSize {
            found: len as u64,
            limit,
        });
    }
    Ok(len)
}

/// Fills `page` from a frame that must yield exactly that many bytes.
pub(crate) fn decompress(frame: &[u8], page: &mut [u8]) -> Result<(), Cause> {
    let Ok(found) = descriptor(frame)? else {
        return Err(Cause::Lz4End("short header"));
    };
    if let Some(size) = found.content_size.filter(|&size| size != page.len() as u64) {
        return Err(Cause::BlockLength {
            found: size as usize,
            expected: page.len(),
        });
    }
    let (mut at, mut done) = (found.header_len, 0);
    loop {
        let size = word(frame, at).ok_or(Cause::Lz4End("no end mark"))?;
        at += 4;
        if size == 0 {
            break;
        }
        let len = block_len(size, found)?;
        let block = frame
            .get(at..at + len)
            .ok_or(Cause::Lz4End("short block"))?;
        at += len;
        if found.block_checksum {
            let expected = word(frame, at).ok_or(Cause::Lz4End("no block checksum"))?;
            let got = xxh32(block, 0);
            if got != expected {
                return Err(Cause::Lz4BlockChecksum { got, expected });
            }
            at += 4;
        }
        done += decompress_block(block, size & STORED != 0, found.linked, page, done)?;
    }
    if done != page.len() {
        return Err(Cause::BlockLength {
            found: done,
            expected: page.len(),
        });
    }
    let expected = word(frame, at).ok_or(Cause::Lz4End("no content checksum"))?;
    let got = xxh32(page, 0);
    if got != expected {
        return Err(Cause::Lz4ContentChecksum { got, expected });
    }
    Ok(())
}

/// Adds one block behind the `done` bytes of the page; gives the bytes added.
fn decompress_block(
    block: &[u8],
    stored: bool,
    linked: bool,
    page: &mut [u8],
    done: usize,
) -> Result<usize, Cause> {
    let expected = page.len();
    let (before, room) = page.split_at_mut(done);
    if stored {
        let room = room.get_mut(..block.len());
        let room = room.ok_or(Cause::BlockLength {
            found: done + block.len(),
            expected,
        })?;
        room.copy_from_slice(block);
        return Ok(block.len());
    }
    let result = if linked && done > 0 {
        decompress_into_with_dict(block, room, before)
    } else {
        decompress_into(block, room)
    };
    result.map_err(Cause::Block)
}

#[cfg(test)]
mod tests;
