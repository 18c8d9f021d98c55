//! The lease of a replica: of several processes on one path, one writes.
//!
//! The lease is the object `lock.json` beside the levels, in the form of the reference: generation,
//! owner, and the time up to which it is held. It changes hands by conditional writes alone, so the
//! store decides who has it. The holder renews it three times per life; it stops writing by its own
//! clock, before the time in the object, when it cannot. Who wants it waits until that time has
//! passed by more than clocks may differ.
//!
//! Invariant: through the store that [`Replica`](crate::Replica) hands to the engine nothing is put,
//! listed or deleted unless the lease is held, from before the request until after its answer.
//!
//! | Module | Owns |
//! |---|---|
//! | `record` | the JSON of `lock.json` |
//! | `lock` | reading, writing and deleting it, conditionally, within limits of time |
//! | `holder` | the state machine: acquire, renew, lose, wait, release |
//! | `fenced` | the store that asks before and after each call |
//! | `support` | whether a store has the conditional writes that this needs |

mod fenced;
mod holder;
mod lock;
mod record;
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use litestream_storage::{Clock, Key, ObjectStore};
use ltx::Timestamp;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::fenced::Fenced;
use self::holder::Holder;
use self::lock::LockFile;
pub(crate) use self::support::{Conditional, conditional_writes};
use crate::error::{Error, Result};

/// How a lease is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSettings {
    /// How long the lease lasts without renewal: a crashed holder is replaced after this time, and
    /// a sixth of it more. Effect on cost: three requests in this time, also when nothing happens.
    pub ttl: Duration,
    /// Who we are, for people who look at a lease that others wait for. Never compared.
    pub owner: String,
}

impl LeaseSettings {
    /// The life of a lease where nothing else is said, as in the reference.
    pub const TTL: Duration = Duration::from_secs(30);
    /// The shortest life: below it requests that take a second would lose the lease.
    pub const MIN_TTL: Duration = Duration::from_secs(6);

    /// The default life, held by `owner`.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            ttl: Self::TTL,
            owner: owner.into(),
        }
    }

    /// How far the clocks of two machines may be apart, and how long before the end the holder
    /// stops writing: a sixth of the life.
    pub fn margin(&self) -> Duration {
        self.ttl / 6
    }

    /// Time between two renewals, and between two looks at a lease that another holds.
    pub fn interval(&self) -> Duration {
        self.ttl / 3
    }
}

/// What a lease is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// Nothing is known yet, or the store does not say.
    Acquiring {
        /// Why the last attempt brought nothing.
        error: Option<String>,
    },
    /// Another holds it, or held it until a time that is not certain to have passed.
    Waiting {
        /// Who, if it says.
        owner: Option<String>,
        /// Until when, unless it is renewed.
        until: Timestamp,
    },
    /// We hold it.
    Held {
        /// Grows by one with each take-over.
        generation: i64,
        /// Until when, unless it is renewed.
        until: Timestamp,
    },
    /// It was held, and is no more.
    Lost {
        /// What happened.
        cause: String,
    },
    /// The store has no conditional writes: the lease can never be held.
    Unsupported {
        /// What the store said.
        reason: String,
    },
    /// Given back, or not asked for yet.
    Released,
}

impl LeaseState {
    /// The word for it in logs and answers.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Acquiring { .. } => "acquiring",
            Self::Waiting { .. } => "waiting",
            Self::Held { .. } => "held",
            Self::Lost { .. } => "lost",
            Self::Unsupported { .. } => "unsupported",
            Self::Released => "released",
        }
    }

    /// Whether it is held.
    pub const fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

impl std::fmt::Display for LeaseState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Acquiring { error: None } => f.write_str("waits for the lease"),
            Self::Acquiring { error: Some(error) } => {
                write!(f, "cannot acquire the lease: {error}")
            }
            Self::Waiting { owner, until } => {
                f.write_str("waits for the lease held ")?;
                if let Some(owner) = owner {
                    write!(f, "by {owner} ")?;
                }
                write!(f, "until {}", record::seconds(*until))
            }
            Self::Held { generation, until } => {
                let until = record::seconds(*until);
                write!(f, "holds the lease, generation {generation}, until {until}")
            }
            Self::Lost { cause } => write!(f, "lease lost: {cause}"),
            Self::Unsupported { reason } => write!(
                f,
                "the store has no conditional writes, which a lease needs: {reason}"
            ),
            Self::Released => f.write_str("lease released"),
        }
    }
}

