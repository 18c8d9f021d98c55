//! Two engines, each with a database of its own, on one replica: one writes, the other waits and
//! says so; after a take-over there is one history.

use std::sync::Arc;
use std::time::Duration;

use litestream::{
    Database, Layout, LeaseSettings, LeaseState, Replica, ReplicaSettings, State, StatusSettings,
    Store, StoreSettings,
};
use litestream_storage::{Clock, ObjectStore};
use tokio_util::sync::CancellationToken;

use super::bed::{Bed, Engine, Remote, commit, level};
use super::clocks::Manual;

fn start(bed: &Bed, remote: &Remote, clock: &Arc<Manual>, owner: &str) -> Engine {
    let settings = StoreSettings {
        background: false,
        status: StatusSettings {
            failed_after: Duration::from_secs(20),
            ..StatusSettings::default()
        },
        ..StoreSettings::default()
    };
    let store = Store::open(settings).unwrap();
    let remote = Arc::clone(remote) as Arc<dyn ObjectStore>;
    let replica = Replica::new(remote, Layout::Plain, ReplicaSettings::default());
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let replica = replica.leased(LeaseSettings::new(owner), clock);
    let mut settings = bed.settings.clone();
    // The last upload is tried once.
    settings.shutdown_sync_timeout = Duration::ZERO;
    store.add(settings, vec![Arc::new(replica)]).unwrap();
    let database = store.find(&bed.path).unwrap();
    Engine { store, database }
}

async fn reached(database: &Database, wanted: impl Fn(&LeaseState) -> bool) {
    let lease = database.replicas()[0].lease().unwrap();
    let reached = tokio::time::timeout(Duration::from_mins(1), lease.wait_for(wanted));
    assert!(reached.await.is_ok(), "{:?}", lease.state());
}

/// Lets time pass in steps that give each timer its turn.
async fn pass(clock: &Manual, seconds: u64) {
    for _ in 0..seconds * 2 {
        clock.advance(Duration::from_millis(500));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

/// The newest transaction in level 0, where no two files may have one in common. Where the history
/// of another engine goes on there is a hole, which a snapshot closes.
fn newest(remote: &Remote) -> u64 {
    let files = level(remote, ltx::Level::RAW);
    assert!(files.iter().all(|(min, max)| min == max), "{files:?}");
    files.last().unwrap().1
}

#[tokio::test]
async fn one_writes_and_the_other_says_what_it_waits_for() {
    let ((one, app_one), (two, app_two)) = (Bed::new(), Bed::new());
    let (remote, clock) = (&one.remote, Manual::new());
    let first = start(&one, remote, &clock, "first");
    commit(&app_one, 3);
    one.sync(&first).await;
    let second = start(&two, remote, &clock, "second");
    commit(&app_two, 5);
    let error = second.sync().await.unwrap_err().to_string();
    assert!(
        error.contains("waits for the lease held by first until "),
        "{error}"
    );
    let status = second.database.status();
    let cause = status.replicas[0].cause.clone().unwrap();
    assert!(
        cause.contains("waits for the lease held by first until "),
        "{cause}"
    );
    assert_eq!(
        (status.state, status.replicas[0].acknowledged),
        (State::CatchingUp, None)
    );
    // It may go on like this: then it is loud.
    pass(&clock, 60).await;
    assert_eq!(second.database.status().state, State::Failed);
    assert!(second.sync().await.is_err());
    commit(&app_one, 2);
    one.sync(&first).await;
    assert_eq!(first.database.status().state, State::Replicating);
    newest(remote);
    one.prove().await;
    // What waits has something that is nowhere else, and says so when it is stopped.
    assert!(second.store.close(&CancellationToken::new()).await.is_err());
    first.stop().await;
    one.prove_latest(remote).await;
}

#[tokio::test]
async fn after_a_release_the_other_goes_on_above() {
    let ((one, app_one), (two, app_two)) = (Bed::new(), Bed::new());
    let (remote, clock) = (&one.remote, Manual::new());
    let first = start(&one, remote, &clock, "first");
    commit(&app_one, 3);
    one.sync(&first).await;
    let second = start(&two, remote, &clock, "second");
    commit(&app_two, 5);
    second.sync().await.unwrap_err();
    commit(&app_one, 1);
    one.sync(&first).await;
    first.stop().await;
    one.prove().await;
    pass(&clock, 11).await;
    reached(&second.database, LeaseState::is_held).await;
    let last = newest(remote);
    let txid = two.sync(&second).await;
    assert!(txid.get() > last, "{txid} must not be one of the first's");
    commit(&app_two, 2);
    two.sync(&second).await;
    newest(remote);
    // Each state is that of its own time.
    let states = one.states.borrow().clone();
    for (txid, content) in &states {
        let target = litestream::Target::Txid(*txid);
        let output = one.restore(target).await.unwrap();
        let restored = testkit::hash::content_hash(&output, testkit::hash::Access::Rest);
        assert_eq!(restored.unwrap(), *content, "{txid}");
    }
    two.prove_from(remote).await;
    second.stop().await;
}

#[tokio::test]
async fn who_lost_the_lease_never_writes_over_the_other() {
    let ((one, app_one), (two, app_two)) = (Bed::new(), Bed::new());
    let remote = &one.remote;
    // The first machine stands still; the world does not.
    let (frozen, clock) = (Manual::new(), Manual::new());
    let first = start(&one, remote, &frozen, "first");
    commit(&app_one, 3);
    one.sync(&first).await;
    let second = start(&two, remote, &clock, "second");
    commit(&app_two, 2);
    second.sync().await.unwrap_err();
    pass(&clock, 36).await;
    reached(&second.database, LeaseState::is_held).await;
    commit(&app_two, 2);
    two.sync(&second).await;
    // The first wakes up, finds its commits and the time.
    commit(&app_one, 4);
    frozen.advance(Duration::from_secs(36));
    let error = first.sync().await.unwrap_err().to_string();
    assert!(error.contains("lease"), "{error}");
    reached(&first.database, |state| {
        matches!(state, LeaseState::Waiting { .. })
    })
    .await;
    assert!(first.sync().await.is_err());
    commit(&app_two, 1);
    two.sync(&second).await;
    newest(remote);
    two.prove_from(remote).await;
    // And has the replica again when the second is done with it: above everything of the second.
    let last = newest(remote);
    second.stop().await;
    frozen.advance(Duration::from_secs(11));
    reached(&first.database, LeaseState::is_held).await;
    one.forget_states();
    let txid = one.sync(&first).await;
    assert!(txid.get() > last);
    newest(remote);
    one.prove().await;
    first.stop().await;
}
