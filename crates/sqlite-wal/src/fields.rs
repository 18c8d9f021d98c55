//! Fixed-width fields of byte arrays.
//!
//! Offsets are constants of the format, so indexing cannot fail for a caller that is tested once.

/// Big-endian word at `at`.
pub(crate) fn big_u32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Big-endian half word at `at`.
pub(crate) fn big_u16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Word in the byte order of this machine at `at`.
pub(crate) fn native_u32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Half word in the byte order of this machine at `at`.
pub(crate) fn native_u16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}
