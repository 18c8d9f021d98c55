//! What the engine is given to write with: nothing goes through it without the lease.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, TryStreamExt as _};
use litestream::{Layout, LeaseSettings, LeaseState, Replica, ReplicaSettings};
use litestream_storage::{
    ErrorKind, Fault, Faulty, Key, ListOptions, MemoryStore, ObjectMeta, ObjectStore, Operation,
    PutOptions, Result,
};

use super::clocks::Skewed;

const SECOND: Duration = Duration::from_secs(1);

type Remote = Arc<Faulty<MemoryStore>>;

fn replica(remote: &Remote, owner: &str) -> Replica {
    let store = Arc::clone(remote) as Arc<dyn ObjectStore>;
    let replica = Replica::new(store, Layout::Plain, ReplicaSettings::default());
    replica.leased(LeaseSettings::new(owner), Skewed::by(0))
}

async fn put(replica: &Replica, key: &str) -> Result<ObjectMeta> {
    let body = b"content".to_vec().into();
    replica
        .store()
        .put(Key::from(key), body, PutOptions::default())
        .await
}

async fn list(replica: &Replica) -> Result<Vec<ObjectMeta>> {
    let listing = replica
        .store()
        .list("ltx/".to_owned(), ListOptions::default());
    listing.try_collect().await
}

async fn hold(replica: &Replica) {
    let lease = replica.lease().unwrap();
    lease.start(|| {});
    lease.wait_for(LeaseState::is_held).await;
}

fn refused<T: std::fmt::Debug>(result: Result<T>, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(
        (error.kind(), error.label()),
        (ErrorKind::PreconditionFailed, "LeaseNotHeld")
    );
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_without_the_lease() {
    let remote = Remote::new(Faulty::new(MemoryStore::new()));
    let ours = replica(&remote, "ours");
    refused(put(&ours, "ltx/a").await, "lease released");
    let theirs = replica(&remote, "theirs");
    hold(&theirs).await;
    let lease = ours.lease().unwrap();
    lease.start(|| {});
    // The first call waits until it is known who has the lease.
    refused(
        list(&ours).await,
        "waits for the lease held by theirs until 2026-03-01T10:31:15Z",
    );
    refused(put(&ours, "ltx/a").await, "held by theirs");
    refused(
        ours.store().delete(vec![Key::from("ltx/a")]).await,
        "held by theirs",
    );
    refused(
        ours.store()
            .delete_if(Key::from("ltx/a"), String::new())
            .await,
        "held by theirs",
    );
    let keys: Vec<Key> = remote.inner().snapshot().into_keys().collect();
    assert_eq!(keys, [Key::from("lock.json")]);
    theirs.lease().unwrap().release().await;
    lease.wait_for(LeaseState::is_held).await;
    assert_eq!(list(&ours).await.unwrap(), []);
    put(&ours, "ltx/a").await.unwrap();
    assert_eq!(
        ours.store()
            .delete(vec![Key::from("ltx/a")])
            .await
            .unwrap()
            .len(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_given_up_with_the_lease() {
    let remote = Remote::new(Faulty::new(MemoryStore::new()));
    let replica = replica(&remote, "ours");
    hold(&replica).await;
    list(&replica).await.unwrap();
    // From now on nothing is answered, renewals neither.
    remote.fail_all(Fault::Hang);
    let before = tokio::time::Instant::now();
    refused(put(&replica, "ltx/a").await, "lease lost");
    assert!(before.elapsed() <= SECOND * 25, "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn success_after_the_end_of_the_lease_is_none() {
    let remote = Remote::new(Faulty::new(MemoryStore::new()));
    let clock = Skewed::by(0);
    let store = Arc::clone(&remote) as Arc<dyn ObjectStore>;
    let replica = Replica::new(store, Layout::Plain, ReplicaSettings::default())
        .leased(LeaseSettings::new("ours"), Arc::clone(&clock) as Arc<_>);
    hold(&replica).await;
    list(&replica).await.unwrap();
    // The machine sleeps while the request is under way, and finds it answered.
    let sleeper = Arc::clone(&clock);
    remote.when(move |call| {
        if call.keys.contains(&Key::from("ltx/a")) {
            sleeper.jump(60_000);
        }
        None
    });
    refused(put(&replica, "ltx/a").await, "lease lost");
    assert!(remote.inner().snapshot().contains_key(&Key::from("ltx/a")));
}

#[tokio::test(start_paused = true)]
async fn a_listing_of_an_earlier_hold_is_no_base() {
    let remote = Remote::new(Faulty::new(MemoryStore::new()));
    let replica = replica(&remote, "ours");
    hold(&replica).await;
    list(&replica).await.unwrap();
    put(&replica, "ltx/a").await.unwrap();
    replica.lease().unwrap().release().await;
    hold(&replica).await;
    refused(put(&replica, "ltx/b").await, "must be listed first");
    list(&replica).await.unwrap();
    put(&replica, "ltx/b").await.unwrap();
    // A listing that begins in one hold and ends in another says nothing.
    let mut listing = replica
        .store()
        .list("ltx/".to_owned(), ListOptions::default());
    assert!(listing.try_next().await.unwrap().is_some());
    replica.lease().unwrap().release().await;
    hold(&replica).await;
    refused(listing.try_next().await, "acquired anew since");
}

#[tokio::test(start_paused = true)]
async fn calls_before_the_first_attempt_wait_for_it() {
    let remote = Remote::new(Faulty::new(MemoryStore::new()));
    remote.fail_nth(Operation::Get, 1, Fault::Hang);
    let replica = replica(&remote, "ours");
    replica.lease().unwrap().start(|| {});
    assert!(list(&replica).now_or_never().is_none());
    // The attempt is limited in time, and then it is said what is the matter.
    refused(list(&replica).await, "cannot acquire the lease: ");
    replica.lease().unwrap().wait_for(LeaseState::is_held).await;
    list(&replica).await.unwrap();
}
