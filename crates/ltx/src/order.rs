//! Which page numbers may follow each other in a file.
//!
//! A snapshot holds the pages 1 to commit without the lock page; any other file holds ascending
//! page numbers up to commit, also without the lock page.

use crate::error::Cause;
use crate::header::Header;
use crate::page::Pgno;

/// The rules of one output: the last page and what may follow.
pub(crate) struct PageOrder {
    commit: u32,
    lock: u32,
    is_snapshot: bool,
    previous: u32,
}

impl PageOrder {
    pub(crate) fn new(header: &Header) -> Self {
        Self {
            commit: header.commit,
            lock: header.page_size.lock_page().get(),
            is_snapshot: header.is_snapshot(),
            previous: 0,
        }
    }

    /// The rule that comes before the size of the page is looked at.
    pub(crate) fn check_bounds(&self, pgno: Pgno) -> Result<(), Cause> {
        if pgno.get() > self.commit {
            return Err(Cause::OutOfBounds {
                pgno: pgno.get(),
                commit: self.commit,
            });
        }
        Ok(())
    }

    /// Takes the next page, or says why it cannot come next.
    pub(crate) fn advance(&mut self, pgno: Pgno) -> Result<(), Cause> {
        self.check_bounds(pgno)?;
        let (previous, next) = (self.previous, pgno.get());
        if next == self.lock {
            return Err(Cause::LockPage(next));
        }
        if self.is_snapshot {
            if previous == 0 && next != 1 {
                return Err(Cause::SnapshotStart(next));
            }
            let skips_lock = previous + 1 == self.lock;
            if skips_lock && next != self.lock + 1 {
                return Err(Cause::SnapshotLockPage(previous, next));
            }
            if !skips_lock && next != previous + 1 {
                return Err(Cause::SnapshotOrder(previous, next));
            }
        } else if next <= previous {
            return Err(Cause::PageOrder(previous, next));
        }
        self.previous = next;
        Ok(())
    }

    /// Checks at the end that a snapshot has all its pages.
    pub(crate) fn finish(&self) -> Result<(), Cause> {
        if !self.is_snapshot || self.commit == 0 {
            return Ok(());
        }
        let last = if self.commit == self.lock {
            self.lock - 1
        } else {
            self.commit
        };
        if self.previous == last {
            return Ok(());
        }
        let next = self.previous + 1;
        let missing = if next == self.lock { next + 1 } else { next };
        Err(Cause::SnapshotIncomplete {
            missing,
            last: self.previous,
            commit: self.commit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PageSize, Timestamp, Txid, TxidRange};

    fn order(txid: u64, commit: u32) -> PageOrder {
        let range = TxidRange::single(Txid::new(txid).expect("not zero"));
        PageOrder::new(&Header::new(
            PageSize::MAX,
            commit,
            range,
            Timestamp::from_millis(0),
        ))
    }

    fn run(order: &mut PageOrder, pages: impl IntoIterator<Item = u32>) -> String {
        let result = pages
            .into_iter()
            .try_for_each(|page| order.advance(Pgno::new(page).expect("not zero")));
        result.map_or_else(|cause| cause.to_string(), |()| String::new())
    }

    #[test]
    fn a_snapshot_has_every_page_but_the_lock_page() {
        let lock = 16_385;
        let mut all = order(1, lock + 2);
        assert_eq!(run(&mut all, (1..lock).chain([lock + 1, lock + 2])), "");
        assert!(all.finish().is_ok());

        let mut at_lock = order(1, lock);
        assert_eq!(run(&mut at_lock, 1..lock), "");
        assert!(at_lock.finish().is_ok());

        let mut before = order(1, lock + 1);
        assert_eq!(run(&mut before, 1..lock), "");
        let missing = before
            .finish()
            .expect_err("one page is missing")
            .to_string();
        assert!(missing.contains("decode page 16386: EOF"), "{missing}");
        assert_eq!(
            run(&mut before, [lock]),
            "cannot encode lock page: pgno=16385"
        );

        let mut gap = order(1, lock + 2);
        let words =
            "nonsequential page numbers in snapshot transaction (skip lock page): 16384,16387";
        assert_eq!(run(&mut gap, (1..lock).chain([lock + 2])), words);
    }

    #[test]
    fn order_and_bounds() {
        assert!(
            run(&mut order(1, 3), [2]).starts_with("snapshot transaction file must start with")
        );
        assert_eq!(
            run(&mut order(1, 9), [1, 3]),
            "nonsequential page numbers in snapshot transaction: 1,3"
        );
        assert_eq!(
            run(&mut order(2, 9), [3, 7, 7]),
            "out-of-order page numbers: 7,7"
        );
        assert_eq!(
            run(&mut order(2, 9), [10]),
            "page number 10 out-of-bounds for commit size 9"
        );
        assert!(order(2, 9).finish().is_ok());
        assert!(order(1, 9).finish().is_err());
    }
}
