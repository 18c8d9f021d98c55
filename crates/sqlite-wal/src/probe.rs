//! Looks at frame headers without verifying the chain: what generations a WAL file holds.

use crate::error::Result;
use crate::frame::FrameHeader;
use crate::layout::{FRAME_HEADER_SIZE, frame_offset};
use crate::salts::Salts;
use crate::source::{ReadAt, read_full};
use crate::window::Window;

/// Reads the header of `frame` (from 1) without verifying anything; `None` when the source ends before
/// the header does, and for frame 0.
///
/// # Errors
/// [`crate::Error::Read`].
pub fn probe_frame<S: ReadAt + ?Sized>(
    source: &S,
    page_size: u32,
    frame: u32,
) -> Result<Option<FrameHeader>> {
    if frame == 0 {
        return Ok(None);
    }
    let mut bytes = [0; FRAME_HEADER_SIZE as usize];
    let length = read_full(source, &mut bytes, frame_offset(page_size, frame))?;
    Ok((length == bytes.len()).then(|| FrameHeader::parse(&bytes)))
}

/// Neighbouring frames with the same salts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaltRun {
    /// The salts that the frames carry.
    pub salts: Salts,
    /// Number of the first frame, from 1.
    pub first_frame: u32,
    /// How many frames.
    pub frames: u32,
}

/// The generations that the frames of a WAL file carry, from its start on, without verifying them.
///
/// Ends with the first frame that carries `until` (its run then counts that one frame), or with the
/// last whole frame of the file.
///
/// # Errors
/// [`crate::Error::Read`], and [`crate::Error::PageSize`] for a size that SQLite does not know.
///
/// # Cost
/// Reads the file up to the end of the scan once, in pieces of up to 1 MiB into `buffer`.
pub fn scan_salts<S: ReadAt + ?Sized>(
    source: &S,
    page_size: u32,
    until: Option<Salts>,
    buffer: &mut Vec<u8>,
) -> Result<Vec<SaltRun>> {
    let mut window = Window::new(page_size, buffer);
    let mut runs: Vec<SaltRun> = Vec::new();
    for number in 1..=u32::MAX {
        let Some(head) = window
            .frame(source, number, u32::MAX)?
            .and_then(<[u8]>::first_chunk)
        else {
            break;
        };
        let salts = FrameHeader::parse(head).salts;
        match runs.last_mut() {
            Some(run) if run.salts == salts => run.frames += 1,
            _ => runs.push(SaltRun {
                salts,
                first_frame: number,
                frames: 1,
            }),
        }
        if until == Some(salts) {
            break;
        }
    }
    Ok(runs)
}
