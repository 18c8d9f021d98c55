//! Fetches and verifies all files of a step, before anything of the copy is touched.
//!
//! The pages wait in `COPY-pages.tmp`, a sparse file in the shape of the database, which is removed
//! with the batch. Memory is bounded by that of a restore.

use std::fs::File;
use std::path::Path;

use ltx::{Pgno, Txid};
use tokio_util::sync::CancellationToken;

use crate::capture::with_suffix;
use crate::error::{Error, Result};
use crate::files::{Files, Ownership, Staged};
use crate::replica::RemoteFile;
use crate::restore::Source;
use crate::restore::fetch::{self, Failed};
use crate::restore::image::Image;

/// The newest version of every page that the files of a step have; all of them are verified.
pub(super) struct Batch {
    pub(super) image: Image,
    pub(super) to: Txid,
    pages: File,
    staged: Staged,
}

impl Batch {
    /// Fetches the files of `chain`, which is not empty, oldest first.
    pub(super) async fn fetch(
        source: &Source,
        chain: &[RemoteFile],
        copy: &Path,
        files: &Files,
        parallelism: usize,
    ) -> Result<Self, Failed> {
        let to = chain.last().map_or(Txid::FIRST, |file| file.range.max);
        if let Some(file) = chain
            .iter()
            .find(|file| file.size < ltx::HEADER_SIZE as u64)
        {
            return Err(Failed {
                file: Some(*file),
                error: Error::TooSmall {
                    level: file.level,
                    range: file.range,
                    size: file.size,
                },
            });
        }
        // Whoever gives this up ends the fetching, too.
        let stop = CancellationToken::new();
        let mut fetched = fetch::start(source, chain, parallelism, stop.clone());
        let _guard = stop.drop_guard();
        let (path, files) = (with_suffix(copy, "-pages"), files.clone());
        crate::restore::blocking("follow", move || {
            // As closed to others as the copy may be: nobody but this process reads it.
            let staged = files.stage(
                &path,
                &Ownership {
                    file_mode: Some(0o600),
                    ..Ownership::default()
                },
            )?;
            let image = Image::gather(&mut fetched, &staged.handle()?, staged.path())?;
            let found = image.newest().max_txid;
            if found != to {
                return Err(Failed::from(Error::NonContiguous {
                    have: found,
                    next: to,
                }));
            }
            let pages = File::open(staged.path())
                .map_err(|error| Error::io("open", staged.path(), error))?;
            Ok(Self {
                image,
                to,
                pages,
                staged,
            })
        })
        .await
    }

    /// Reads a page that [`Image::has`].
    pub(super) fn read(&self, pgno: Pgno, page: &mut [u8]) -> Result<()> {
        let offset = self.image.page_size().offset_of(pgno);
        read_at(&self.pages, page, offset)
            .map_err(|error| Error::io("read", self.staged.path(), error))
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.read_exact_at(buffer, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}
