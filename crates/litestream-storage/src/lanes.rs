//! A bound on how much blocking work goes on at the same time, mount by mount.
//!
//! A network file system that hangs takes every thread that touches it, for as long as it hangs. A
//! lane lets so many threads onto one mount and no more, so that the others have theirs. Who is done with a
//! piece of work takes the next one: a thread for each piece would be many more of them, as the runtime
//! starts one whenever work comes a moment before another is done.
//!
//! Invariant: which mount a path is on is read from the system's table of mounts and from the text of
//! the path. Nothing here touches the file systems themselves: that is what may hang.

mod crew;

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::crew::Crew;

/// The right to so much blocking work at a time. Clones are the same lane.
#[derive(Debug, Clone)]
pub struct Lane {
    crew: Arc<Crew>,
}

impl Lane {
    /// A lane of its own for `width` pieces of work, one at least.
    pub fn new(width: usize) -> Self {
        Self {
            crew: Arc::new(Crew::new(width)),
        }
    }

    /// Runs `work` in the lane, first come first served. Once it has begun it runs to its
    /// end, whether or not the caller still waits; if the caller goes away before, it never begins.
    /// A panic in `work` goes on in the caller.
    ///
    /// # Errors
    /// When the runtime ends before.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let runtime = Handle::current();
        let (answer, answered) = oneshot::channel();
        self.crew.submit(Box::new(move || {
            if answer.is_closed() {
                return;
            }
            let _context = runtime.enter();
            // Nobody waits any more, if it cannot be sent.
            let _ = answer.send(catch_unwind(AssertUnwindSafe(work)));
        }));
        match answered.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(io::Error::other("the runtime ends")),
        }
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
    use std::collections::HashSet;
    use std::sync::mpsc;

    use super::*;

    const TABLE: &[u8] = b"21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        30 21 0:40 / /mnt/far\\040away rw - nfs4 server:/export rw\n\
        31 30 0:41 / /mnt/far\\040away/nearer rw - tmpfs tmpfs rw\n";

    fn same(a: &Lane, b: &Lane) -> bool {
        Arc::ptr_eq(&a.crew, &b.crew)
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

    /// A piece of work that goes on until it is told to end, and what it is told with.
    async fn hang(lane: &Lane) -> (impl Future<Output = io::Result<()>>, mpsc::Sender<()>) {
        let (end, until) = mpsc::channel::<()>();
        let (tell, told) = oneshot::channel();
        let mut hanging = Box::pin({
            let lane = lane.clone();
            async move {
                let hang = move || {
                    let _ = tell.send(());
                    let _ = until.recv();
                };
                lane.run(hang).await
            }
        });
        assert!(futures_util::poll!(&mut hanging).is_pending());
        told.await.unwrap();
        (hanging, end)
    }

    #[tokio::test]
    async fn a_full_lane_is_waited_for() {
        let lanes = Lanes::with_mounts(1, mount_points(TABLE));
        let far = lanes.of(Path::new("/mnt/far away/a"));
        let (hanging, end) = hang(&far).await;
        let mut waiting = Box::pin(far.run(|| 1));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let mut gone = Box::pin(far.run(|| unreachable!("nobody waits for it any more")));
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        let behind = far.run(|| 2);
        // Another mount has threads of its own.
        assert_eq!(lanes.of(Path::new("/srv")).run(|| 3).await.unwrap(), 3);
        end.send(()).unwrap();
        hanging.await.unwrap();
        assert_eq!((waiting.await.unwrap(), behind.await.unwrap()), (1, 2));
    }

    #[tokio::test]
    async fn panics_go_on_in_the_caller_and_the_lane_stays() {
        let lane = Lane::new(1);
        let panicking = tokio::spawn({
            let lane = lane.clone();
            async move { lane.run(|| panic!("on purpose")).await }
        });
        let error = panicking.await.map(drop).expect_err("goes on here");
        assert!(error.is_panic());
        assert_eq!(lane.run(|| 5).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn many_pieces_of_work_share_few_threads() {
        let lane = Lane::new(3);
        let threads = Arc::new(Mutex::new(HashSet::new()));
        let jobs = (0..500).map(|_| {
            let threads = Arc::clone(&threads);
            lane.run(move || threads.lock().unwrap().insert(std::thread::current().id()))
        });
        for done in futures_util::future::join_all(jobs).await {
            done.unwrap();
        }
        let count = threads.lock().unwrap().len();
        assert!((1..=3).contains(&count), "{count}");
    }

    #[test]
    fn work_of_a_runtime_that_has_ended_is_not_waited_for() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
        };
        let lane = Lane::new(1);
        let ended = runtime();
        let left = ended.handle().clone();
        drop(ended);
        let _context = left.enter();
        let error = futures_util::FutureExt::now_or_never(lane.run(|| ())).unwrap();
        assert!(error.is_err());
        // The lane goes on in another.
        assert_eq!(runtime().block_on(lane.run(|| 5)).unwrap(), 5);
    }

    #[tokio::test]
    async fn work_is_in_the_context_of_its_runtime() {
        let lane = Lane::new(1);
        let spawned = lane.run(|| tokio::spawn(async { 7 })).await.unwrap();
        assert_eq!(spawned.await.unwrap(), 7);
    }
}
