//! Unsigned base-128 numbers, low group first, as the page index uses them.

/// The most bytes a 64-bit number takes.
pub(crate) const MAX_LEN: usize = 10;

/// Appends `value` in its shortest form.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number does not fit 64 bits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// A number that is read byte by byte, so that it may span buffers.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Partial {
    value: u64,
    len: usize,
}

impl Partial {
    /// Takes one byte; gives the number with its last byte, and is then ready for the next one.
    pub(crate) fn push(&mut self, byte: u8) -> Result<Option<u64>, Overflow> {
        // The tenth byte holds bit 63 alone.
        if self.len == MAX_LEN - 1 && byte > 1 {
            return Err(Overflow);
        }
        self.value |= u64::from(byte & 0x7f) << (7 * self.len);
        self.len += 1;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        let value = self.value;
        *self = Self::default();
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<u64>, Overflow> {
        let mut partial = Partial::default();
        let mut last = None;
        for &byte in bytes {
            last = partial.push(byte)?;
        }
        Ok(last)
    }

    #[test]
    fn round_trip_at_every_width() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put(&mut bytes, value);
                assert!(bytes.len() <= MAX_LEN);
                assert_eq!(read(&bytes), Ok(Some(value)));
                assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(None));
            }
        }
    }

    #[test]
    fn more_than_64_bits_overflow() {
        let mut bytes = [0xff; 10];
        bytes[9] = 1;
        assert_eq!(read(&bytes), Ok(Some(u64::MAX)));
        bytes[9] = 2;
        assert_eq!(read(&bytes), Err(Overflow));
        bytes[9] = 0x81;
        assert_eq!(read(&bytes), Err(Overflow));
    }
}
