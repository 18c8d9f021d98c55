//! Durable local files: staged under a temporary name, made durable, then given their name.
//!
//! The order is write, fsync of the file, rename, fsync of the directory and of those above it that
//! may be new; a file is durable and may be relied upon only when [`Staged::commit`] has returned. Every step passes a
//! [`FileSteps`], so that a test can break each one in turn.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// A step of making a local file durable, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileStep {
    /// The folder is created.
    CreateDirectory,
    /// The temporary file is created.
    Create,
    /// Bytes are written to it.
    Write,
    /// The file's content is made durable.
    SyncFile,
    /// The file gets its final name.
    Rename,
    /// The name is made durable.
    SyncDirectory,
    /// A file that is no longer needed is removed.
    Delete,
}

/// Sees each step before it happens and may refuse it; for tests.
pub trait FileSteps: Debug + Send + Sync {
    /// Called before the step; an error makes the step fail with it.
    fn before(&self, step: FileStep, path: &Path) -> io::Result<()>;
}

/// Lets every step happen.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllSteps;

impl FileSteps for AllSteps {
    fn before(&self, _step: FileStep, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Mode and owner that files and folders of the meta directory take from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ownership {
    /// Permission bits of files, through the umask; `None` means the system's default.
    pub file_mode: Option<u32>,
    /// Permission bits of folders, through the umask; `None` means 0700.
    pub directory_mode: Option<u32>,
    /// User and group of files; failing to set them is not an error.
    pub file_owner: Option<(u32, u32)>,
    /// User and group of folders.
    pub directory_owner: Option<(u32, u32)>,
}

impl Ownership {
    /// Reads mode and owner from the database file and its folder.
    pub fn of_database(path: &Path) -> Result<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let file = fs::metadata(path).map_err(|error| Error::io("stat", path, error))?;
            let parent = parent_of(path);
            let folder = fs::metadata(parent).map_err(|error| Error::io("stat", parent, error))?;
            Ok(Self {
                file_mode: Some(file.mode() & 0o777),
                directory_mode: Some(folder.mode() & 0o777),
                file_owner: Some((file.uid(), file.gid())),
                directory_owner: Some((folder.uid(), folder.gid())),
            })
        }
        #[cfg(not(unix))]
        {
            fs::metadata(path).map_err(|error| Error::io("stat", path, error))?;
            Ok(Self::default())
        }
    }
}

/// The folder a path is in; the current one for a bare name.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Creates local files and folders with the steps and the ownership given.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    steps: Arc<dyn FileSteps>,
}

impl Files {
    pub(crate) fn new(steps: Arc<dyn FileSteps>) -> Self {
        Self { steps }
    }

    /// Announces a step that the caller does itself.
    pub(crate) fn before(&self, step: FileStep, path: &Path) -> io::Result<()> {
        self.steps.before(step, path)
    }

    /// Creates a folder and its missing parents and makes their names durable.
    pub(crate) fn create_directory(&self, path: &Path, ownership: &Ownership) -> Result<()> {
        self.make_directory(path, ownership)?
            .iter()
            .try_for_each(|folder| self.sync_directory(parent_of(folder)))
    }

    /// Creates a folder and its missing parents, and answers those that it made: their names are not
    /// durable.
    pub(crate) fn make_directory(
        &self,
        path: &Path,
        ownership: &Ownership,
    ) -> Result<Vec<PathBuf>> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
            .collect();
        let mut created = Vec::new();
        for folder in missing.into_iter().rev() {
            let fail = |error| Error::io("create folder", folder, error);
            self.steps
                .before(FileStep::CreateDirectory, folder)
                .map_err(fail)?;
            match directory_builder(ownership).create(folder) {
                Ok(()) => {
                    give_to(folder, ownership.directory_owner);
                    created.push(folder.to_owned());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Ok(created)
    }

    /// Makes the names in a folder durable.
    pub(crate) fn sync_directory(&self, path: &Path) -> Result<()> {
        let fail = |error| Error::io("fsync folder", path, error);
        self.steps
            .before(FileStep::SyncDirectory, path)
            .map_err(fail)?;
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(fail)
    }

    /// Makes the names in all folders of a chain durable. One that may be passed through but not read is
    /// somebody else's, and so are the names in it.
    pub(crate) fn sync_chain(&self, chain: &Chain) -> Result<()> {
        for folder in &chain.folders {
            match self.sync_directory(folder) {
                Err(Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    tracing::debug!(path = %folder.display(), "folder cannot be read, its names are not synced");
                }
                synced => synced?,
            }
        }
        chain.is_durable.store(true, Ordering::Release);
        Ok(())
    }

    /// Starts a file that will be called `target` once it is committed.
    pub(crate) fn stage(&self, target: &Path, ownership: &Ownership) -> Result<Staged> {
        let mut temporary = target.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let fail = |error| Error::io("create", &temporary, error);
        self.steps
            .before(FileStep::Create, &temporary)
            .map_err(fail)?;
        let file = open_options(ownership).open(&temporary).map_err(fail)?;
        give_to(&temporary, ownership.file_owner);
        Ok(Staged {
            file: Some(file),
            current: temporary.clone(),
            temporary,
            target: target.to_owned(),
            files: self.clone(),
            chain: None,
        })
    }

    /// Removes a file; one that is not there is removed already.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        let fail = |error| Error::io("remove", path, error);
        self.steps.before(FileStep::Delete, path).map_err(fail)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail(error)),
            _ => Ok(()),
        }
    }
}

