//! From a configured replica to the object store that holds it: one arm per type.
//!
//! Invariant: a type is available here or refused by name before anything starts; every store
//! leaves this module wrapped in the same layers, `Retry(Paced(Metered(store)))`: what is paced
//! and counted are the tries. A folder of this machine is not tried again: what fails there fails
//! again.

#[cfg(feature = "abs")]
mod abs;
mod file;
#[cfg(feature = "gs")]
mod gs;
#[cfg(feature = "http")]
pub(crate) mod http;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "oss")]
mod oss;
#[cfg(any(feature = "gs", feature = "abs"))]
mod prefix;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "sftp")]
mod sftp;
#[cfg(feature = "webdav")]
mod webdav;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use litestream::{Layout, Ownership};
use litestream_storage::{
    Clock, Meter, Metered, ObjectStore, Pace, Paced, Retry, RetryPolicy, Retrying, SystemClock,
};

use crate::config::{BuildError, Replica, Target};

/// What is to be told of the mode and owner of the database.
pub(crate) type Adopt = Box<dyn Fn(&Ownership) + Send + Sync>;

/// An object store, ready for use. Nothing was connected or requested yet.
pub(crate) struct Backend {
    /// The store, with all layers but the one that tries again.
    once: Arc<dyn ObjectStore>,
    /// How it is tried again, if it is.
    retry: Option<RetryPolicy>,
    /// How keys are built in stores of this type.
    pub(crate) layout: Layout,
    /// Set for stores on this machine, whose files belong to whom the database belongs to.
    pub(crate) adopt: Option<Adopt>,
}

/// Tries of a call when somebody waits for the answer: a connection that has just ended is not the
/// state of a store.
const FEW_TRIES: u32 = 3;
/// Longest wait between those tries that a store may ask for.
const SHORT: Duration = Duration::from_secs(3);

impl Backend {
    /// The store that everything else works with.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        self.trying(self.retry.clone())
    }

    /// The store with little patience: what is wrong with it is told within seconds.
    pub(crate) fn impatient_store(&self) -> Arc<dyn ObjectStore> {
        self.trying(self.retry.clone().map(|policy| RetryPolicy {
            tries: FEW_TRIES,
            max_retry_after: SHORT,
            ..policy
        }))
    }

    fn trying(&self, policy: Option<RetryPolicy>) -> Arc<dyn ObjectStore> {
        let once = Arc::clone(&self.once);
        match policy {
            Some(policy) => Arc::new(Retry::new(once, Retrying::new(policy))),
            None => once,
        }
    }
}

/// Counters of all stores of a type, by type word.
static METERS: Mutex<BTreeMap<&'static str, Arc<Meter>>> = Mutex::new(BTreeMap::new());

/// The counters of each type of which a store was opened.
pub(crate) fn meters() -> BTreeMap<&'static str, Arc<Meter>> {
    METERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// A store that counts together with all others of its type.
fn metered<S: ObjectStore>(store: S) -> Metered<S> {
    let mut meters = METERS.lock().unwrap_or_else(PoisonError::into_inner);
    let meter = Arc::clone(meters.entry(store.kind()).or_default());
    drop(meters);
    Metered::counting(store, clock(), meter)
}

/// Opens the store of a replica. Makes no request.
pub(crate) fn open(replica: &Replica) -> Result<Backend, BuildError> {
    match &replica.target {
        Target::File(target) => {
            let backend = file::open(target);
            Ok(Backend {
                once: paced(backend.once, replica.pace),
                ..backend
            })
        }
        #[cfg(feature = "nats")]
        Target::Nats(target) => {
            let store = nats::open(target)?;
            Ok(wrapped(store, Layout::Plain, retry_policy(), replica.pace))
        }
        #[cfg(feature = "s3")]
        Target::S3(target) => s3::open(target, &replica.network, replica.pace),
        #[cfg(feature = "gs")]
        Target::Gs(target) => gs::open(target, &replica.network, replica.pace),
        #[cfg(feature = "abs")]
        Target::Abs(target) => abs::open(target, &replica.network, replica.pace),
        #[cfg(feature = "oss")]
        Target::Oss(target) => oss::open(target, &replica.network, replica.pace),
        #[cfg(feature = "sftp")]
        Target::Sftp(target) => {
            let store = sftp::open(target);
            Ok(wrapped(store, Layout::Plain, retry_policy(), replica.pace))
        }
        #[cfg(feature = "webdav")]
        Target::Webdav(target) => webdav::open(target, &replica.network, replica.pace),
        #[cfg(not(all(
            feature = "abs",
            feature = "gs",
            feature = "nats",
            feature = "oss",
            feature = "s3",
            feature = "sftp",
            feature = "webdav"
        )))]
        other => Err(BuildError::NotAvailable(other.kind())),
    }
}

/// Whether stores of this type are in the program.
pub(crate) fn is_available(target: &Target) -> bool {
    match target {
        Target::File(_) => true,
        Target::Nats(_) => cfg!(feature = "nats"),
        Target::S3(_) => cfg!(feature = "s3"),
        Target::Gs(_) => cfg!(feature = "gs"),
        Target::Abs(_) => cfg!(feature = "abs"),
        Target::Oss(_) => cfg!(feature = "oss"),
        Target::Sftp(_) => cfg!(feature = "sftp"),
        Target::Webdav(_) => cfg!(feature = "webdav"),
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// How stores on the network are tried again: ten times in a row without progress, over a minute.
#[cfg(feature = "network")]
fn retry_policy() -> RetryPolicy {
    RetryPolicy::default()
}

/// Why a store could not be made: its cause, if it tells one.
#[cfg(any(feature = "abs", feature = "oss"))]
fn refused(kind: &str, error: &litestream_storage::HttpError) -> BuildError {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    BuildError::Store(format!("{kind}: {}", cause.unwrap_or(error.to_string())))
}

/// A store on the network in its layers.
#[cfg(feature = "network")]
fn wrapped(
    store: impl ObjectStore,
    layout: Layout,
    mut policy: RetryPolicy,
    pace: Pace,
) -> Backend {
    // Waiting for its turn must not count as a stall: it takes a minute when sixty calls come at
    // once and one a second may go.
    if pace.requests.is_some() {
        policy.stall = policy.stall.max(Duration::from_mins(5));
    }
    // Uploads that go on at the same time share what may be slow already; what is staged as a whole
    // is sent at full speed.
    if pace.upload.is_some() && policy.in_flight != u64::MAX {
        policy.min_rate /= 16;
    }
    Backend {
        once: paced(Arc::new(metered(store)), pace),
        retry: Some(policy),
        layout,
        adopt: None,
    }
}

/// The store at the pace that is configured, if one is.
fn paced(store: Arc<dyn ObjectStore>, pace: Pace) -> Arc<dyn ObjectStore> {
    if pace == Pace::default() {
        return store;
    }
    Arc::new(Paced::new(store, pace, &clock()))
}
