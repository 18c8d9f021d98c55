//! Databases come and go, at run time and all at once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use litestream::{Error, ErrorKind, Store, StoreSettings};
use litestream_storage::MemoryStore;
use tokio_util::sync::CancellationToken;

use super::hanging::{Hanging, How};
use super::scene::{LONG, Scene, insert, replica, replicated_after, rows, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_are_listed_in_the_order_of_adding() {
    let scene = Scene::new(StoreSettings::default());
    let names = ["c", "a", "d", "b"];
    for name in names {
        scene.add(name, Arc::new(MemoryStore::new()));
    }
    let listed = || -> Vec<PathBuf> {
        let all = scene.store.list();
        all.iter()
            .map(|database| database.path().to_owned())
            .collect()
    };
    let expected =
        |names: &[&str]| -> Vec<PathBuf> { names.iter().map(|name| scene.path(name)).collect() };
    assert_eq!(listed(), expected(&names));
    assert!(
        scene
            .store
            .remove(&scene.path("a"))
            .await
            .unwrap()
            .is_some()
    );
    scene.add("a", Arc::new(MemoryStore::new()));
    assert!(scene.store.disable(&scene.path("c")).await.unwrap());
    assert_eq!(listed(), expected(&["c", "d", "b", "a"]));
    scene.store.close(&CancellationToken::new()).await.unwrap();
    // Nothing gets in any more, and closing again changes nothing.
    let late = scene.store.add(
        settings(&scene.path("late")),
        vec![replica(Arc::new(MemoryStore::new()))],
    );
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Cancelled);
    let error = scene.store.enable(&scene.path("c")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    scene.store.close(&CancellationToken::new()).await.unwrap();
}

/// A stop whose caller went away left the database half closed: its reader pinned, its tail not
/// uploaded, and yet it counted as stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_goes_on_when_its_caller_goes_away() {
    let scene = Scene::new(StoreSettings::default());
    let application = scene.create("a");
    let remote = Arc::new(MemoryStore::new());
    let database = scene.add("a", Arc::clone(&remote) as _);
    replicated_after(&database, None).await;
    insert(&application);
    let path = scene.path("a");
    assert!(scene.store.disable(&path).now_or_never().is_none());
    assert!(!database.is_enabled());
    // The second call gets the end that the first has begun.
    assert!(!scene.store.disable(&path).await.unwrap());
    assert_eq!(scene.restored_rows(&remote).await, rows(&application));
    insert(&application);
    let error = database.sync().await.unwrap_err();
    assert!(matches!(error, Error::DatabaseNotOpen { .. }), "{error}");
    assert!(scene.store.enable(&path).unwrap());
    assert!(scene.store.remove(&path).now_or_never().is_none());
    let gone = scene.store.sync(&path, false).await.unwrap_err();
    assert!(matches!(gone, Error::DatabaseNotFound { .. }), "{gone}");
    // Removing again waits for the end that is under way.
    assert!(scene.store.remove(&path).await.unwrap().is_none());
    assert_eq!(scene.restored_rows(&remote).await, rows(&application));
    scene.store.close(&CancellationToken::new()).await.unwrap();
}

/// A database that is added while the one before is still on its way out waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_databases_of_one_path_never_live_at_once() {
    let scene = Scene::new(StoreSettings::default());
    scene.create("a");
    let remote = Hanging::new(How::Waiting);
    scene.add_with("a", Arc::clone(&remote) as _, |settings| {
        settings.shutdown_sync_timeout = std::time::Duration::from_hours(1);
    });
    let mut begun = remote.begun.subscribe();
    begun.wait_for(|begun| *begun > 0).await.unwrap();
    let leaving = tokio::spawn({
        let (store, path) = (Arc::clone(&scene.store), scene.path("a"));
        async move { store.remove(&path).await }
    });
    begun.wait_for(|begun| *begun > 1).await.unwrap();
    let second = scene.add("a", Arc::clone(&remote) as _);
    let mut syncing = Box::pin(second.sync());
    assert!((&mut syncing).now_or_never().is_none());
    assert_eq!(second.txid(), None, "it has not been opened");
    remote.let_go();
    let left = tokio::time::timeout(LONG, leaving).await.unwrap();
    assert!(left.unwrap().unwrap().is_some());
    let synced = tokio::time::timeout(LONG, syncing).await.unwrap();
    assert!(synced.unwrap().txid.is_some());
    scene.store.close(&CancellationToken::new()).await.unwrap();
}

/// A call, and what it may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Call {
    Add,
    Remove,
    Enable,
    Disable,
    Sync,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    Did,
    WasSo,
    NotFound,
    NotOpen,
}

/// What one task saw: the call, its answer, and the moments before and after.
#[derive(Debug, Clone, Copy)]
struct Event {
    call: Call,
    answer: Answer,
    began: u64,
    ended: u64,
}

/// What a single caller would see: whether there is a database, and whether it runs.
#[expect(
    clippy::match_same_arms,
    reason = "one line for each case of the table"
)]
fn expected(call: Call, state: (bool, bool)) -> (Answer, (bool, bool)) {
    match (call, state) {
        (Call::Add, (false, _)) => (Answer::Did, (true, true)),
        (Call::Add, there) => (Answer::WasSo, there),
        (Call::Remove, (true, _)) => (Answer::Did, (false, false)),
        (Call::Remove, gone) => (Answer::WasSo, gone),
        (_, (false, _)) => (Answer::NotFound, (false, false)),
        (Call::Enable, (true, false)) => (Answer::Did, (true, true)),
        (Call::Enable, running) => (Answer::WasSo, running),
        (Call::Disable, (true, true)) => (Answer::Did, (true, false)),
        (Call::Disable, stopped) => (Answer::WasSo, stopped),
        (Call::Sync, (true, true)) => (Answer::Did, (true, true)),
        (Call::Sync, stopped) => (Answer::NotOpen, stopped),
    }
}

