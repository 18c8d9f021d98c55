//! Trying one request again inside a backend, where only the backend has what it takes.
//!
//! The parts of a large upload are the case: the wrapper cannot send a stream again, but the part
//! that failed is still in memory.

use super::budget::Budget;
use crate::{Clock, Jitter, Result, RetryPolicy};

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
        let error = match call().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        match budget.spend(policy, jitter, &error) {
            Ok(delay) => clock.sleep(delay).await,
            Err(tries) => return Err(error.with_tries(tries)),
        }
    }
}
