//! Whether the files of a level follow each other without a hole and without overlap.

use std::fmt;

use ltx::{Level, TxidRange};

use crate::replica::{RemoteFile, RemoteIndex};

/// What is wrong between two neighbours of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Where.
    pub(crate) level: Level,
    before: TxidRange,
    after: TxidRange,
}

impl Finding {
    /// The word for it that records carry.
    pub(crate) fn kind(&self) -> &'static str {
        if self.after.min < self.before.min {
            "unsorted"
        } else if self.after.min > self.before.max.next() {
            "gap"
        } else {
            "overlap"
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, level) = (self.kind(), self.level);
        let (before, after) = (self.before, self.after);
        write!(
            f,
            "{kind} at level {level}: {}-{} is followed by {}-{}",
            before.min, before.max, after.min, after.max
        )
    }
}

/// Compares neighbours in the order given.
///
/// A gap that a snapshot bridges is none: a replica that was left behind catches up by a snapshot,
/// and what follows builds on it.
pub(crate) fn check_level(index: &RemoteIndex, level: Level, files: &[RemoteFile]) -> Vec<Finding> {
    let neighbours = files.iter().zip(files.iter().skip(1));
    let found = neighbours.filter_map(|(before, after)| {
        let finding = Finding {
            level,
            before: before.range,
            after: after.range,
        };
        let is_wrong = after.range.min != before.range.max.next();
        let is_bridged = || finding.kind() == "gap" && bridged(index, after.range);
        (is_wrong && !is_bridged()).then_some(finding)
    });
    found.collect()
}

/// Whether a snapshot leads to where these transactions can be applied.
fn bridged(index: &RemoteIndex, after: TxidRange) -> bool {
    let mut snapshots = index.level(Level::SNAPSHOT).iter();
    snapshots.any(|file| file.range.max.next() >= after.min && file.range.max <= after.max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::tests::{file, index};

    fn check(files: &[(u64, u64)], snapshots: &[u64]) -> Vec<String> {
        let mut held = index(&[]);
        for max in snapshots {
            held.insert(file(9, 1, *max));
        }
        let files: Vec<_> = files.iter().map(|(min, max)| file(1, *min, *max)).collect();
        let found = check_level(&held, Level::new(1).unwrap(), &files);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn neighbours_are_compared() {
        assert_eq!(check(&[], &[]), [""; 0]);
        assert_eq!(check(&[(5, 9)], &[]), [""; 0]);
        assert_eq!(check(&[(1, 4), (5, 9), (10, 10)], &[]), [""; 0]);
        let gap = "gap at level 1: 0000000000000001-0000000000000004 is followed by \
                   0000000000000006-0000000000000009";
        assert_eq!(check(&[(1, 4), (6, 9)], &[]), [gap]);
        assert_eq!(check(&[(1, 4), (6, 9)], &[4, 12]), [gap]);
        assert_eq!(check(&[(1, 4), (6, 9)], &[4]), [gap]);
        assert_eq!(check(&[(1, 4), (6, 9)], &[5]), [""; 0]);
        assert_eq!(check(&[(1, 4), (6, 9)], &[6, 12]), [""; 0]);
        let kinds = |files: &[(u64, u64)]| {
            let found = check(files, &[]);
            found
                .iter()
                .map(|text| text.split(' ').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(&[(1, 4), (4, 9)]), ["overlap"]);
        assert_eq!(kinds(&[(5, 9), (1, 4)]), ["unsorted"]);
        assert_eq!(kinds(&[(1, 2), (4, 5), (5, 7)]), ["gap", "overlap"]);
    }
}
