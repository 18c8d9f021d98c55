//! How long things took.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Durations as they were measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<Duration>);

/// Quantiles of them, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// All zero when nothing was measured.
    pub(crate) fn summary(mut self) -> Summary {
        self.0.sort_unstable();
        let quantile = |part: f64| {
            let rank = (self.0.len() as f64 * part).ceil() as usize;
            let time = self.0.get(rank.saturating_sub(1));
            time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        Summary {
            p50: quantile(0.5),
            p99: quantile(0.99),
            max: quantile(1.0),
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p99, max } = self;
        write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}
