//! Lets a bounded number of databases do at the same time what all of them do at once: start, stop.
//!
//! Waiting is first come first served. Who takes longer than the gate's patience goes on, but does
//! not count any more: a replica that hangs delays its own database, and others for an instant.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    patience: Duration,
}

impl Gate {
    pub(crate) fn new(at_once: usize, patience: Duration) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(at_once.max(1))),
            patience,
        }
    }

    /// Does `work` when it is its turn.
    pub(crate) async fn pass<T>(&self, work: impl Future<Output = T>) -> T {
        // The semaphore is never closed; were it, nobody would have to wait.
        let permit = self.permits.acquire().await;
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(self.patience) => {}
        }
        drop(permit);
        work.await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_keeps_its_place_for_an_instant_only() {
        let gate = Gate::new(2, Duration::from_millis(250));
        for _ in 0..2 {
            let gate = gate.clone();
            tokio::spawn(async move { gate.pass(pending::<()>()).await });
        }
        tokio::task::yield_now().await;
        let started = tokio::time::Instant::now();
        assert_eq!(gate.pass(async { 7 }).await, 7);
        assert_eq!(started.elapsed(), Duration::from_millis(250));
        // Those that hang do not count any more.
        let started = tokio::time::Instant::now();
        assert_eq!(gate.pass(async { 8 }).await, 8);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_at_once_and_in_order() {
        let gate = Gate::new(1, Duration::from_secs(1));
        let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..5 {
            let (gate, sender) = (gate.clone(), sender.clone());
            tokio::spawn(async move {
                let work = async {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    sender.send((number, tokio::time::Instant::now())).unwrap();
                };
                gate.pass(work).await;
            });
            tokio::task::yield_now().await;
        }
        let started = tokio::time::Instant::now();
        for number in 0..5 {
            let (came, at) = order.recv().await.unwrap();
            assert_eq!(came, number);
            assert_eq!(at - started, Duration::from_millis(10) * (number + 1));
        }
    }
}
