//! Buffered reading of one file, front to back, with the offset known at every point.
//!
//! The buffer is allocated on first use and starts small, so that reading only the header of a file
//! stays cheap and a merge can hold a thousand sources open.

use std::io::{ErrorKind, Read};
use std::sync::Arc;

use crate::error::{Cause, Error, Result};

/// Size of the first read, and the least a buffer can be set to.
pub(crate) const MIN_CAPACITY: usize = 4 * 1024;

/// Buffer of a source that is read alone. Larger ones gain no throughput: they leave the caches.
pub(crate) const DEFAULT_CAPACITY: usize = 64 * 1024;

pub(crate) struct Source<R> {
    inner: R,
    file: Arc<str>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    capacity: usize,
    /// Offset in the file of `buffer[start]`.
    offset: u64,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(inner: R, file: Arc<str>) -> Self {
        let capacity = DEFAULT_CAPACITY;
        Self {
            inner,
            file,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            capacity,
            offset: 0,
        }
    }

    pub(crate) fn set_capacity(&mut self, bytes: usize) {
        self.capacity = bytes.max(MIN_CAPACITY);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// What is buffered and not consumed.
    pub(crate) fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Buffers `want` bytes, or what is left of the file; gives the number of bytes buffered.
    pub(crate) fn fill(&mut self, want: usize) -> Result<usize> {
        if self.end - self.start < want {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let target = if self.offset == 0 {
                MIN_CAPACITY
            } else {
                self.capacity
            };
            if self.buffer.len() < want.max(target) {
                self.buffer.resize(want.max(target), 0);
            }
            while self.end < want {
                let room = self.buffer.get_mut(self.end..).unwrap_or_default();
                match read(&mut self.inner, room) {
                    Ok(0) => break,
                    Ok(count) => self.end += count,
                    Err(error) => return Err(error.in_file(&self.file).at(self.offset)),
                }
            }
        }
        Ok(self.end - self.start)
    }

    /// Drops `count` buffered bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// The next `count` bytes, out of the buffer; `part` names them in errors.
    pub(crate) fn take(&mut self, count: usize, part: &'static str) -> Result<&[u8]> {
        let have = self.fill(count)?;
        if have < count {
            return Err(self.end_of_file(part, count, have));
        }
        let from = self.start;
        self.consume(count);
        Ok(self.buffer.get(from..from + count).unwrap_or_default())
    }

    /// The next `N` bytes.
    pub(crate) fn take_array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N]> {
        let bytes = self.take(N, part)?;
        Ok(*bytes
            .first_chunk()
            .expect("`take` gives what was asked for"))
    }

    /// Appends the next `count` bytes to `out` without growing the buffer.
    pub(crate) fn append(
        &mut self,
        out: &mut Vec<u8>,
        count: usize,
        part: &'static str,
    ) -> Result<()> {
        let buffered = count.min(self.end - self.start);
        out.extend_from_slice(self.buffered().get(..buffered).unwrap_or_default());
        self.consume(buffered);
        let mut have = buffered;
        let filled = out.len();
        out.resize(filled + count - buffered, 0);
        while have < count {
            let room = out.get_mut(filled + have - buffered..).unwrap_or_default();
            match read(&mut self.inner, room) {
                Ok(0) => return Err(self.end_of_file(part, count, have)),
                Ok(read) => {
                    have += read;
                    self.offset += read as u64;
                }
                Err(error) => return Err(error.in_file(&self.file).at(self.offset)),
            }
        }
        Ok(())
    }

    /// Places an error in this file.
    pub(crate) fn error(&self, cause: Cause, offset: u64) -> Error {
        Error::from(cause).in_file(&self.file).at(offset)
    }

    fn end_of_file(&self, part: &'static str, expected: usize, found: usize) -> Error {
        let cause = Cause::EndOfFile {
            part,
            expected: expected as u64,
            found: found as u64,
        };
        self.error(cause, self.offset)
    }
}

fn read(inner: &mut impl Read, room: &mut [u8]) -> Result<usize> {
    loop {
        match inner.read(room) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(count) if count <= room.len() => return Ok(count),
            Ok(_) => {
                let source =
                    std::io::Error::other("reader returned more bytes than it was given room for");
                return Err(Cause::Io {
                    action: "read",
                    source,
                }
                .into());
            }
            Err(source) => {
                return Err(Cause::Io {
                    action: "read",
                    source,
                }
                .into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, interrupted before each.
    struct Drip<'a>(&'a [u8], bool);

    impl Read for Drip<'_> {
        fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let count = room.len().min(1);
            self.0.read(&mut room[..count])
        }
    }

    #[test]
    fn short_reads_and_refills_keep_the_offset() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|i| (i % 251) as u8).collect();
        let mut source = Source::new(Drip(&bytes, false), "drip".into());
        source.set_capacity(0);
        let (mut at, mut step) = (0, 1);
        let mut out = Vec::new();
        while at + 2 * step <= bytes.len() {
            assert_eq!(
                source.take(step, "part").expect("there"),
                &bytes[at..at + step]
            );
            out.clear();
            source.append(&mut out, step, "part").expect("there");
            assert_eq!(out, bytes[at + step..at + 2 * step]);
            at += 2 * step;
            step = step * 3 % 5003;
            assert_eq!(source.offset(), at as u64);
        }
        let error = source.take(bytes.len(), "tail").expect_err("too much");
        let left = bytes.len() - at;
        let words =
            format!("drip: offset {at}: tail: unexpected EOF: expected 20000 bytes, found {left}");
        assert_eq!(error.to_string(), words);
    }
}
