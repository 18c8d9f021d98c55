//! Properties over random histories: every transaction is restored page by page as the database was
//! (I1), every restored state was committed (I5), and the database of the user is never changed by
//! us (I6).
//!
//! Every page is compared with what `SQLite` itself reads of the live database at the transaction,
//! leaves of the freelist included: `SQLite` need not log those, and the WAL and the database file may
//! hold different rests of them, but no history made a difference, so none is allowed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/bed.rs"]
mod bed;

use std::collections::BTreeMap;

use litestream::Target;
use ltx::Txid;
use testkit::hash::{self, Access};
use testkit::history::{AutoVacuum, CheckpointMode, Encoding, History, Options, committed_step_of};

use bed::{Bed, Engine};

/// What one run is like.
#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    options: Options,
    min_checkpoint_pages: u32,
    max_sync_wal_bytes: u64,
    truncate_pages: Option<u32>,
    rounds: u64,
}

/// A number derived from seed and purpose.
fn draw(seed: u64, purpose: u64, below: u64) -> u64 {
    let mut mixed =
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ (mixed >> 32)) % below
}

fn plan(seed: u64, page_size: u32) -> Plan {
    let pick = |purpose, of: usize| draw(seed, purpose, of as u64) as usize;
    Plan {
        seed,
        options: Options {
            page_size,
            auto_vacuum: AutoVacuum::ALL[pick(1, 3)],
            encoding: Encoding::ALL[pick(2, 3)],
            autocheckpoint: [0, 10, 1000][pick(3, 3)],
            content_limit: 40 * u64::from(page_size).max(4096),
            ..Options::default()
        },
        min_checkpoint_pages: [1, 10, 1000][pick(4, 3)],
        max_sync_wal_bytes: [1, 20_000, 0][pick(5, 3)],
        truncate_pages: [None, Some(5), Some(50)][pick(6, 3)],
        rounds: 30,
    }
}

fn compare(live: &[u8], restored: &[u8], page_size: usize, what: &str) {
    assert_eq!(live.len(), restored.len(), "{what}: size");
    let pages = live.chunks(page_size).zip(restored.chunks(page_size));
    let different: Vec<usize> = (1..)
        .zip(pages)
        .filter(|(_, (page, other))| page != other)
        .map(|(number, _)| number)
        .collect();
    assert_eq!(different, [] as [usize; 0], "{what}: pages that differ");
}

struct Run {
    bed: Bed,
    plan: Plan,
    images: BTreeMap<Txid, Vec<u8>>,
    hashes: BTreeMap<u64, String>,
}

impl Run {
    async fn sync(&mut self, engine: &Engine, history: &mut History) {
        let content = history.content_hash().unwrap();
        let cookie = schema_version(history);
        let step = committed_step_of(history.connection()).unwrap();
        let synced = engine.sync().await;
        let synced = synced.unwrap_or_else(|error| panic!("{:?}: {error}", self.plan));
        assert_eq!(synced.replicated, synced.txid);
        let image = hash::image(&self.bed.path, Access::Live).unwrap();
        self.images.insert(synced.txid.unwrap(), image);
        // I6: what the user sees is what the user wrote.
        assert_eq!(history.content_hash().unwrap(), content, "{:?}", self.plan);
        assert_eq!(schema_version(history), cookie, "{:?}", self.plan);
        self.hashes.insert(step, content);
    }

    /// Steps of the application, with now and then a checkpoint or a reader from outside.
    fn steps(&self, history: &mut History, round: u64) {
        let draw = |purpose, below| draw(self.plan.seed ^ round << 20, purpose, below);
        for _ in 0..draw(7, 5) {
            // Busy means that a checkpoint of the history met our reader: not the point here.
            history.step().unwrap();
        }
        match draw(8, 8) {
            0 => drop(history.checkpoint(CheckpointMode::Passive).unwrap()),
            1 => drop(history.checkpoint(CheckpointMode::Full).unwrap()),
            2 => drop(history.checkpoint(CheckpointMode::Restart).unwrap()),
            3 => drop(history.checkpoint(CheckpointMode::Truncate).unwrap()),
            4 => history.open_reader().unwrap(),
            5 => history.close_reader(),
            _ => {}
        }
    }

    async fn prove(&self, proved: &mut usize) {
        let page_size = self.plan.options.page_size as usize;
        for (txid, image) in &self.images {
            let output = self.bed.restore(Target::Txid(*txid)).await;
            let output = output.unwrap_or_else(|error| panic!("{txid}: {error}, {:?}", self.plan));
            let restored = std::fs::read(&output).unwrap();
            let what = format!("{txid} of {:?}", self.plan);
            compare(image, &restored, page_size, &what);
            *proved += 1;
            // I5: a committed step, with exactly its content.
            let view = hash::View::open(&output, Access::Rest).unwrap();
            let step = committed_step_of(view.connection()).unwrap();
            let content = hash::content_hash_of(view.connection()).unwrap();
            assert_eq!(
                self.hashes.get(&step),
                Some(&content),
                "{what}: step {step}"
            );
            drop(view);
            std::fs::remove_file(output).unwrap();
        }
    }
}

fn schema_version(history: &History) -> i64 {
    history
        .connection()
        .query_row("PRAGMA schema_version", [], |row| row.get(0))
        .unwrap()
}

async fn run(plan: Plan, proved: &mut usize) {
    let mut bed = Bed::empty();
    bed.settings.min_checkpoint_pages = plan.min_checkpoint_pages;
    bed.settings.max_sync_wal_bytes = plan.max_sync_wal_bytes;
    bed.settings.truncate_pages = plan.truncate_pages;
    let mut history = History::create(&bed.path, plan.seed, plan.options.clone()).unwrap();
    history.step().unwrap();
    let mut engine = bed.start();
    let mut run = Run {
        bed,
        plan,
        images: BTreeMap::new(),
        hashes: BTreeMap::new(),
    };
    for round in 0..run.plan.rounds {
        run.steps(&mut history, round);
        match draw(run.plan.seed ^ round << 20, 9, 10) {
            // Away for a while: what happens then is seen at the next start only.
            0 => {
                run.bed.clock.by(10_000);
                engine.stop().await;
                let step = committed_step_of(history.connection()).unwrap();
                run.hashes.insert(step, history.content_hash().unwrap());
                run.steps(&mut history, round + 1000);
                engine = run.bed.start();
            }
            1 => {
                engine.crash();
                run.steps(&mut history, round + 2000);
                engine = run.bed.start();
            }
            2 => drop(engine.database.snapshot().await.unwrap()),
            _ => {}
        }
        run.sync(&engine, &mut history).await;
    }
    engine.stop().await;
    let tables: i64 = history
        .connection()
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%litestream%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(tables, 0);
    run.prove(proved).await;
}

/// I1, I5, I6 for all page sizes. The seeds are fixed, so a failure comes again.
async fn page_sizes(sizes: &[u32], seeds: std::ops::Range<u64>) {
    let mut proved = 0;
    for size in sizes {
        for seed in seeds.clone() {
            run(plan(seed * 100_003 + u64::from(*size), *size), &mut proved).await;
        }
    }
    assert!(proved > 200, "only {proved} transactions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transaction_is_restored_page_by_page_with_small_pages() {
    page_sizes(&[512, 1024, 2048], 0..5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transaction_is_restored_page_by_page_with_usual_pages() {
    page_sizes(&[4096, 8192], 0..7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transaction_is_restored_page_by_page_with_large_pages() {
    page_sizes(&[16384, 32768, 65536], 0..3).await;
}
