//! The threads of one lane.
//!
//! Invariant: there are never more threads than the lane is wide. A job is taken by exactly one of
//! them, first come first served; one that nobody took yet has a thread that will.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{fmt, io};

/// A thread without work ends after so long.
const KEEP: Duration = Duration::from_secs(5);

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// See the module.
pub(super) struct Crew {
    width: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Those who wait for a job, the last one first: the others may end.
    idle: Vec<Thread>,
    threads: usize,
}

impl Crew {
    pub(super) fn new(width: usize) -> Self {
        Self {
            width: width.max(1),
            state: Mutex::default(),
        }
    }

    /// Has a job done, which must not panic.
    ///
    /// # Errors
    /// When there is no thread and none can be started; the job is dropped then.
    pub(super) fn submit(self: &Arc<Self>, job: Job) -> io::Result<()> {
        let mut state = self.state();
        state.jobs.push_back(job);
        if let Some(thread) = state.idle.pop() {
            thread.unpark();
            return Ok(());
        }
        if state.threads == self.width {
            return Ok(());
        }
        let crew = Arc::clone(self);
        let started = thread::Builder::new()
            .name("lane".to_owned())
            .spawn(move || crew.work());
        match started {
            Ok(_) => state.threads += 1,
            // The others get to it.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                state.jobs.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    /// Waits for a job. `None` when none came for long: the thread does not count any more.
    fn next(&self) -> Option<Job> {
        let me = thread::current();
        let is_me = |other: &Thread| other.id() == me.id();
        let until = Instant::now() + KEEP;
        let mut state = self.state();
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
                state.threads -= 1;
                return None;
            }
            drop(state);
            thread::park_timeout(left);
            state = self.state();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew")
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}
