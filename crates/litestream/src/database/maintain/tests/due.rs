//! What is due when.

use std::time::Duration;

use super::super::chores::{Chore, Line, Passed, first_due};
use super::bed::{Bed, HOUR, MINUTE, SECOND, START, level, txid};
use crate::compact;
use crate::restore::Target;
use crate::settings::RetentionSettings;
use ltx::{Level, Timestamp, Txid, TxidRange};

use crate::replica::{RemoteFile, RemoteIndex};

fn file(level: u8, min: u64, max: u64, created: i64) -> RemoteFile {
    RemoteFile {
        level: Level::new(level).unwrap(),
        range: TxidRange::new(txid(min), txid(max)).unwrap(),
        size: 1,
        created: Timestamp::from_millis(created),
    }
}

fn due(index: &RemoteIndex, line: Line) -> Option<(i64, Chore)> {
    due_after(index, line, &Passed::default())
}

fn due_after(index: &RemoteIndex, line: Line, passed: &Passed) -> Option<(i64, Chore)> {
    let acknowledged: Option<Txid> = index.max();
    let settings = RetentionSettings::default();
    let due = first_due(&settings, index, acknowledged, line, passed);
    due.map(|(at, chore)| (at.as_millis(), chore))
}

#[test]
fn expired_files_are_deleted_many_at_a_time() {
    let settings = RetentionSettings::default();
    let mut index = RemoteIndex::default();
    for n in 2..=21 {
        index.insert(file(0, n, n, (n as i64 - 1) * SECOND));
    }
    index.insert(file(1, 2, 21, 20 * SECOND));
    index.insert(file(2, 2, 21, 20 * SECOND));
    index.insert(file(3, 2, 21, 20 * SECOND));
    // 300 s after the last file but one, and then at the next of the looks, which are 15 s apart.
    assert_eq!(
        due(&index, Line::Ladder),
        Some((330 * SECOND, Chore::RetainRaw))
    );
    let at = Timestamp::from_millis(330 * SECOND);
    let expired = compact::raw_to_delete(&index, settings.l0_retention, at);
    assert_eq!(expired.len(), 19);
}

#[test]
fn a_level_takes_what_is_new_at_the_end_of_its_interval() {
    let mut index = RemoteIndex::default();
    index.insert(file(9, 1, 1, START));
    index.insert(file(0, 2, 2, START + 5 * SECOND));
    index.insert(file(0, 3, 3, START + 29 * SECOND));
    let first = (START + 30 * SECOND, Chore::Compact(level(1)));
    assert_eq!(due(&index, Line::Ladder), Some(first));
    // A file of the interval that has been compacted came late: not twice an interval.
    index.insert(file(1, 2, 2, START + 5 * SECOND));
    assert_eq!(due(&index, Line::Ladder), Some(first));
    let mut passed = Passed::default();
    passed.compacted(level(1), false, Timestamp::from_millis(START + 30 * SECOND));
    let next = (START + 60 * SECOND, Chore::Compact(level(1)));
    assert_eq!(due_after(&index, Line::Ladder, &passed), Some(next));
    // What did not fit into a batch does not wait.
    passed.compacted(level(1), true, Timestamp::from_millis(START + 31 * SECOND));
    assert_eq!(due_after(&index, Line::Ladder, &passed), Some(first));
}

#[test]
fn a_snapshot_comes_once_an_interval_and_only_if_there_is_something_new() {
    let mut index = RemoteIndex::default();
    assert_eq!(due(&index, Line::Snapshots), None);
    index.insert(file(0, 2, 2, START));
    assert_eq!(due(&index, Line::Snapshots), Some((0, Chore::Snapshot)));
    index.insert(file(9, 1, 2, START + HOUR));
    assert_eq!(due(&index, Line::Snapshots), None);
    index.insert(file(0, 3, 3, START + 2 * HOUR));
    assert_eq!(
        due(&index, Line::Snapshots),
        Some((START + 24 * HOUR, Chore::Snapshot))
    );
}

/// A database whose base is too large for level 0.
fn large() -> Bed {
    let bed = Bed::in_memory(RetentionSettings::default());
    let fill = "CREATE TABLE large AS SELECT randomblob(600000) AS content";
    bed.application.execute_batch(fill).unwrap();
    bed
}

