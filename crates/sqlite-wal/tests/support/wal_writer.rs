//! Writes WALs byte by byte, with a plain checksum of its own, so that the crate is not tested against
//! itself.

/// A WAL in memory that is written as the format's documentation says.
pub(crate) struct WalWriter {
    pub(crate) bytes: Vec<u8>,
    page_size: usize,
    big: bool,
    salts: [u32; 2],
    sum: [u32; 2],
    end: usize,
}

impl WalWriter {
    pub(crate) fn new(page_size: usize, big: bool, salts: [u32; 2]) -> Self {
        let mut writer = Self {
            bytes: Vec::new(),
            page_size,
            big,
            salts,
            sum: [0, 0],
            end: 0,
        };
        writer.restart(salts);
        writer
    }

    /// Begins a new generation at the head; what was written before stays behind it.
    pub(crate) fn restart(&mut self, salts: [u32; 2]) {
        let mut head = Vec::new();
        for word in [
            0x377f_0682 | u32::from(self.big),
            3_007_000,
            self.page_size as u32,
            0,
            salts[0],
            salts[1],
        ] {
            head.extend_from_slice(&word.to_be_bytes());
        }
        self.salts = salts;
        self.sum = plain_checksum([0, 0], &head, self.big);
        for word in self.sum {
            head.extend_from_slice(&word.to_be_bytes());
        }
        self.end = 0;
        self.put(&head);
    }

    /// Appends a frame to the generation; `commit` is the database's size in pages, or 0.
    pub(crate) fn frame(&mut self, pgno: u32, commit: u32, page: &[u8]) {
        assert_eq!(page.len(), self.page_size);
        let mut frame = Vec::with_capacity(24 + page.len());
        frame.extend_from_slice(&pgno.to_be_bytes());
        frame.extend_from_slice(&commit.to_be_bytes());
        self.sum = plain_checksum(self.sum, &frame, self.big);
        self.sum = plain_checksum(self.sum, page, self.big);
        for word in self.salts.into_iter().chain(self.sum) {
            frame.extend_from_slice(&word.to_be_bytes());
        }
        frame.extend_from_slice(page);
        self.put(&frame);
    }

    fn put(&mut self, piece: &[u8]) {
        let end = self.end + piece.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[self.end..end].copy_from_slice(piece);
        self.end = end;
    }
}

/// The checksum as the documentation writes it.
pub(crate) fn plain_checksum(sum: [u32; 2], bytes: &[u8], big: bool) -> [u32; 2] {
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap();
        if big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    };
    let [mut s0, mut s1] = sum;
    for pair in bytes.chunks_exact(8) {
        s0 = s0.wrapping_add(word(&pair[..4])).wrapping_add(s1);
        s1 = s1.wrapping_add(word(&pair[4..])).wrapping_add(s0);
    }
    [s0, s1]
}

/// A page whose bytes follow from `seed`.
pub(crate) fn page(page_size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..page_size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}