/// Whether the events can be put in an order that a single caller could have seen, in which nothing
/// that was over comes after what began later. Fills `ends` with the states it may have ended in.
fn linearize(events: &[Event], starts: &HashSet<(bool, bool)>, ends: &mut HashSet<(bool, bool)>) {
    let mut seen = HashSet::new();
    let mut open: Vec<(u32, (bool, bool))> = starts.iter().map(|state| (0, *state)).collect();
    let all = (1_u32 << events.len()) - 1;
    while let Some((done, state)) = open.pop() {
        if !seen.insert((done, state)) {
            continue;
        }
        if done == all {
            ends.insert(state);
            continue;
        }
        let rest = || {
            let numbered = events.iter().enumerate();
            numbered.filter(move |(number, _)| done & (1 << number) == 0)
        };
        let first_end = rest().map(|(_, event)| event.ended).min().unwrap();
        for (number, event) in rest().filter(|(_, event)| event.began < first_end) {
            let (answer, next) = expected(event.call, state);
            if answer == event.answer {
                open.push((done | 1 << number, next));
            }
        }
    }
}

async fn perform(store: &Store, path: &Path, remote: &Arc<MemoryStore>, call: Call) -> Answer {
    let result = match call {
        Call::Add => {
            let remote = Arc::clone(remote);
            store.add(settings(path), vec![replica(remote)])
        }
        Call::Remove => store.remove(path).await.map(|gone| gone.is_some()),
        Call::Enable => store.enable(path),
        Call::Disable => store.disable(path).await,
        Call::Sync => store.sync(path, true).await.map(|_| true),
    };
    match result {
        Ok(true) => Answer::Did,
        Ok(false) => Answer::WasSo,
        Err(Error::DatabaseNotFound { .. }) => Answer::NotFound,
        Err(Error::DatabaseNotOpen { .. }) => Answer::NotOpen,
        Err(error) => panic!("{call:?}: {error}"),
    }
}

/// Numbers that are the same in each run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }

    fn call(&mut self) -> Call {
        match self.below(6) {
            0 => Call::Add,
            1 => Call::Remove,
            2 => Call::Enable,
            3 => Call::Disable,
            _ => Call::Sync,
        }
    }
}

/// Any number of callers see what one caller after the other could have seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_are_linearizable() {
    let scene = Scene::new(StoreSettings::default());
    let application = scene.create("a");
    let (path, remote) = (scene.path("a"), Arc::new(MemoryStore::new()));
    let clock = Arc::new(AtomicU64::new(0));
    let mut states = HashSet::from([(false, false)]);
    for seed in 0..40 {
        let mut seeded = Seeded(seed);
        let tasks: Vec<Vec<Call>> = (0..4)
            .map(|_| (0..4).map(|_| seeded.call()).collect())
            .collect();
        insert(&application);
        let running = tasks.into_iter().map(|calls| {
            let (store, path) = (Arc::clone(&scene.store), path.clone());
            let (remote, clock) = (Arc::clone(&remote), Arc::clone(&clock));
            tokio::spawn(async move {
                let mut events = Vec::new();
                for call in calls {
                    let began = clock.fetch_add(1, Ordering::SeqCst);
                    let answer = perform(&store, &path, &remote, call).await;
                    let ended = clock.fetch_add(1, Ordering::SeqCst);
                    events.push(Event {
                        call,
                        answer,
                        began,
                        ended,
                    });
                    tokio::task::yield_now().await;
                }
                events
            })
        });
        let events = tokio::time::timeout(LONG, join_all(running)).await;
        let events = events.expect("nobody waits for ever");
        let events: Vec<Event> = events.into_iter().flat_map(Result::unwrap).collect();
        let mut ends = HashSet::new();
        linearize(&events, &states, &mut ends);
        assert!(!ends.is_empty(), "seed {seed} from {states:?}: {events:#?}");
        states = ends;
    }
    perform(&scene.store, &path, &remote, Call::Add).await;
    perform(&scene.store, &path, &remote, Call::Enable).await;
    scene.store.sync(&path, true).await.unwrap();
    assert_eq!(scene.restored_rows(&remote).await, rows(&application));
    scene.store.close(&CancellationToken::new()).await.unwrap();
}

#[test]
fn the_order_is_told_from_disorder() {
    let event = |call, answer, began, ended| Event {
        call,
        answer,
        began,
        ended,
    };
    let ends = |events: &[Event]| {
        let mut ends = HashSet::new();
        linearize(events, &HashSet::from([(false, false)]), &mut ends);
        ends
    };
    let add = event(Call::Add, Answer::Did, 0, 3);
    // At the same time: the one may have come first.
    assert!(!ends(&[add, event(Call::Sync, Answer::NotFound, 1, 2)]).is_empty());
    assert!(!ends(&[add, event(Call::Sync, Answer::Did, 1, 2)]).is_empty());
    // Afterwards: it must have seen it.
    assert!(ends(&[add, event(Call::Sync, Answer::NotFound, 4, 5)]).is_empty());
    // Two cannot both have done it.
    assert!(ends(&[add, event(Call::Add, Answer::Did, 1, 2)]).is_empty());
    assert!(ends(&[add, event(Call::Disable, Answer::WasSo, 4, 5)]).is_empty());
}
