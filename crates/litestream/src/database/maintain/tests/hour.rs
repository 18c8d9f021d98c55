//! An hour of random writes with compaction, snapshots and retention, with failing requests and
//! restarts: at every moment every state that must be there is restored as it was.
//!
//! `LITESTREAM_TEST_SEEDS` sets how many hours are tried.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use litestream_storage::{ErrorKind, Fault, Faulty, MemoryStore, ObjectStore};
use ltx::Timestamp;

use super::super::chores::Chore;
use super::super::is_whole;
use super::bed::{Bed, HOUR, SECOND, START, Set};
use super::model::{Observed, Policy};
use crate::restore::Target;
use crate::settings::RetentionSettings;

const SEEDS: u64 = 6;

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn minutes(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_mins(low + self.below(high - low + 1))
    }
}

fn settings(random: &mut Random) -> RetentionSettings {
    let mut interval = 20 + 10 * random.below(3);
    let levels = (0..=random.below(4)).map(|_| {
        let this = Duration::from_secs(interval);
        interval *= 2 + random.below(5);
        this
    });
    RetentionSettings {
        levels: levels.collect(),
        snapshot_interval: random.minutes(5, 20),
        snapshot_retention: random.minutes(6, 30),
        l0_retention: random.minutes(1, 5),
        verify_compaction: random.below(2) == 0,
        ..RetentionSettings::default()
    }
}

/// Whether no request fails.
fn is_calm(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

/// Requests fail at random.
fn break_sometimes(remote: &Faulty<Observed>, seed: u64) {
    let rate = if is_calm(seed) { 0 } else { seed % 3 * 2 };
    let state = AtomicU64::new(seed);
    remote.when(move |_| {
        let mut random = Random(state.load(Ordering::Relaxed));
        let number = random.next();
        state.store(random.0, Ordering::Relaxed);
        let kind = ErrorKind::Io;
        let fault = match number / 100 % 3 {
            0 => Fault::Before(kind),
            1 => Fault::After(kind),
            _ => Fault::Break {
                after: number / 300 % 4000,
                kind,
            },
        };
        (number % 100 < rate).then_some(fault)
    });
}

fn write(bed: &Bed, random: &mut Random) {
    let row = random.below(40);
    let sql = match random.below(20) {
        0..=7 => format!(
            "INSERT INTO t(x) SELECT randomblob({})",
            1 + random.below(6000)
        ),
        8..=14 => format!(
            "UPDATE t SET x = randomblob({}) WHERE id % 40 = {row}",
            1 + random.below(3000)
        ),
        15..=17 => format!("DELETE FROM t WHERE id % 20 = {}", row / 2),
        18 => "DELETE FROM t WHERE id % 3 = 0; VACUUM".to_owned(),
        _ => {
            "CREATE TABLE IF NOT EXISTS u(y); INSERT INTO u SELECT x FROM t LIMIT 2; DELETE FROM u"
                .to_owned()
        }
    };
    bed.application.execute_batch(&sql).unwrap();
}

/// Does a chore; after an error, what the loop does.
async fn try_chore(bed: &mut Bed, chore: Chore) {
    if bed.perform(chore).await.is_ok() {
        return;
    }
    bed.clock.pass(30 * SECOND);
    while bed.replica().ensure_index().await.is_err() {
        bed.clock.pass(30 * SECOND);
    }
    bed.passed[1].hole = !is_whole(bed.replica());
}

async fn an_hour(seed: u64) -> u64 {
    let mut random = Random(seed);
    let settings = settings(&mut random);
    let (objects, clock) = (MemoryStore::new(), Set::at(START));
    let policy = Policy {
        l0_retention: settings.l0_retention,
        snapshot_retention: settings.snapshot_retention,
    };
    let observed = Observed::new(objects.clone(), Arc::clone(&clock), policy);
    let remote = Arc::new(Faulty::new(observed));
    break_sometimes(&remote, seed);
    let store: Arc<dyn ObjectStore> = remote.clone();
    let mut bed = Bed::new(settings, objects, clock, store);
    let end = START + HOUR;
    while bed.now().as_millis() < end {
        // Mostly busy, sometimes quiet for minutes.
        let pause = match random.below(25) {
            0 => random.below(400),
            _ => random.below(20),
        };
        let next =
            Timestamp::from_millis(bed.now().as_millis() + i64::try_from(pause).unwrap() * SECOND);
        while let Some((at, chore)) = bed.due().filter(|(at, _)| *at <= next) {
            bed.clock.move_to(at);
            try_chore(&mut bed, chore).await;
            if is_calm(seed) {
                remote.inner().check_at_rest();
            }
        }
        bed.clock.move_to(next);
        write(&bed, &mut random);
        // A failed upload is made good by the next one.
        let synced = bed.sync().await;
        if random.below(60) == 0 {
            bed.reopen();
        }
        if random.below(60) == 0
            && let Ok(txid) = synced
        {
            let live = bed.live();
            assert_eq!(bed.content(Target::Latest).await.unwrap(), live);
            assert_eq!(bed.content(Target::Txid(txid)).await.unwrap(), live);
        }
    }
    remote.heal();
    bed.sync().await.unwrap();
    bed.pass(30 * SECOND).await;
    assert_eq!(bed.content(Target::Latest).await.unwrap(), bed.live());
    bed.close().await;
    remote.inner().checks()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_state_is_restored_at_every_moment_of_an_hour() {
    let seeds = std::env::var("LITESTREAM_TEST_SEEDS");
    let seeds = seeds.map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    for seed in 1..=seeds {
        let hour = AssertUnwindSafe(an_hour(seed)).catch_unwind().await;
        let checks = hour.unwrap_or_else(|_| panic!("it was seed {seed}"));
        assert!(
            checks > 200,
            "seed {seed}: only {checks} states were compared"
        );
    }
}
