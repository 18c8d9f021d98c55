//! One lease after the other, step by step, under paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use litestream::{Lease, LeaseSettings, LeaseState};
use litestream_storage::{
    ByteRange, Condition, ErrorKind, Fault, Faulty, FileModes, FileStore, Key, MemoryStore,
    ObjectStore, Operation, PutOptions, SystemClock,
};
use ltx::Timestamp;

use super::clocks::{BEGIN, Skewed};
use super::stores::{Conditions, Weak};

const SECOND: Duration = Duration::from_secs(1);

fn lease(store: &(impl ObjectStore + Clone), owner: &str, skew: i64) -> Lease {
    let store = Arc::new(store.clone());
    Lease::new(store, LeaseSettings::new(owner), Skewed::by(skew))
}

async fn held(lease: &Lease) -> (i64, Timestamp) {
    match lease.wait_for(LeaseState::is_held).await {
        LeaseState::Held { generation, until } => (generation, until),
        other => panic!("{other:?}"),
    }
}

async fn stored(store: &impl ObjectStore) -> serde_json::Value {
    let object = store.get(Key::from("lock.json"), ByteRange::ALL).await;
    serde_json::from_slice(&object.unwrap().into_bytes().await.unwrap()).unwrap()
}

/// Seconds from the beginning of the test to a time.
fn second(time: Timestamp) -> i64 {
    (time.as_millis() - BEGIN) / 1000
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_written_renewed_and_given_back() {
    let store = MemoryStore::new();
    let lease = lease(&store, "web-1:4711", 0);
    assert_eq!(lease.state(), LeaseState::Released);
    lease.start(|| {});
    let (generation, until) = held(&lease).await;
    assert_eq!((generation, second(until)), (1, 30));
    let first = stored(&store).await;
    assert_eq!(first["generation"], 1);
    assert_eq!(first["owner"], "web-1:4711");
    let text = first["expires_at"].as_str().unwrap();
    assert!(text.starts_with("2026-03-01T10:31:15.123"), "{text}");
    tokio::time::sleep(SECOND * 11).await;
    let (generation, until) = held(&lease).await;
    assert_eq!((generation, second(until)), (1, 40));
    assert_ne!(stored(&store).await, first);
    tokio::time::sleep(SECOND * 600).await;
    assert_eq!(second(held(&lease).await.1), 640);
    lease.release().await;
    assert_eq!(lease.state(), LeaseState::Released);
    assert!(store.snapshot().is_empty(), "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_costs_one_request_per_third_of_the_life() {
    let store = Arc::new(Faulty::new(MemoryStore::new()));
    let lease = lease(&store, "a", 0);
    lease.start(|| {});
    held(&lease).await;
    let count = |store: &Faulty<MemoryStore>| -> Vec<u64> {
        let calls = Operation::ALL
            .iter()
            .map(|operation| store.calls(*operation));
        calls.collect()
    };
    let before = count(&store);
    tokio::time::sleep(SECOND * 301).await;
    let after = count(&store);
    let made: Vec<u64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    assert_eq!(
        made,
        [30, 0, 0, 0, 0],
        "puts, gets, heads, listings, deletions"
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_one_starts_at_once_after_a_release() {
    let store = MemoryStore::new();
    let (first, second) = (lease(&store, "first", 0), lease(&store, "second", 0));
    first.start(|| {});
    held(&first).await;
    first.release().await;
    let before = tokio::time::Instant::now();
    second.start(|| {});
    held(&second).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_waits_sees_a_release_within_a_third_of_the_life() {
    let store = MemoryStore::new();
    let (first, second) = (lease(&store, "first", 0), lease(&store, "second", 0));
    first.start(|| {});
    held(&first).await;
    second.start(|| {});
    let waiting = second
        .wait_for(|state| matches!(state, LeaseState::Waiting { .. }))
        .await;
    assert_eq!(
        waiting.to_string(),
        "waits for the lease held by first until 2026-03-01T10:31:15Z"
    );
    tokio::time::sleep(SECOND * 100).await;
    assert!(first.state().is_held() && !second.state().is_held());
    assert!(second.not_held_for().unwrap() >= SECOND * 100);
    first.release().await;
    let before = tokio::time::Instant::now();
    held(&second).await;
    assert!(before.elapsed() <= SECOND * 10);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_holder_is_replaced_after_life_and_margin() {
    let store = MemoryStore::new();
    let (first, second) = (lease(&store, "first", 0), lease(&store, "second", 0));
    first.start(|| {});
    held(&first).await;
    let before = tokio::time::Instant::now();
    drop(first);
    second.start(|| {});
    let (generation, _) = held(&second).await;
    assert_eq!(generation, 2);
    let took = before.elapsed();
    assert!(took >= SECOND * 35 && took < SECOND * 36, "{took:?}");
}

/// A record that the reference left, with the offset of another machine, and ended by now.
#[tokio::test(start_paused = true)]
async fn a_lease_of_the_reference_is_respected_and_followed() {
    let store = MemoryStore::new();
    let text =
        r#"{"generation":7,"expires_at":"2026-03-01T12:30:50.123456789+02:00","owner":"go:1"}"#;
    let put = store.put(
        Key::from("lock.json"),
        text.as_bytes().to_vec().into(),
        PutOptions::default(),
    );
    put.await.unwrap();
    let lease = lease(&store, "ours", 0);
    lease.start(|| {});
    let waiting = lease
        .wait_for(|state| matches!(state, LeaseState::Waiting { .. }))
        .await;
    let LeaseState::Waiting { owner, until } = waiting else {
        panic!()
    };
    assert_eq!((owner.as_deref(), second(until)), (Some("go:1"), 5));
    assert_eq!(held(&lease).await.0, 8);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_lease_is_not_replaced() {
    let store = MemoryStore::new();
    let put = store.put(
        Key::from("lock.json"),
        b"hello".to_vec().into(),
        PutOptions::default(),
    );
    put.await.unwrap();
    let lease = lease(&store, "ours", 0);
    lease.start(|| {});
    tokio::time::sleep(SECOND * 300).await;
    let state = lease.state().to_string();
    assert!(state.contains("lock.json is no lease: "), "{state}");
    assert_eq!(
        &store.snapshot()[&Key::from("lock.json")].content[..],
        b"hello"
    );
}

/// Each way in which the answer to the write that acquires can be lost.
#[tokio::test(start_paused = true)]
async fn an_acquisition_without_answer_is_read_back() {
    for fault in [
        Fault::After(ErrorKind::Timeout),
        Fault::After(ErrorKind::Io),
        Fault::Before(ErrorKind::Unavailable { retry_after: None }),
        Fault::Hang,
    ] {
        let store = Arc::new(Faulty::new(MemoryStore::new()));
        // The probes of a start are four.
        store.fail_nth(Operation::Put, 5, fault);
        let lease = lease(&store, "a", 0);
        lease.start(|| {});
        assert_eq!(held(&lease).await.0, 1, "{fault:?}");
        let writes = store.calls(Operation::Put);
        let again = u64::from(!matches!(fault, Fault::After(_)));
        assert_eq!(writes, 5 + again, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_without_answer_is_read_back() {
    for fault in [
        Fault::After(ErrorKind::Timeout),
        Fault::Before(ErrorKind::Timeout),
        Fault::Hang,
    ] {
        let store = Arc::new(Faulty::new(MemoryStore::new()));
        let acquired = Arc::new(AtomicU32::new(0));
        let lease = lease(&store, "a", 0);
        let count = Arc::clone(&acquired);
        lease.start(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        held(&lease).await;
        store.fail_next(Operation::Put, fault);
        for _ in 0..100 {
            tokio::time::sleep(SECOND).await;
            assert!(lease.state().is_held(), "{fault:?}");
        }
        assert_eq!(acquired.load(Ordering::Relaxed), 1, "{fault:?}: one hold");
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_before_the_end() {
    let store = Arc::new(Faulty::new(MemoryStore::new()));
    let lease = lease(&store, "a", 0);
    let acquired = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&acquired);
    lease.start(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    held(&lease).await;
    store.fail_all(Fault::Hang);
    tokio::time::sleep(Duration::from_millis(24_900)).await;
    assert!(lease.state().is_held());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!lease.state().is_held(), "a margin before the record ends");
    tokio::time::sleep(SECOND * 100).await;
    store.heal();
    // Nobody took it: it is ours again, as a new hold and a new generation.
    assert_eq!(held(&lease).await.0, 2);
    assert_eq!(acquired.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_others_did_to_the_lease_is_noticed() {
    let store = MemoryStore::new();
    let lease = lease(&store, "a", 0);
    lease.start(|| {});
    held(&lease).await;
    let text = r#"{"generation":9,"expires_at":"2026-03-01T10:40:00Z","owner":"b"}"#;
    let put = store.put(
        Key::from("lock.json"),
        text.as_bytes().to_vec().into(),
        PutOptions::default(),
    );
    put.await.unwrap();
    let waiting = lease
        .wait_for(|state| matches!(state, LeaseState::Waiting { .. }))
        .await;
    let LeaseState::Waiting { owner, .. } = waiting else {
        panic!()
    };
    assert_eq!(owner.as_deref(), Some("b"));
    // Removed by a person: free.
    store.delete(vec![Key::from("lock.json")]).await.unwrap();
    assert_eq!(held(&lease).await.0, 1);
    // And what is not ours any more is not released.
    let put = store.put(
        Key::from("lock.json"),
        text.as_bytes().to_vec().into(),
        PutOptions::default(),
    );
    put.await.unwrap();
    lease.release().await;
    assert_eq!(stored(&store).await["owner"], "b");
}

/// A machine that slept, or was moved: its monotonic clock stood still.
#[tokio::test(start_paused = true)]
async fn the_wall_clock_ends_a_hold_too() {
    let clock = Skewed::by(0);
    let store = Arc::new(MemoryStore::new());
    let lease = Lease::new(store, LeaseSettings::new("a"), Arc::clone(&clock) as Arc<_>);
    lease.start(|| {});
    held(&lease).await;
    clock.jump(26_000);
    let state = lease.state();
    assert_eq!(state.to_string(), "lease lost: not renewed in time");
    tokio::time::sleep(SECOND * 11).await;
    assert_eq!(held(&lease).await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_release_without_conditional_delete_ends_the_record() {
    let store = Weak::new(Conditions::PutsOnly);
    let first = lease(&store, "first", 0);
    first.start(|| {});
    held(&first).await;
    first.release().await;
    let left = stored(&store.store).await;
    assert_eq!(left["expires_at"], "1970-01-01T00:00:00Z");
    let second = lease(&store, "second", 0);
    let before = tokio::time::Instant::now();
    second.start(|| {});
    assert_eq!(held(&second).await.0, 2);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn stores_without_true_conditions_are_refused() {
    for (conditions, reason) in [
        (Conditions::Unsupported, "not supported"),
        (Conditions::IgnoresAbsent, "If-None-Match is ignored"),
        (Conditions::IgnoresMatch, "If-Match is ignored"),
    ] {
        let store = Weak::new(conditions);
        let lease = lease(&store, "a", 0);
        let error = lease.check_support().await.unwrap_err();
        assert_eq!(error.kind(), litestream::ErrorKind::Invalid);
        assert!(error.to_string().contains(reason), "{error}");
        lease.start(|| {});
        let state = lease
            .wait_for(|state| matches!(state, LeaseState::Unsupported { .. }))
            .await;
        assert!(
            state.to_string().contains("no conditional writes"),
            "{state}"
        );
        assert!(
            store.store.snapshot().is_empty(),
            "{conditions:?}: probes are removed"
        );
        lease.release().await;
    }
}

#[tokio::test]
async fn a_folder_can_be_leased() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(folder.path().to_owned(), FileModes::default());
    let new = |owner: &str| {
        Lease::new(
            Arc::new(store.clone()),
            LeaseSettings::new(owner),
            Arc::new(SystemClock::new()),
        )
    };
    let (first, second) = (new("first"), new("second"));
    first.start(|| {});
    held(&first).await;
    second.start(|| {});
    second
        .wait_for(|state| matches!(state, LeaseState::Waiting { .. }))
        .await;
    second.release().await;
    assert_eq!(stored(&store).await["owner"], "first");
    first.release().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // Whatever the reference thinks of conditions: a lease that is there is not replaced.
    let options = PutOptions {
        condition: Condition::IfAbsent,
        ..PutOptions::default()
    };
    store
        .put(Key::from("lock.json"), b"{}".to_vec().into(), options)
        .await
        .unwrap();
}
