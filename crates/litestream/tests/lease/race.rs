//! Several processes want one lease while requests are late or lost, clocks are wrong and
//! processes die: at no moment do two hold it, and when the faults end one does.

use std::sync::Arc;
use std::time::Duration;

use litestream::{Lease, LeaseSettings};
use litestream_storage::{Clock, MemoryStore, ObjectStore};

use super::clocks::Skewed;
use super::stores::{Far, Random};

const PROCESSES: usize = 3;
/// The state is looked at so often.
const LOOK: Duration = Duration::from_millis(250);
/// For so many looks there are faults.
const LOOKS: u64 = 2_000;

fn settings(owner: usize) -> LeaseSettings {
    LeaseSettings::new(format!("process-{owner}"))
}

/// One process: its clock, which stays wrong as it is, and its lease while it lives.
struct Process {
    clock: Arc<Skewed>,
    store: Arc<Far>,
    lease: Option<Lease>,
}

impl Process {
    fn start(&mut self, number: usize) {
        let lease = Lease::new(
            Arc::clone(&self.store) as Arc<dyn ObjectStore>,
            settings(number),
            Arc::clone(&self.clock) as Arc<dyn Clock>,
        );
        lease.start(|| {});
        self.lease = Some(lease);
    }

    fn holds(&self) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.state().is_held())
    }
}

fn processes(seed: u64, loss: u64) -> (MemoryStore, Vec<Process>) {
    let store = MemoryStore::new();
    let margin = settings(0).margin().as_millis() as u64;
    let mut random = Random(seed);
    let processes = (0..PROCESSES).map(|number| Process {
        // Each pair of clocks is apart by the margin at most.
        clock: Skewed::by(random.below(margin + 1) as i64),
        store: Arc::new(Far {
            store: store.clone(),
            random: Random(seed * 31 + number as u64).into(),
            longest: 9_000,
            loss,
        }),
        lease: None,
    });
    let processes = processes.collect();
    (store, processes)
}

/// Runs one seed and answers how often the lease changed hands.
async fn run(seed: u64) -> u32 {
    let (_store, mut processes) = processes(seed, 12);
    let mut random = Random(!seed);
    let (mut last, mut changes) = (None, 0);
    for (number, process) in processes.iter_mut().enumerate() {
        process.start(number);
    }
    for look in 0..LOOKS {
        tokio::time::sleep(LOOK).await;
        let holders: Vec<usize> = (0..PROCESSES).filter(|at| processes[*at].holds()).collect();
        assert!(
            holders.len() <= 1,
            "seed {seed}, look {look}: {holders:?} hold"
        );
        if let Some(holder) = holders.first().copied()
            && last != Some(holder)
        {
            (last, changes) = (Some(holder), changes + 1);
        }
        let at = random.below(PROCESSES as u64) as usize;
        match random.below(200) {
            // Killed: nothing is given back.
            0 => processes[at].lease = None,
            // Stopped.
            1 => {
                if let Some(lease) = processes[at].lease.take() {
                    lease.release().await;
                }
            }
            2..=4 if processes[at].lease.is_none() => processes[at].start(at),
            _ => {}
        }
    }
    changes
}

#[tokio::test(start_paused = true)]
async fn at_most_one_holds_at_any_moment() {
    let mut changes = 0;
    for seed in 0..100 {
        changes += run(seed).await;
    }
    // The test is worth something only if the lease moves.
    assert!(changes > 300, "{changes} changes of the holder");
}

#[tokio::test(start_paused = true)]
async fn when_faults_end_one_holds() {
    for seed in 0..40 {
        let (_store, mut processes) = processes(seed, 3);
        for (number, process) in processes.iter_mut().enumerate() {
            process.start(number);
        }
        tokio::time::sleep(Duration::from_secs(200)).await;
        for process in &processes {
            let mut random = process.store.random.lock().unwrap();
            *random = Random(random.below(u64::MAX));
        }
        let healed: Vec<_> = processes
            .iter()
            .map(|process| process.clock.clone())
            .collect();
        // The same clocks, a good network: one of those that start now has it in the end.
        let store = processes[0].store.store.clone();
        for process in &mut processes {
            process.lease = None;
        }
        let leases: Vec<Lease> = healed
            .into_iter()
            .enumerate()
            .map(|(number, clock)| Lease::new(Arc::new(store.clone()), settings(number), clock))
            .collect();
        for lease in &leases {
            lease.start(|| {});
        }
        // A life, the margins, a look.
        tokio::time::sleep(Duration::from_secs(30 + 10 + 11)).await;
        let holders = leases.iter().filter(|lease| lease.state().is_held());
        assert_eq!(holders.count(), 1, "seed {seed}");
    }
}
