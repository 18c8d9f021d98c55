//! LZ4 blocks of one page: the compressor in use and the exact decompressor.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use crate::error::Cause;
use crate::page::PageSize;

/// Compresses pages of one size, with one table that is cleared, not allocated, for each page.
pub(crate) struct Compressor(CompressTable);

impl Compressor {
    pub(crate) fn new(page_size: PageSize) -> Self {
        // The small table has 16-bit positions, one fewer than a 64 KiB page needs.
        let fits = page_size.bytes() < usize::from(u16::MAX);
        Self(if fits {
            CompressTable::small()
        } else {
            CompressTable::large()
        })
    }

    /// Room that [`Compressor::compress`] asks for.
    pub(crate) fn room(page_size: PageSize) -> usize {
        get_maximum_output_size(page_size.bytes())
    }

    /// Compresses a page into the front of `out` and gives the length of the block.
    pub(crate) fn compress(&mut self, page: &[u8], out: &mut [u8]) -> usize {
        compress_into_with_table(page, out, &mut self.0).expect("`out` has the room it asks for")
    }
}

/// The largest payload a reader takes for one page.
///
/// Whatever the compressor, a block that yields `n` bytes cannot be longer than `n + n / 255 + 16`:
/// a match stands for at least four bytes in three, and lengths have only one spelling. Twice
/// the page leaves room for the parts of LZ4 frames and still bounds what a damaged size makes us read.
pub(crate) fn payload_limit(page_size: PageSize) -> usize {
    2 * page_size.bytes() + 1024
}

/// Fills `page` from a block that must yield exactly that many bytes.
///
/// A short result must never pass: the rest of `page` is that of another page.
pub(crate) fn decompress(block: &[u8], page: &mut [u8]) -> Result<(), Cause> {
    let found = decompress_into(block, page).map_err(Cause::Block)?;
    if found != page.len() {
        return Err(Cause::BlockLength {
            found,
            expected: page.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_and_runs_round_trip_at_every_page_size() {
        for shift in 9..=16 {
            let page_size = PageSize::new(1 << shift).expect("valid");
            let mut compressor = Compressor::new(page_size);
            let mut out = vec![0; Compressor::room(page_size)];
            for noise in [0, 1, 7, 255_u32] {
                let page: Vec<u8> = (0..page_size.get())
                    .map(|i| (i.wrapping_mul(2_654_435_761).rotate_left(11) & noise) as u8)
                    .collect();
                let len = compressor.compress(&page, &mut out);
                assert!(len <= payload_limit(page_size));
                let mut back = vec![0xee; page.len()];
                decompress(&out[..len], &mut back).expect("own block");
                assert_eq!(back, page);
            }
        }
    }

    #[test]
    fn short_and_long_results_are_errors() {
        let mut page = [0; 16];
        assert!(matches!(
            decompress(b"\x30abc", &mut page),
            Err(Cause::BlockLength {
                found: 3,
                expected: 16
            })
        ));
        assert!(matches!(decompress(b"", &mut page), Err(Cause::Block(_))));
        assert!(matches!(
            decompress(b"\xf0\x02abcdefghijklmnopq", &mut page),
            Err(Cause::Block(_))
        ));
    }
}
