//! Those who do the work of one lane.
//!
//! Each is a piece of blocking work of the asynchronous runtime, which does job after job. That the runtime
//! knows of them matters: it waits for them at its end, and a clock that is paused stands still meanwhile.
//!
//! Invariant: there are never more than the lane is wide. A job is taken by exactly one of them, first
//! come first served; one that nobody took yet has somebody who will.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long one without a job stays: the runtime starts another thread for what comes a moment before
/// this one is back.
const LINGER: Duration = Duration::from_millis(1);

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// See the module.
pub(super) struct Crew {
    width: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Those who wait for a job, the last one first.
    idle: Vec<Thread>,
    workers: usize,
}

impl Crew {
    pub(super) fn new(width: usize) -> Self {
        Self {
            width: width.max(1),
            state: Mutex::default(),
        }
    }

    /// Has a job done, which must not panic; drops it if the runtime ends before.
    pub(super) fn submit(self: &Arc<Self>, job: Job) {
        let mut state = self.state();
        state.jobs.push_back(job);
        if let Some(thread) = state.idle.pop() {
            thread.unpark();
        } else if state.workers < self.width {
            state.workers += 1;
            drop(state);
            let worker = Worker {
                crew: Arc::clone(self),
                has_left: Cell::new(false),
            };
            tokio::task::spawn_blocking(move || worker.work());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the crew. The runtime may drop it before it begins.
struct Worker {
    crew: Arc<Crew>,
    /// It is not counted any more.
    has_left: Cell<bool>,
}

impl Worker {
    fn work(self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    /// Waits for a job. `None` when there is none; nobody counts on this one from then on.
    fn next(&self) -> Option<Job> {
        let me = thread::current();
        let is_me = |other: &Thread| other.id() == me.id();
        let until = Instant::now() + LINGER;
        let mut state = self.crew.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.idle.retain(|other| !is_me(other));
                return Some(job);
            }
            // Who was woken for a job that another has taken is not on the list any more.
            if !state.idle.iter().any(is_me) {
                state.idle.push(me.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.idle.retain(|other| !is_me(other));
                state.workers -= 1;
                self.has_left.set(true);
                return None;
            }
            drop(state);
            thread::park_timeout(left);
            state = self.crew.state();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.has_left.get() {
            return;
        }
        let mut state = self.crew.state();
        state.workers -= 1;
        // Whoever waits for a job that nobody will do must hear of it.
        if state.workers == 0 {
            let jobs = std::mem::take(&mut state.jobs);
            drop(state);
            drop(jobs);
        }
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew")
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}
