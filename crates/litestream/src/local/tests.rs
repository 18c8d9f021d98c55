//! When the names of the folders above the level-0 files are made durable.

use std::io::Write;

use super::*;
use crate::files::{FileStep, FileSteps};

/// Notes the folders that are synced; one of them cannot be.
#[derive(Debug, Default)]
struct Synced {
    folders: Mutex<Vec<PathBuf>>,
    broken: Mutex<Option<PathBuf>>,
}

impl FileSteps for Synced {
    fn before(&self, step: FileStep, path: &Path) -> io::Result<()> {
        if step != FileStep::SyncDirectory {
            return Ok(());
        }
        if self.broken.lock().unwrap().as_deref() == Some(path) {
            return Err(io::Error::other("broken"));
        }
        self.folders.lock().unwrap().push(path.to_owned());
        Ok(())
    }
}

struct Bed {
    _folder: tempfile::TempDir,
    root: PathBuf,
    steps: Arc<Synced>,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            root: folder.path().join(".a.db-litestream"),
            _folder: folder,
            steps: Arc::default(),
        }
    }

    /// As a process that has just started sees it.
    fn process(&self) -> LocalDir {
        let files = Files::new(Arc::clone(&self.steps) as Arc<dyn FileSteps>);
        LocalDir::new(self.root.clone(), files, Pool::new(1))
    }

    /// The folders synced by the commit of the next file.
    fn commit(&self, local: &LocalDir) -> Result<Vec<PathBuf>> {
        let ownership = Ownership::default();
        let next = local.list()?.last().map_or(1, |txid| txid.get() + 1);
        let mut staged = local.stage(Txid::new(next).unwrap(), &ownership)?;
        staged.write_all(b"content").unwrap();
        assert!(self.take().is_empty(), "nothing before the file is");
        staged.commit()?;
        Ok(self.take())
    }

    fn take(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.steps.folders.lock().unwrap())
    }

    /// Level 0, and all folders above it up to the one that was there before.
    fn all(&self) -> Vec<PathBuf> {
        let level_zero = self.root.join("ltx/0");
        level_zero.ancestors().take(4).map(Path::to_owned).collect()
    }
}

#[test]
fn new_folders_are_durable_with_the_first_file() {
    let bed = Bed::new();
    let local = bed.process();
    let _lock = local.lock(&Ownership::default()).unwrap();
    assert_eq!(bed.commit(&local).unwrap(), bed.all());
    assert_eq!(bed.commit(&local).unwrap(), bed.all()[..1]);
    // Somebody removed them.
    fs::remove_dir_all(bed.root.join("ltx")).unwrap();
    assert_eq!(bed.commit(&local).unwrap(), bed.all());
}

#[test]
fn a_process_syncs_folders_that_another_may_have_left_unsynced() {
    let bed = Bed::new();
    let killed = bed.process();
    let staged = killed.stage(Txid::FIRST, &Ownership::default()).unwrap();
    drop(staged);
    assert!(bed.take().is_empty());
    let local = bed.process();
    assert_eq!(bed.commit(&local).unwrap(), bed.all());
    // What that one has left may be all that this one knows, and notes.
    let local = bed.process();
    local.sync_folders().unwrap();
    assert_eq!(bed.take(), bed.all());
    local.sync_folders().unwrap();
    assert!(bed.take().is_empty());
    // What tells that a file was durable tells that its folders are.
    let local = bed.process();
    local.trust_folders();
    assert_eq!(bed.commit(&local).unwrap(), bed.all()[..1]);
}

#[test]
fn a_file_whose_folders_cannot_be_synced_does_not_count() {
    for broken in 0..4 {
        let bed = Bed::new();
        let local = bed.process();
        *bed.steps.broken.lock().unwrap() = Some(bed.all()[broken].clone());
        bed.commit(&local).unwrap_err();
        assert_eq!(local.list().unwrap(), []);
        *bed.steps.broken.lock().unwrap() = None;
        bed.take();
        assert_eq!(bed.commit(&local).unwrap(), bed.all());
    }
}