/// A small base goes to level 0, and from there to the snapshot level, as it is: the ladder begins behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_base_is_copied_to_the_snapshot_level() {
    let mut bed = Bed::in_memory(RetentionSettings::default());
    bed.commits(1).await;
    assert_eq!((bed.level(0), bed.level(9)), (vec![(1, 1)], vec![]));
    let (at, chore) = bed.due().unwrap();
    let soon = START + MINUTE + 5 * SECOND;
    assert_eq!((at.as_millis(), chore), (soon, Chore::Snapshot));
    bed.prove_from(txid(1)).await;
    bed.pass(HOUR).await;
    let objects = bed.objects.snapshot();
    let contents: Vec<_> = objects.values().map(|object| &object.content).collect();
    assert_eq!(contents.len(), 2);
    assert!(contents[0] == contents[1], "byte for byte");
    assert_eq!((bed.level(0), bed.level(9)), (vec![(1, 1)], vec![(1, 1)]));
    assert_eq!(bed.due(), None);

    bed.commits(2).await;
    bed.pass(2 * HOUR).await;
    assert_eq!(bed.level(1), [(2, 3)]);
    assert_eq!((bed.level(0), bed.level(9)), (vec![(3, 3)], vec![(1, 1)]));
    bed.prove_from(txid(3)).await;
    bed.close().await;
}

/// Also where more came meanwhile, or the local file is gone. After a restart it does not wait again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_is_copied_whatever_came_meanwhile() {
    let mut bed = Bed::in_memory(RetentionSettings::default());
    bed.commits(2).await;
    bed.pass(6 * SECOND).await;
    assert_eq!((bed.level(0).len(), bed.level(9)), (2, vec![(1, 1)]));
    bed.pass(HOUR).await;
    bed.prove_from(txid(1)).await;
    bed.close().await;

    let mut bed = Bed::in_memory(RetentionSettings::default());
    bed.commits(3).await;
    bed.reopen();
    bed.clock.pass(MINUTE);
    bed.database.sync_and_wait().await.unwrap();
    let (at, chore) = bed.due().unwrap();
    assert!(at < bed.now() && chore == Chore::Snapshot);
    std::fs::remove_file(bed.database.inner.local.file(txid(1))).unwrap();
    bed.perform(chore).await.unwrap();
    assert_eq!(bed.level(9), [(1, 1)]);
    bed.prove_from(txid(1)).await;
    bed.close().await;
}

/// A large base goes to the snapshot level and nowhere else; the ladder begins behind it. Unless more
/// came meanwhile, level 0 gets a transaction that changes nothing, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_base_is_uploaded_once_and_marked_in_level_zero() {
    let mut bed = large();
    bed.commits(1).await;
    assert_eq!(bed.names(), ["ltx/9/0000000000000001-0000000000000001.ltx"]);
    let (at, chore) = bed.due().unwrap();
    let soon = START + MINUTE + 2 * SECOND;
    assert_eq!((at.as_millis(), chore), (soon, Chore::Mark));
    bed.pass_to(Timestamp::from_millis(at.as_millis() + 1))
        .await;
    assert_eq!((bed.level(0), bed.level(9)), (vec![(2, 2)], vec![(1, 1)]));
    bed.states.insert(txid(2), bed.live());
    bed.prove_from(txid(1)).await;
    // From there on the ladder is as ever.
    bed.commits(2).await;
    bed.pass(2 * HOUR).await;
    assert_eq!(
        (bed.level(1).first(), bed.level(3)),
        (Some(&(2, 4)), vec![(2, 4)])
    );
    assert_eq!((bed.level(0), bed.level(9)), (vec![(4, 4)], vec![(1, 1)]));
    bed.prove_from(txid(4)).await;
    bed.close().await;
}

/// A real transaction in time makes the mark needless, and at the end there is one as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn level_zero_is_marked_before_the_end() {
    let mut bed = large();
    bed.commits(2).await;
    let (_, chore) = bed.due().unwrap();
    assert_eq!(chore, Chore::Compact(level(1)));

    let mut other = large();
    other.commits(1).await;
    let (objects, content) = (other.objects.clone(), other.live());
    other.close().await;
    bed.objects.restore(objects.snapshot());
    assert_eq!((bed.level(0), bed.level(9)), (vec![(2, 2)], vec![(1, 1)]));
    assert_eq!(bed.content(Target::Latest).await.unwrap(), content);
}

/// After a restart the last compaction and the last snapshot are known from the replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_does_not_repeat_what_was_done_in_the_interval() {
    let settings = RetentionSettings {
        levels: vec![Duration::from_mins(10)],
        l0_retention: Duration::from_hours(1),
        ..RetentionSettings::default()
    };
    let mut bed = Bed::in_memory(settings);
    bed.commits(3).await;
    bed.pass(10 * MINUTE).await;
    let before = bed.names();
    assert_eq!(bed.level(1), [(2, 3)]);
    bed.commits(1).await;
    bed.reopen();
    bed.database.sync_and_wait().await.unwrap();
    let (at, chore) = bed.due().unwrap();
    assert_eq!(
        (at.as_millis(), chore),
        (START + 20 * MINUTE, Chore::Compact(level(1)))
    );
    bed.pass(5 * MINUTE).await;
    assert_eq!(bed.names().len(), before.len() + 1, "the level-0 file only");
    bed.close().await;
}
