//! When which transactions were seen, in a bounded number of spans.
//!
//! Invariant: the age it answers is never below the true one, and the bytes never below the bytes
//! noted: spans are only joined, and a joined span is as old as its oldest transaction.

use std::collections::VecDeque;

use ltx::Txid;
use tokio::time::Instant;

/// More spans than this are joined in pairs.
const MOST: usize = 64;

/// Neighbouring transactions.
#[derive(Debug, Clone, Copy)]
struct Span {
    last: Txid,
    seen: Instant,
    bytes: u64,
}

/// See the module. Takes no memory while everything is acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    spans: VecDeque<Span>,
}

impl Timeline {
    /// Notes that transactions up to `last` were captured from `bytes` of WAL; the oldest of them was
    /// seen at `seen`.
    pub(crate) fn note(&mut self, last: Txid, seen: Instant, bytes: u64) {
        if self.spans.back().is_some_and(|span| span.last >= last) {
            return;
        }
        if self.spans.len() == MOST {
            self.join();
        }
        self.spans.push_back(Span { last, seen, bytes });
    }

    /// Forgets what all replicas have.
    pub(crate) fn acknowledged(&mut self, all: Txid) {
        while self.spans.front().is_some_and(|span| span.last <= all) {
            self.spans.pop_front();
        }
        if self.spans.is_empty() {
            self.spans = VecDeque::new();
        }
    }

    /// When the oldest transaction above `acknowledged` was seen, and the bytes of all above it.
    pub(crate) fn above(&self, acknowledged: Option<Txid>) -> Option<(Instant, u64)> {
        let mut above = self
            .spans
            .iter()
            .filter(|span| Some(span.last) > acknowledged);
        let first = above.next()?;
        let bytes = above.fold(first.bytes, |sum, span| sum.saturating_add(span.bytes));
        Some((first.seen, bytes))
    }

    fn join(&mut self) {
        let old = std::mem::take(&mut self.spans);
        let mut spans = old.into_iter();
        while let Some(first) = spans.next() {
            self.spans.push_back(match spans.next() {
                Some(second) => Span {
                    last: second.last,
                    seen: first.seen,
                    bytes: first.bytes.saturating_add(second.bytes),
                },
                None => first,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn txid(number: u64) -> Txid {
        Txid::new(number).unwrap()
    }

    #[test]
    fn answers_the_oldest_that_is_missing() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut timeline = Timeline::default();
        assert_eq!(timeline.above(None), None);
        timeline.note(txid(3), at(1), 100);
        timeline.note(txid(4), at(2), 10);
        // What is known already stays as it is.
        timeline.note(txid(4), at(9), 10);
        assert_eq!(timeline.above(None), Some((at(1), 110)));
        assert_eq!(timeline.above(Some(txid(2))), Some((at(1), 110)));
        assert_eq!(timeline.above(Some(txid(3))), Some((at(2), 10)));
        assert_eq!(timeline.above(Some(txid(4))), None);
        timeline.acknowledged(txid(3));
        assert_eq!(timeline.above(None), Some((at(2), 10)));
        timeline.acknowledged(txid(4));
        assert_eq!(timeline.spans.capacity(), 0);
    }

    #[test]
    fn never_answers_too_young_or_too_little() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut timeline = Timeline::default();
        for number in 1..=10_000 {
            timeline.note(txid(number), at(number), 1);
            assert!(timeline.spans.len() <= MOST);
        }
        for number in 0..10_000 {
            let (seen, bytes) = timeline.above(Txid::new(number)).unwrap();
            assert!(seen <= at(number + 1), "age of {number}");
            assert!(bytes >= 10_000 - number, "bytes above {number}");
        }
        assert_eq!(timeline.above(Txid::new(10_000)), None);
    }
}
