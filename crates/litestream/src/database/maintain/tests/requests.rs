//! What an hour costs in requests, against what Litestream v0.5 makes of the same history.
//!
//! Its cost is known from its source and was measured: two listings every 15 s, whatever happens;
//! per compaction a listing of the level below and one put, and one get per input above level 1;
//! a base image on every level; a deletion request whenever something has expired.

use std::sync::Arc;

use litestream_storage::{Key, MemoryStore, Metered, ObjectStore, Operation, SystemClock};
use ltx::Timestamp;

use super::bed::{Bed, HOUR, SECOND, START, Set};
use crate::settings::RetentionSettings;

fn metered() -> (Bed, Arc<Metered<MemoryStore>>) {
    let objects = MemoryStore::new();
    let remote = Arc::new(Metered::new(objects.clone(), Arc::new(SystemClock::new())));
    let seen: Arc<dyn ObjectStore> = remote.clone();
    let bed = Bed::new(RetentionSettings::default(), objects, Set::at(START), seen);
    (bed, remote)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_writes_costs_less_than_the_reference_and_the_base_once() {
    let (mut bed, remote) = metered();
    let insert = "INSERT INTO t(x) SELECT randomblob(2000000)";
    bed.application.execute(insert, []).unwrap();
    bed.sync().await.unwrap();
    let commits = 360;
    for n in 1..=commits {
        bed.pass_to(Timestamp::from_millis(START + n * 10 * SECOND))
            .await;
        let sql = "INSERT INTO t(x) SELECT randomblob(100)";
        bed.application.execute(sql, []).unwrap();
        bed.sync().await.unwrap();
    }
    bed.pass_to(Timestamp::from_millis(START + HOUR + SECOND))
        .await;
    let calls = |operation| remote.meter().counts(operation).calls;

    let commits = commits.cast_unsigned();
    let (ones, twos, threes) = (120, 12, 1);
    let reference_puts = 5 + commits + ones + twos + threes;
    let reference_gets = ones / twos * twos + twos / threes;
    let reference_lists = 480 + ones + twos + threes;
    assert_eq!(
        calls(Operation::List),
        1,
        "the reference: {reference_lists}"
    );
    assert_eq!(calls(Operation::Head), 1, "that there is no other base");
    assert_eq!(calls(Operation::Get), reference_gets);
    let puts = calls(Operation::Put);
    assert_eq!(
        puts,
        reference_puts - 3,
        "the base goes to one level instead of five, and its mark to level 0"
    );
    // What one file of level 1 covers goes in one request; the reference needs two, one per look.
    assert!(
        calls(Operation::Delete) <= ones,
        "{}",
        calls(Operation::Delete)
    );

    let bytes = remote.meter().counts(Operation::Put).bytes;
    let base = bed.objects.snapshot();
    let base = base
        .iter()
        .find(|(key, _)| key.as_str().starts_with("ltx/9/"));
    let base = base.unwrap().1.content.len() as u64;
    assert!(base > 2_000_000);
    // 360 commits of two or three pages, each on four levels.
    assert!(
        bytes < base + 4 * commits * 3 * 2048,
        "{bytes}, the base has {base}"
    );
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_database_costs_nothing() {
    let (mut bed, remote) = metered();
    bed.commits(3).await;
    // The last hour, the last day, the last look at what has expired.
    bed.pass(50 * HOUR).await;
    assert_eq!(bed.due(), None, "nothing is ever due again");
    let before = remote.meter().calls();
    for _ in 0..60 {
        bed.pass(60 * SECOND).await;
        bed.database.sync().await.unwrap();
    }
    assert_eq!(remote.meter().calls(), before);
    bed.close().await;
}

/// What is verified costs one listing of one level per compaction, no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_costs_a_listing_per_compaction() {
    let (mut bed, remote) = metered();
    bed.settings.verify_compaction = true;
    bed.settings.levels.truncate(1);
    bed.reopen();
    for _ in 0..4 {
        bed.commits(1).await;
        bed.pass(60 * SECOND).await;
    }
    let compactions = bed.level(1).len() as u64;
    assert!(compactions >= 2);
    let lists = remote.meter().counts(Operation::List).calls;
    assert_eq!(lists, 1 + compactions);
    assert_eq!(bed.database.metrics().compaction_verify_errors, 0);

    // A file of the level is lost: the next compaction tells of it, and is done all the same.
    let (min, max) = bed.level(1)[1];
    let lost = format!("ltx/1/{min:016x}-{max:016x}.ltx");
    let mut objects = bed.objects.snapshot();
    assert!(objects.remove(&Key::new(lost)).is_some());
    bed.objects.restore(objects);
    bed.commits(1).await;
    bed.pass(60 * SECOND).await;
    assert_eq!(bed.database.metrics().compaction_verify_errors, 1);
    let newest = bed.states.keys().last().unwrap().get();
    assert_eq!(bed.level(1).last(), Some(&(newest, newest)));
    bed.close().await;
}
