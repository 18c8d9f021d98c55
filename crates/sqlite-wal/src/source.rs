//! Where bytes are read from: anything that can be read at an offset.

use std::io;

use crate::error::{Error, Result};

/// A source of bytes that is read at offsets, so that a shared descriptor has no position to disturb.
pub trait ReadAt {
    /// Reads up to `buf.len()` bytes at `offset`; 0 means that the source ends there.
    ///
    /// A source that wants to stop a reading (cancellation) returns an error of its own, which comes out as
    /// [`Error::Read`] and never as an end of data. [`io::ErrorKind::Interrupted`] is not for that: the
    /// read is repeated.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }
}

#[cfg(unix)]
impl ReadAt for std::fs::File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let length = rest.len().min(buf.len());
        buf[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buf, offset)
    }
}

/// Fills `buf` from `offset` on, or as much of it as the source has; returns the length filled.
///
/// A source may hand out less than it has and may be interrupted by a signal; neither is an end.
pub(crate) fn read_full<S: ReadAt + ?Sized>(
    source: &S,
    buf: &mut [u8],
    offset: u64,
) -> Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        let at = offset.saturating_add(filled as u64);
        let length = buf.len() - filled;
        match source.read_at(&mut buf[filled..], at) {
            Ok(0) => break,
            Ok(read) => filled += read.min(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(Error::Read {
                    offset: at,
                    length,
                    source,
                });
            }
        }
    }
    Ok(filled)
}
