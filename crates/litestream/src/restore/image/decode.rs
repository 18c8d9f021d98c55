//! Decodes one file to its end; the pages of a large one are decompressed on several threads.
//!
//! The order of the pages and the checksum stay those of the file: batches of frames are handed to
//! the threads in turn and taken back in the same order.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ltx::{Decoder, Frame, Pgno};

use super::damaged;
use crate::error::Result;

/// Below this compressed size a second thread costs more than it saves.
const LARGE: u64 = 4 << 20;
/// Threads that decompress.
const THREADS: usize = 2;
/// Bytes of pages in one batch; each thread has at most three.
const BATCH: usize = 256 << 10;

/// Takes a page.
type Put<'a> = dyn FnMut(Pgno, &[u8]) -> Result<()> + 'a;

/// Gives every page of the file to `put`, and verifies the file.
pub(super) fn pages<R: Read>(
    decoder: Decoder<R>,
    size: u64,
    page_size: usize,
    put: &mut Put<'_>,
) -> Result<()> {
    if size < LARGE {
        in_turn(decoder, page_size, put)
    } else {
        on_threads(decoder, page_size, put)
    }
}

fn in_turn<R: Read>(mut decoder: Decoder<R>, page_size: usize, put: &mut Put<'_>) -> Result<()> {
    let fail = damaged("decode database");
    let mut page = vec![0; page_size];
    while let Some(pgno) = decoder.next_page(&mut page).map_err(&fail)? {
        put(pgno, &page)?;
    }
    decoder.finish().map_err(fail)?;
    Ok(())
}

/// Frames and the pages they decompress to.
#[derive(Default)]
struct Batch {
    frames: Vec<Frame>,
    used: usize,
    pages: Vec<u8>,
    error: Option<ltx::Error>,
}

impl Batch {
    /// Reads frames until the batch is full; `false` at the end of the pages.
    fn fill<R: Read>(
        &mut self,
        decoder: &mut Decoder<R>,
        most: usize,
    ) -> std::result::Result<bool, ltx::Error> {
        self.used = 0;
        while self.used < most {
            if self.frames.len() == self.used {
                self.frames.push(Frame::new());
            }
            let Some(frame) = self.frames.get_mut(self.used) else {
                break;
            };
            if !decoder.next_frame(frame)? {
                return Ok(false);
            }
            self.used += 1;
        }
        Ok(true)
    }

    fn decompress(&mut self, page_size: usize) {
        self.pages.resize(self.used * page_size, 0);
        let frames = self.frames.iter().take(self.used);
        for (frame, page) in frames.zip(self.pages.chunks_exact_mut(page_size)) {
            if let Err(error) = frame.decompress(page) {
                self.error = Some(error);
                return;
            }
        }
    }
}

fn on_threads<R: Read>(mut decoder: Decoder<R>, page_size: usize, put: &mut Put<'_>) -> Result<()> {
    let fail = damaged("decode database");
    let most = (BATCH / page_size).max(1);
    std::thread::scope(|scope| {
        let lanes: Vec<Lane> = (0..THREADS)
            .map(|_| {
                let (to, work) = sync_channel::<Batch>(1);
                let (done, from) = sync_channel::<Batch>(1);
                scope.spawn(move || serve(&work, &done, page_size));
                Lane { to, from }
            })
            .collect();
        let mut spare: Vec<Batch> = (0..=THREADS).map(|_| Batch::default()).collect();
        let mut waiting = std::collections::VecDeque::with_capacity(THREADS + 1);
        let mut more = true;
        let mut turn = 0;
        while more || !waiting.is_empty() {
            // Keep every thread busy before taking a result back.
            while more && waiting.len() < THREADS {
                let mut batch = spare.pop().unwrap_or_default();
                more = batch.fill(&mut decoder, most).map_err(&fail)?;
                if let Some(lane) = lanes.get(turn % THREADS)
                    && lane.to.send(batch).is_ok()
                {
                    waiting.push_back(turn % THREADS);
                }
                turn += 1;
            }
            let Some(lane) = waiting.pop_front().and_then(|lane| lanes.get(lane)) else {
                break;
            };
            let Ok(mut batch) = lane.from.recv() else {
                break;
            };
            take(&mut batch, &mut decoder, page_size, put)?;
            spare.push(batch);
        }
        Ok::<_, crate::Error>(())
    })?;
    decoder.finish().map_err(fail)?;
    Ok(())
}

struct Lane {
    to: SyncSender<Batch>,
    from: Receiver<Batch>,
}

fn serve(work: &Receiver<Batch>, done: &SyncSender<Batch>, page_size: usize) {
    while let Ok(mut batch) = work.recv() {
        batch.decompress(page_size);
        if done.send(batch).is_err() {
            return;
        }
    }
}

fn take<R: Read>(
    batch: &mut Batch,
    decoder: &mut Decoder<R>,
    page_size: usize,
    put: &mut Put<'_>,
) -> Result<()> {
    let fail = damaged("decode database");
    if let Some(error) = batch.error.take() {
        return Err(fail(error));
    }
    let frames = batch.frames.iter().take(batch.used);
    for (frame, page) in frames.zip(batch.pages.chunks_exact(page_size)) {
        decoder.accept(frame, page).map_err(&fail)?;
        put(frame.pgno(), page)?;
    }
    Ok(())
}