/// The right to write, by our own clocks. A lease that is lost and acquired again is another hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    /// Counts the holds of this process, from 1.
    number: u64,
    /// By the monotonic clock.
    ends: Duration,
    /// By the wall clock, in Unix milliseconds: it goes on while the machine sleeps.
    ends_wall: i64,
}

#[derive(Debug)]
struct Shown {
    state: LeaseState,
    /// Since when by the monotonic clock it has not been held.
    since: Duration,
    hold: Option<Hold>,
}

/// Told of each hold before the first write under it.
type Acquired = dyn Fn() + Send + Sync;

/// The lease of one replica, as this process sees it. Clones are the same lease.
#[derive(Clone)]
pub struct Lease {
    inner: Arc<Inner>,
    /// Not part of what the task knows: it must end when nobody has the lease any more.
    running: Arc<Mutex<Option<Running>>>,
}

struct Inner {
    lock: LockFile,
    settings: LeaseSettings,
    clock: Arc<dyn Clock>,
    shown: watch::Sender<Shown>,
    support: OnceCell<Conditional>,
    /// The number of the last hold, kept over a release.
    last_number: AtomicU64,
}

/// The task that acquires and renews.
struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Holder>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lease {
    /// A lease on what `store` holds, not asked for yet. Makes no request.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        settings: LeaseSettings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shown = watch::Sender::new(Shown {
            state: LeaseState::Released,
            since: clock.monotonic(),
            hold: None,
        });
        Self {
            inner: Arc::new(Inner {
                lock: LockFile::new(store, Arc::clone(&clock)),
                settings,
                clock,
                shown,
                support: OnceCell::new(),
                last_number: AtomicU64::new(0),
            }),
            running: Arc::default(),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &LeaseSettings {
        &self.inner.settings
    }

    /// What it is doing. Costs no request.
    pub fn state(&self) -> LeaseState {
        self.inner.state()
    }

    /// How long it has not been held; `None` while it is.
    pub fn not_held_for(&self) -> Option<Duration> {
        let now = self.inner.clock.monotonic();
        let shown = self.inner.shown.borrow();
        match shown.hold {
            Some(hold) if self.inner.is_valid(hold) => None,
            Some(hold) => Some(now.saturating_sub(hold.ends)),
            None => Some(now.saturating_sub(shown.since)),
        }
    }

    /// Waits until the state is a wanted one. States that last for a moment may be missed.
    pub async fn wait_for(&self, wanted: impl Fn(&LeaseState) -> bool) -> LeaseState {
        let mut shown = self.inner.shown.subscribe();
        let found = shown.wait_for(|shown| wanted(&shown.state)).await;
        // The sender is ours: it cannot go away.
        found.map_or(LeaseState::Released, |shown| shown.state.clone())
    }

    /// Finds out whether the store does what it is asked for when it is asked for a conditional
    /// write: some take the request and ignore the condition. Asks once.
    ///
    /// # Cost
    /// Five small requests below a name of their own, once.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when the store has none; any other when it
    /// cannot be asked.
    pub async fn check_support(&self) -> Result<()> {
        match self.inner.support().await? {
            Conditional::Works => Ok(()),
            Conditional::Missing(reason) => {
                let (kind, reason) = (self.inner.lock.kind(), reason.clone());
                let state = LeaseState::Unsupported { reason };
                Err(Error::Setting(format!("lease of {kind} replica: {state}")))
            }
        }
    }

    /// Begins to acquire, and renews from then on, until [`Lease::release`]. `acquired` is called
    /// each time the lease becomes ours, before anything can be written: what was known of the
    /// replica is out of date then.
    ///
    /// Must be called on a tokio runtime.
    ///
    /// # Cost
    /// While it is held one request per third of its life; while it is waited for the same.
    pub fn start(&self, acquired: impl Fn() + Send + Sync + 'static) {
        let mut running = self.running();
        if running.is_some() {
            return;
        }
        self.inner.show(LeaseState::Acquiring { error: None }, None);
        let stop = CancellationToken::new();
        let holder = Holder::new(Arc::clone(&self.inner), Box::new(acquired));
        let task = tokio::spawn(holder.run(stop.clone()));
        *running = Some(Running { stop, task });
    }

    /// Gives the lease back, so that another can have it at once. What cannot be given back ends
    /// by itself.
    ///
    /// # Cost
    /// One request, when it is held.
    pub async fn release(&self) {
        let Some(mut running) = self.running().take() else {
            return;
        };
        running.stop.cancel();
        let ended = (&mut running.task).await;
        // Nothing may be written from now on.
        self.inner.show(LeaseState::Released, None);
        if let Ok(holder) = ended {
            holder.release().await;
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `store`, for holders of this lease only.
    pub(crate) fn fence(&self, store: Arc<dyn ObjectStore>) -> Fenced {
        Fenced::new(store, Arc::clone(&self.inner))
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("settings", &self.inner.settings)
            .field("state", &self.inner.shown.borrow().state)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn last_number(&self) -> u64 {
        self.last_number.load(Ordering::Relaxed)
    }

    fn set_last_number(&self, number: u64) {
        self.last_number.store(number, Ordering::Relaxed);
    }

    fn state(&self) -> LeaseState {
        let shown = self.shown.borrow();
        match shown.hold {
            Some(hold) if !self.is_valid(hold) => LeaseState::Lost {
                cause: "not renewed in time".to_owned(),
            },
            _ => shown.state.clone(),
        }
    }

    fn is_valid(&self, hold: Hold) -> bool {
        self.clock.monotonic() < hold.ends && self.clock.now_ms() < hold.ends_wall
    }

    fn show(&self, state: LeaseState, hold: Option<Hold>) {
        self.shown.send_modify(|shown| {
            if shown.hold.is_some() && hold.is_none() {
                shown.since = self.clock.monotonic();
            }
            shown.state = state;
            shown.hold = hold;
        });
    }

    /// The hold that is valid now; waits for the end of the first attempt to acquire.
    async fn hold(&self) -> Result<Hold, LeaseState> {
        let mut shown = self.shown.subscribe();
        let first_try =
            |shown: &Shown| matches!(shown.state, LeaseState::Acquiring { error: None });
        // Without the guard: it would keep the holder from saying more.
        drop(shown.wait_for(|shown| !first_try(shown)).await);
        let hold = self.shown.borrow().hold;
        hold.filter(|hold| self.is_valid(*hold))
            .ok_or_else(|| self.state())
    }

    /// Whether the lease has been held all the time since `hold` was given out.
    fn still(&self, number: u64) -> Result<(), LeaseState> {
        let hold = self.shown.borrow().hold;
        match hold.filter(|hold| self.is_valid(*hold)) {
            Some(hold) if hold.number == number => Ok(()),
            Some(_) => Err(LeaseState::Lost {
                cause: "acquired anew since".to_owned(),
            }),
            None => Err(self.state()),
        }
    }

    /// Completes when the hold with this number has ended.
    async fn ended(&self, number: u64) {
        let mut shown = self.shown.subscribe();
        loop {
            let hold = shown.borrow_and_update().hold;
            let Some(hold) = hold.filter(|hold| hold.number == number && self.is_valid(*hold))
            else {
                return;
            };
            let left = hold.ends.saturating_sub(self.clock.monotonic());
            tokio::select! {
                () = self.clock.sleep(left) => {}
                _changed = shown.changed() => {}
            }
        }
    }

    /// What the store can do; asked once.
    async fn support(&self) -> Result<&Conditional> {
        let probed = self.support.get_or_try_init(|| async {
            let key = Key::new(format!("{}.probe-{:016x}", lock::KEY, record::random()));
            Ok(self.lock.probe(key, self.settings.ttl).await?)
        });
        probed.await
    }
}
