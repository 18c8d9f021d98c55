//! How something is tried again, and single requests that are, inside a backend.
//!
//! Some requests only the backend can send again: the parts of a large upload are the case. The wrapper
//! cannot send a stream again, but the part that failed is still in memory.

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(feature = "oss", feature = "s3"))]
use futures_util::future::{Either, select};

use super::budget::{Budget, Jitter, RandomJitter, RetryPolicy};
use crate::{Clock, Error, Result, SystemClock};
#[cfg(any(feature = "oss", feature = "s3"))]
use crate::{ErrorKind, Key, Operation};

/// How, and how often, something is tried again.
#[derive(Debug, Clone)]
pub struct Retrying {
    pub(crate) policy: RetryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) jitter: Arc<dyn Jitter>,
}

impl Retrying {
    /// As `policy` says, with the time and the chance of this machine.
    pub fn new(policy: RetryPolicy) -> Self {
        Self::with(policy, Arc::new(SystemClock::new()), Arc::new(RandomJitter))
    }

    /// With another time, or another chance.
    pub fn with(policy: RetryPolicy, clock: Arc<dyn Clock>, jitter: Arc<dyn Jitter>) -> Self {
        Self {
            policy,
            clock,
            jitter,
        }
    }

    /// Calls until it works, or as often as the policy allows. The error of the last try says how many
    /// there were, and the wrapper takes it as final.
    #[cfg(any(feature = "rest", feature = "s3", feature = "webdav"))]
    pub(crate) async fn persist<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut budget = Budget::default();
        loop {
            match call().await {
                Ok(done) => return Ok(done),
                Err(error) => self.again(&mut budget, error).await?,
            }
        }
    }

    /// Aborts the upload of `key`, which failed or was given up: a few tries within a minute, since
    /// somebody may wait for it and nothing depends on it. What is left then is said in the log.
    #[cfg(any(feature = "oss", feature = "s3"))]
    pub(crate) async fn abort<T, F>(&self, key: &Key, call: impl FnMut() -> F)
    where
        F: Future<Output = Result<T>>,
    {
        let mut few = self.clone();
        few.policy.tries = few.policy.tries.min(4);
        let limit = self.clock.sleep(Duration::from_mins(1));
        let aborted = match select(std::pin::pin!(few.persist(call)), limit).await {
            Either::Left((done, _)) => done.map(drop),
            Either::Right(_) => Err(Error::new(ErrorKind::Timeout, Operation::Put)),
        };
        match aborted {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%key, %error, "unfinished upload is left in the bucket");
            }
            _ => {}
        }
    }

    /// The tries of something that takes several requests.
    #[cfg(feature = "rest")]
    pub(crate) fn tries(&self) -> Tries<'_> {
        Tries {
            retrying: self,
            budget: Budget::default(),
        }
    }

    /// Waits for another try after `error`, or answers it when there is none left.
    #[cfg(any(feature = "rest", feature = "s3", feature = "webdav"))]
    async fn again(&self, budget: &mut Budget, error: Error) -> Result<()> {
        match self.spend(budget, &error) {
            Ok(delay) => {
                self.clock.sleep(delay).await;
                Ok(())
            }
            Err(tries) => Err(error.with_tries(tries)),
        }
    }

    /// How long to wait for another try, or how many there were when there is none left.
    pub(super) fn spend(&self, budget: &mut Budget, error: &Error) -> Result<Duration, u32> {
        budget.spend(&self.policy, &*self.jitter, error)
    }
}

/// Failures in a row of something that takes several requests.
#[cfg(feature = "rest")]
#[derive(Debug)]
pub(crate) struct Tries<'a> {
    retrying: &'a Retrying,
    budget: Budget,
}

#[cfg(feature = "rest")]
impl Tries<'_> {
    /// Waits for another try after `error`, or answers it when there is none left.
    pub(crate) async fn again(&mut self, error: Error) -> Result<()> {
        self.retrying.again(&mut self.budget, error).await
    }

    /// So many bytes came through: with enough of them all tries are there again.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.budget.advance(&self.retrying.policy, bytes);
    }
}
