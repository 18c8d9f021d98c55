//! File system calls off the asynchronous threads.
//!
//! One call of [`run`] is one hop to the blocking pool. Callers do as much as they can in one hop:
//! a small put or get is exactly one.

use crate::{Error, ErrorKind, Lane, Operation, Result};

/// Runs `work` on the blocking pool. When the caller goes away `work` still runs to its end, and
/// what it returns is dropped. A panic in `work` goes on in the caller.
pub(crate) async fn run<T: Send + 'static>(
    operation: Operation,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::new(ErrorKind::Cancelled, operation).with_source(error)),
    }
}

/// As [`run`], in the lane. If the caller goes away before it begins, it never does.
pub(crate) async fn run_in<T: Send + 'static>(
    lane: &Lane,
    operation: Operation,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended = |error| Error::new(ErrorKind::Cancelled, operation).with_source(error);
    lane.run(work).await.map_err(ended)?
}
