//! Writes the fetched files into the new database, verifies it, and gives it its name.
//!
//! Invariant: the output has its name only when all pages from 1 to the commit size of the newest
//! file are there, verified, and durable.

use super::fetch::Files as FetchedFiles;
use super::image::Image;
use super::{RestoreOptions, integrity};
use crate::error::Result;
use crate::files::{Files, Ownership};

/// What is done with the complete image before it gets its name.
pub(crate) type Finish = Box<dyn FnOnce(&mut Image) -> Result<()> + Send>;

/// Applies all files and makes the output durable under its name. Returns its size in bytes.
pub(super) fn apply(
    mut files: FetchedFiles,
    local: &Files,
    options: &RestoreOptions,
    finish: Option<Finish>,
) -> Result<u64> {
    let output = options.output.as_path();
    // As a program would create it: 0666 through the umask.
    let staged = local.stage(
        output,
        &Ownership {
            file_mode: Some(0o666),
            ..Ownership::default()
        },
    )?;
    let mut image = Image::gather(&mut files, &staged.handle()?, output)?;
    image.check_complete()?;
    let size = image.finish()?;
    integrity::check(staged.path(), options.integrity_check)?;
    if let Some(finish) = finish {
        finish(&mut image)?;
    }
    drop(image);
    if options.replace {
        // A WAL of the old database must never be read as one of the new.
        for side in super::sidecars(output) {
            local.remove(&side)?;
        }
    }
    staged.commit()?;
    Ok(size)
}
