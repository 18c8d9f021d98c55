//! The last 16 bytes of a file: database checksum (8), file checksum (8).

use crate::checksum::{Checksum, FLAG};
use crate::error::Cause;
use crate::header::Header;

/// Bytes of the trailer.
pub const TRAILER_SIZE: usize = 16;

/// The fields of a trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trailer {
    /// Database checksum after the file is applied, with the flag bit; 0 when not tracked.
    pub post_apply: u64,
    /// Checksum of header, uncompressed pages, index and `post_apply`, with the flag bit.
    pub file_checksum: u64,
}

impl Trailer {
    /// The bytes of the trailer.
    pub fn encode(&self) -> [u8; TRAILER_SIZE] {
        (u128::from(self.post_apply) << 64 | u128::from(self.file_checksum)).to_be_bytes()
    }

    /// Reads a trailer; any value is well formed.
    pub fn decode(bytes: &[u8; TRAILER_SIZE]) -> Self {
        let both = u128::from_be_bytes(*bytes);
        Self {
            post_apply: (both >> 64) as u64,
            file_checksum: both as u64,
        }
    }
}

/// The rules for the database checksum that a writer must keep.
pub(crate) fn check_post_apply(header: &Header, post_apply: u64) -> Result<(), Cause> {
    match (header.flags.tracks_checksums(), post_apply) {
        (false, 0) => {}
        (false, found) => return Err(Cause::PostApplyNotAllowed(found)),
        (true, 0) => return Err(Cause::PostApplyRequired),
        (true, found) if found & FLAG == 0 => return Err(Cause::PostApplyFormat(found)),
        (true, _) => {}
    }
    // With untracked checksums this cannot hold, so such a file of an empty database does not exist.
    if header.commit == 0 && post_apply != Checksum::EMPTY.get() {
        return Err(Cause::PostApplyNotEmpty(post_apply));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::HeaderFlags;
    use crate::{PageSize, Timestamp, Txid, TxidRange};

    #[test]
    fn fields_are_big_endian() {
        let trailer = Trailer {
            post_apply: 1,
            file_checksum: FLAG | 2,
        };
        let bytes = trailer.encode();
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(Trailer::decode(&bytes), trailer);
    }

    #[test]
    fn post_apply_rules() {
        let range = TxidRange::single(Txid::FIRST);
        let plain = Header::new(PageSize::MIN, 1, range, Timestamp::from_millis(0));
        let tracked = Header {
            flags: HeaderFlags::NONE,
            ..plain
        };
        let words = |header: &Header, post_apply| match check_post_apply(header, post_apply) {
            Ok(()) => String::new(),
            Err(cause) => cause.to_string(),
        };
        assert_eq!(words(&plain, 0), "");
        assert!(words(&plain, FLAG).contains("post-apply checksum not allowed"));
        assert_eq!(words(&tracked, FLAG | 1), "");
        assert!(words(&tracked, 0).contains("post-apply checksum required"));
        assert!(words(&tracked, 1).contains("invalid post-apply checksum format"));
        let empty = "post-apply checksum must be empty for zero-length database";
        assert!(words(&Header { commit: 0, ..plain }, 0).contains(empty));
        assert!(
            words(
                &Header {
                    commit: 0,
                    ..tracked
                },
                FLAG | 1
            )
            .contains(empty)
        );
        assert_eq!(
            words(
                &Header {
                    commit: 0,
                    ..tracked
                },
                FLAG
            ),
            ""
        );
    }
}
