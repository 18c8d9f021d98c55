//! States and lag become visible whatever stops: the capture, an upload, or nothing at all.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support {
    pub(crate) mod bed;
}

use std::sync::Arc;
use std::time::Duration;

use litestream::{
    DatabaseStatus, Layout, Replica, ReplicaSettings, ReplicaStatus, State, StatusSettings, Store,
    StoreSettings,
};
use litestream_storage::{ErrorKind, Fault, ObjectStore, Operation};
use support::bed::{Bed, Remote, commit, remote};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes, on any machine.
const LIMIT: Duration = Duration::from_mins(1);
const NEVER: Duration = Duration::from_hours(1);

/// The engine in the background, as the program runs it.
fn start(bed: &Bed, remotes: &[&Remote], status: StatusSettings) -> Arc<Store> {
    let settings = StoreSettings {
        status,
        ..StoreSettings::default()
    };
    let store = Store::open(settings).unwrap();
    let replicas = remotes.iter().map(|remote| {
        let settings = ReplicaSettings {
            sync_interval: Duration::from_millis(1),
            ..ReplicaSettings::default()
        };
        let store = Arc::clone(remote) as Arc<dyn ObjectStore>;
        Arc::new(Replica::new(store, Layout::Plain, settings))
    });
    let mut database = bed.settings.clone();
    database.monitor_interval = Duration::from_millis(1);
    store.add(database, replicas.collect()).unwrap();
    store
}

async fn until(
    store: &Store,
    what: &str,
    wanted: impl Fn(&DatabaseStatus) -> bool,
) -> DatabaseStatus {
    let mut last = None;
    let found = tokio::time::timeout(LIMIT, async {
        loop {
            let status = store.status().remove(0);
            if wanted(&status) {
                return status;
            }
            last = Some(status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what}: {last:?}"))
}

fn only(status: &DatabaseStatus) -> &ReplicaStatus {
    assert_eq!(status.replicas.len(), 1);
    &status.replicas[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_refuses_is_failed_and_recovers() {
    let (bed, application) = Bed::new();
    let settings = StatusSettings {
        behind_after: NEVER,
        failed_after: Duration::ZERO,
    };
    let store = start(&bed, &[&bed.remote], settings);
    let status = until(&store, "replicating", |status| {
        status.state == State::Replicating && only(status).lag == litestream::Lag::default()
    })
    .await;
    assert_eq!(only(&status).acknowledged, status.txid);
    assert_eq!(only(&status).cause, None);

    bed.remote
        .fail_all(Fault::Before(ErrorKind::Unavailable { retry_after: None }));
    commit(&application, 3);
    let status = until(&store, "failed", |status| {
        // The copy of the base may be due, and fail, before anything is lacking.
        let failed = only(status);
        let is_upload = |cause: &String| cause.starts_with("upload: ");
        let is_told = failed.cause.as_ref().is_some_and(is_upload);
        status.state == State::Failed && failed.lag.bytes > 0 && is_told
    })
    .await;
    let failed = only(&status);
    assert!(failed.lag.transactions > 0, "{failed:?}");
    assert!(status.txid > failed.acknowledged, "{status:?}");

    bed.remote.heal();
    store
        .find(&bed.path)
        .unwrap()
        .sync_and_wait()
        .await
        .unwrap();
    let status = until(&store, "recovered", |status| {
        status.state == State::Replicating
    })
    .await;
    assert_eq!(only(&status).lag.transactions, 0);
    assert!(only(&status).last_success.is_some());
    store.close(&CancellationToken::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_hangs_is_seen_as_behind_and_the_other_replica_is_not() {
    let (bed, application) = Bed::new();
    let other = remote();
    let settings = StatusSettings {
        behind_after: Duration::from_millis(100),
        failed_after: NEVER,
    };
    let store = start(&bed, &[&bed.remote, &other], settings);
    let each = |status: &DatabaseStatus| {
        let states = status.replicas.iter().map(|replica| replica.state);
        states.collect::<Vec<_>>()
    };
    until(&store, "replicating", |status| {
        status.state == State::Replicating
    })
    .await;
    bed.remote
        .when(|call| (call.operation == Operation::Put).then_some(Fault::Hang));
    commit(&application, 1);
    let status = until(&store, "behind", |status| {
        each(status) == [State::Behind, State::Replicating]
    })
    .await;
    let behind = &status.replicas[0];
    let cause = "captured transactions wait to be uploaded";
    assert_eq!(behind.cause.as_deref(), Some(cause));
    assert!(behind.lag.time >= settings.behind_after);
    assert_eq!(status.replicas[1].lag.transactions, 0);
    drop(store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_stopped_is_disabled_and_one_without_content_waits() {
    let bed = Bed::empty();
    let store = start(&bed, &[&bed.remote], StatusSettings::default());
    let status = until(&store, "waiting", |status| only(status).cause.is_some()).await;
    assert_eq!(status.state, State::CatchingUp);
    assert_eq!(status.txid, None);
    store.disable(&bed.path).await.unwrap();
    let status = store.status().remove(0);
    assert_eq!(
        (status.state, only(&status).state),
        (State::Disabled, State::Disabled)
    );
    store.enable(&bed.path).unwrap();
    let application = bed.open();
    support::bed::create(&application);
    until(&store, "replicating", |status| {
        status.state == State::Replicating
    })
    .await;
    store.close(&CancellationToken::new()).await.unwrap();
}
