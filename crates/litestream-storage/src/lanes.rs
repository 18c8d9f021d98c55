//! A bound on how much blocking work goes on at the same time, mount by mount.
//!
//! A network file system that hangs takes every thread that touches it, for as long as it hangs. A
//! lane lets so many threads onto one mount and no more, so that the others have theirs.
//!
//! Invariant: which mount a path is on is read from the system's table of mounts and from the text of
//! the path. Nothing here touches the file systems themselves: that is what may hang.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The right to so much blocking work at a time. Clones are the same lane.
#[derive(Debug, Clone)]
pub struct Lane {
    places: Arc<Semaphore>,
}

impl Lane {
    /// A lane of its own for `width` pieces of work.
    pub fn new(width: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(width.max(1))),
        }
    }

    /// Waits for a place, first come first served. The place is free again when what is returned is
    /// dropped: by the thread that does the work, not by who waits for it.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed, so there always is one.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

/// The lanes of a process, one for each mount.
#[derive(Debug)]
pub struct Lanes {
    width: usize,
    mounts: Vec<PathBuf>,
    found: Mutex<HashMap<PathBuf, Lane>>,
}

impl Lanes {
    /// Lanes of `width` places each, for the mounts that there are now. What is mounted later counts
    /// as a part of what it is mounted on; so do all mounts on systems that do not list them.
    pub fn new(width: usize) -> Self {
        let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self::with_mounts(width, mount_points(&table))
    }

    fn with_mounts(width: usize, mounts: Vec<PathBuf>) -> Self {
        Self {
            width,
            mounts,
            found: Mutex::default(),
        }
    }

    /// The lane of the mount that a path is on, as far as its text tells: symbolic links are not
    /// followed.
    pub fn of(&self, path: &Path) -> Lane {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mounts = self.mounts.iter().filter(|mount| path.starts_with(mount));
        let longest = mounts.max_by_key(|mount| mount.components().count());
        let mount = longest.cloned().unwrap_or_else(|| PathBuf::from("/"));
        let mut lanes = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(mount).or_insert_with(|| Lane::new(self.width));
        lane.clone()
    }
}

/// The fifth field of each line of `mountinfo`, in which odd characters are octal numbers.
fn mount_points(table: &[u8]) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let lines = table.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    fields
        .map(|field| PathBuf::from(std::ffi::OsString::from_vec(unescape(field))))
        .collect()
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let code = match (*first, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        plain.push(code.unwrap_or(*first));
        rest = match code {
            Some(_) => behind.get(3..).unwrap_or_default(),
            None => behind,
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        30 21 0:40 / /mnt/far\\040away rw - nfs4 server:/export rw\n\
        31 30 0:41 / /mnt/far\\040away/nearer rw - tmpfs tmpfs rw\n";

    fn same(a: &Lane, b: &Lane) -> bool {
        Arc::ptr_eq(&a.places, &b.places)
    }

    #[test]
    fn each_mount_has_a_lane() {
        let lanes = Lanes::with_mounts(1, mount_points(TABLE));
        let root = lanes.of(Path::new("/home/a"));
        let far = lanes.of(Path::new("/mnt/far away/a/b"));
        assert!(same(&root, &lanes.of(Path::new("/mnt/far"))));
        assert!(same(&root, &lanes.of(Path::new("relative"))));
        assert!(same(&far, &lanes.of(Path::new("/mnt/far away/other"))));
        assert!(!same(&root, &far));
        assert!(!same(&far, &lanes.of(Path::new("/mnt/far away/nearer/c"))));
    }

    #[test]
    fn escapes_in_the_table_are_undone() {
        assert_eq!(unescape(b"/a\\040b\\134c\\9\\04"), b"/a b\\c\\9\\04");
    }

    #[tokio::test]
    async fn a_full_lane_is_waited_for() {
        let lanes = Lanes::with_mounts(1, mount_points(TABLE));
        let hung = lanes.of(Path::new("/mnt/far away/a")).enter().await;
        let other = lanes.of(Path::new("/mnt/far away/b"));
        let mut waiting = Box::pin(other.enter());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        // Another mount has places of its own.
        let _other = lanes.of(Path::new("/srv")).enter().await;
        drop(hung);
        assert!(waiting.await.is_some());
    }
}
