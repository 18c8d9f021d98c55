//! The temporary files of puts.
//!
//! Invariant: each belongs to one try of one put, and is removed when that ends without having
//! moved it, by a failure or by being given up; after a later put when the server could not be
//! reached.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use super::Shared;
use super::request::{Content, rest};
use crate::Operation;
use crate::tree::TEMP_SUFFIX;

/// Most names that are kept to be removed.
const MOST: usize = 1000;
/// Most that are removed after one put.
const AT_ONCE: usize = 16;
/// How often a server may refuse to remove a file.
const TRIES: u32 = 3;

/// A file that is being written, or may be.
pub(super) struct Temp {
    shared: Arc<Shared>,
    path: String,
    /// Whether it has another name, or has been seen to.
    is_over: bool,
}

impl Temp {
    /// One beside `target`. Makes no request.
    pub(super) fn new(shared: &Arc<Shared>, target: &str) -> Self {
        Self {
            shared: Arc::clone(shared),
            path: temp_name(target),
            is_over: false,
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// It has its final name.
    pub(super) fn moved(mut self) {
        self.is_over = true;
    }

    /// Removes what was uploaded in vain; left behind it is only a file that is never listed.
    pub(super) async fn discard(mut self) {
        remove(&self.shared, Leftover::new(self.path.clone())).await;
        self.is_over = true;
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let leftover = Leftover::new(std::mem::take(&mut self.path));
        let shared = Arc::clone(&self.shared);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move { remove(&shared, leftover).await });
            }
            // There is nobody to send anything.
            Err(_) => shared.leftovers.add(leftover),
        }
    }
}

/// A temporary file that is to go.
#[derive(Debug)]
struct Leftover {
    path: String,
    refused: u32,
}

impl Leftover {
    fn new(path: String) -> Self {
        Self { path, refused: 0 }
    }
}

/// What could not be removed.
#[derive(Debug, Default)]
pub(super) struct Leftovers(Mutex<VecDeque<Leftover>>);

impl Leftovers {
    fn list(&self) -> MutexGuard<'_, VecDeque<Leftover>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, leftover: Leftover) {
        let mut list = self.list();
        if list.len() < MOST {
            list.push_back(leftover);
        }
    }

    fn some(&self) -> Vec<Leftover> {
        let mut list = self.list();
        let count = list.len().min(AT_ONCE);
        list.drain(..count).collect()
    }
}

/// Removes a file, or keeps its name for later.
async fn remove(shared: &Shared, mut leftover: Leftover) {
    let path = &leftover.path;
    let sent = shared
        .server
        .send(Operation::Put, "DELETE", path, &[], Content::Nothing);
    if let Ok(answer) = sent.await {
        let status = answer.status();
        rest(answer).await;
        if status.is_success() || matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            return;
        }
        leftover.refused += 1;
    }
    if leftover.refused < TRIES {
        shared.leftovers.add(leftover);
    }
}

/// Removes some of what earlier puts left, without anybody waiting for it.
pub(super) fn clear(shared: &Arc<Shared>) {
    let some = shared.leftovers.some();
    if some.is_empty() {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        for leftover in some {
            remove(&shared, leftover).await;
        }
    });
}

/// A name beside `target` that nobody else uses.
fn temp_name(target: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let moment = crate::clock::unix_ms(std::time::SystemTime::now());
    format!("{target}.{process}.{moment}{number:06}{TEMP_SUFFIX}")
}