/// A file being written under its temporary name; dropped without a commit it is removed.
#[derive(Debug)]
pub(crate) struct Staged {
    file: Option<File>,
    temporary: PathBuf,
    target: PathBuf,
    /// The one of the two names that it has.
    current: PathBuf,
    files: Files,
    chain: Option<Chain>,
}

/// Folders above a file, the names in which have to be durable before the file is, and where it is noted
/// that they are.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) is_durable: Arc<AtomicBool>,
}

impl Staged {
    /// Lets the commit make the names in these folders durable as well, after that of the file: on file
    /// systems with a journal they go with it.
    pub(crate) fn with_chain(mut self, chain: Option<Chain>) -> Self {
        self.chain = chain;
        self
    }

    /// Makes the content durable, gives the file its name, and makes the name durable.
    pub(crate) fn commit(self) -> Result<()> {
        self.end(Self::publish)
    }

    /// Gives the file its name. What of it outlives the machine's power is left open: the old file, the
    /// new one, pieces of it, or none.
    pub(crate) fn commit_hint(self) -> Result<()> {
        self.end(|staged, _| staged.rename())
    }

    fn end(mut self, publish: impl FnOnce(&mut Self, &File) -> Result<()>) -> Result<()> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let result = publish(&mut self, &file);
        drop(file);
        if result.is_err() {
            // Renamed, but not durably so: what has the final name may be relied upon, or is gone.
            self.discard();
        }
        result
    }

    /// Where the file is until it is committed.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Another handle of the file, for writing at offsets; the steps do not see those writes.
    pub(crate) fn handle(&self) -> Result<File> {
        let fail = |error| Error::io("open", &self.temporary, error);
        match &self.file {
            Some(file) => file.try_clone().map_err(fail),
            None => Err(fail(io::Error::other("file is committed"))),
        }
    }

    fn publish(&mut self, file: &File) -> Result<()> {
        let steps = &self.files.steps;
        let fail = |error| Error::io("fsync", &self.temporary, error);
        steps
            .before(FileStep::SyncFile, &self.temporary)
            .map_err(fail)?;
        file.sync_all().map_err(fail)?;
        self.rename()?;
        self.files.sync_directory(parent_of(&self.target))?;
        if let Some(chain) = &self.chain {
            self.files.sync_chain(chain)?;
        }
        Ok(())
    }

    fn rename(&mut self) -> Result<()> {
        let fail = |error| Error::io("rename", &self.temporary, error);
        let steps = &self.files.steps;
        steps
            .before(FileStep::Rename, &self.temporary)
            .map_err(fail)?;
        fs::rename(&self.temporary, &self.target).map_err(fail)?;
        self.current.clone_from(&self.target);
        Ok(())
    }

    fn discard(&self) {
        if let Err(error) = fs::remove_file(&self.current)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.current.display(), %error, "cannot remove temporary file");
        }
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.files.steps.before(FileStep::Write, &self.temporary)?;
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::Error::other("file is committed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            self.discard();
        }
    }
}

#[cfg(unix)]
fn directory_builder(ownership: &Ownership) -> fs::DirBuilder {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.mode(ownership.directory_mode.unwrap_or(0o700));
    builder
}

#[cfg(not(unix))]
fn directory_builder(_ownership: &Ownership) -> fs::DirBuilder {
    fs::DirBuilder::new()
}

fn open_options(ownership: &Ownership) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    #[cfg(unix)]
    if let Some(mode) = ownership.file_mode {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(mode);
    }
    #[cfg(not(unix))]
    let _ = ownership;
    options
}

/// Opens a file whose content is replaced in place; makes it first when it is not there.
pub(crate) fn open_in_place(path: &Path, ownership: &Ownership) -> io::Result<File> {
    let mut options = open_options(ownership);
    options.create(false).truncate(false);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let file = options.create(true).open(path)?;
    give_to(path, ownership.file_owner);
    Ok(file)
}

/// Sets the owner as far as the process may: an ordinary user's files are its own anyway.
fn give_to(path: &Path, owner: Option<(u32, u32)>) {
    #[cfg(unix)]
    if let Some((user, group)) = owner
        && let Err(error) = std::os::unix::fs::chown(path, Some(user), Some(group))
    {
        tracing::trace!(path = %path.display(), %error, "owner not set");
    }
    #[cfg(not(unix))]
    let _ = (path, owner);
}
