//! Trying requests again inside a backend, where only the backend has what it takes.
//!
//! The parts of a large upload are the case: the wrapper cannot send a stream again, but the part
//! that failed is still in memory.

use std::sync::Arc;

use super::budget::Budget;
use crate::{Clock, Error, Jitter, Result, RetryPolicy};

/// How requests inside a backend are tried again.
#[derive(Debug, Clone)]
pub(crate) struct Retrying {
    pub(crate) policy: RetryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) jitter: Arc<dyn Jitter>,
}

impl Retrying {
    /// As [`persist`].
    #[cfg(any(feature = "rest", feature = "webdav"))]
    pub(crate) async fn persist<T, F>(&self, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        persist(&self.policy, &*self.clock, &*self.jitter, call).await
    }

    /// The tries of something that takes several requests.
    #[cfg(feature = "rest")]
    pub(crate) fn tries(&self) -> Tries<'_> {
        Tries {
            retrying: self,
            budget: Budget::default(),
        }
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
        let Retrying {
            policy,
            clock,
            jitter,
        } = self.retrying;
        spent(&mut self.budget, policy, &**clock, &**jitter, error).await
    }

    /// So many bytes came through: with enough of them all tries are there again.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.budget.advance(&self.retrying.policy, bytes);
    }
}

/// Calls until it works, or as often as `policy` allows. The error of the last try says how many
/// there were, and the wrapper takes it as final.
pub(crate) async fn persist<T, F>(
    policy: &RetryPolicy,
    clock: &dyn Clock,
    jitter: &dyn Jitter,
    mut call: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut budget = Budget::default();
    loop {
        match call().await {
            Ok(done) => return Ok(done),
            Err(error) => spent(&mut budget, policy, clock, jitter, error).await?,
        }
    }
}

async fn spent(
    budget: &mut Budget,
    policy: &RetryPolicy,
    clock: &dyn Clock,
    jitter: &dyn Jitter,
    error: Error,
) -> Result<()> {
    match budget.spend(policy, jitter, &error) {
        Ok(delay) => {
            clock.sleep(delay).await;
            Ok(())
        }
        Err(tries) => Err(error.with_tries(tries)),
    }
}
