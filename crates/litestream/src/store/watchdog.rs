//! Looks at every database in turn, so that nothing depends on events alone.
//!
//! A round over all databases takes a second, or longer where there are so many that the looks would
//! cost more than their share of a core. Within a round they are spread over its time, so that there
//! is no moment at which everything happens at once.
//!
//! Databases that the system does not tell of their writes are looked at once a second all the
//! same, or once per monitor interval if that is shorter: for them this is the only sign.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Store;

/// A round takes so long at least.
const ROUND: Duration = Duration::from_secs(1);
/// And so long at most, whatever it costs: it bounds the lag after a lost event.
const LONGEST_ROUND: Duration = Duration::from_secs(10);
/// A round that has only events to make up for may cost one part of so many of a core.
const SHARE: u32 = 250;
/// Databases looked at without a pause.
const BATCH: usize = 256;
/// Polling is not done more often than that.
const SHORTEST_ROUND: Duration = Duration::from_millis(10);

/// Starts the rounds; they end with the store.
pub(super) fn start(store: &Arc<Store>) -> JoinHandle<()> {
    let store = Arc::downgrade(store);
    tokio::spawn(async move {
        let mut round = Round::default();
        while let Some(pause) = round.batch(&store) {
            tokio::time::sleep(pause).await;
        }
    })
}

/// Where the round stands.
#[derive(Default)]
struct Round {
    last: Option<u64>,
    /// What the round has cost, and how many looks that were.
    cost: Duration,
    looks: u32,
    /// The shortest interval of a database that has to be polled.
    polled: Option<Duration>,
    length: Duration,
}

impl Round {
    /// Looks at the next databases; says how long to wait for the ones after, `None` when the store
    /// is gone.
    fn batch(&mut self, store: &Weak<Store>) -> Option<Duration> {
        let store = store.upgrade()?;
        let (databases, last) = store.registry.some_after(self.last, BATCH);
        let started = Instant::now();
        for database in &databases {
            if let Some(interval) = database.check() {
                self.polled = Some(self.polled.map_or(interval, |least| least.min(interval)));
            }
        }
        self.cost += started.elapsed();
        self.looks += databases.len() as u32;
        let batches = u32::try_from(store.registry.len().div_ceil(BATCH)).unwrap_or(u32::MAX);
        if databases.len() < BATCH {
            self.length = length(self.cost, self.polled);
            *self = Self {
                length: self.length,
                ..Self::default()
            };
        } else {
            self.last = Some(last);
        }
        let length = self.length.max(SHORTEST_ROUND);
        Some(length / batches.max(1))
    }
}

/// How long a round may take that costs so much.
fn length(cost: Duration, polled: Option<Duration>) -> Duration {
    let fair = (cost * SHARE).clamp(ROUND, LONGEST_ROUND);
    match polled {
        Some(interval) => interval.clamp(SHORTEST_ROUND, ROUND),
        None => fair,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_costs_its_share_and_no_more() {
        let ms = Duration::from_millis;
        // A thousand databases: 1 ms of looks each second.
        assert_eq!(length(ms(1), None), ROUND);
        // Ten thousand: 20 ms, so every five seconds.
        assert_eq!(length(ms(20), None), Duration::from_secs(5));
        assert_eq!(length(ms(500), None), LONGEST_ROUND);
        // Without events there is nothing else than looking.
        assert_eq!(length(ms(500), Some(ROUND)), ROUND);
        assert_eq!(length(ms(1), Some(ms(100))), ms(100));
        assert_eq!(length(ms(1), Some(ms(0))), SHORTEST_ROUND);
    }
}
