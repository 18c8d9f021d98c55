//! The doctor finds each thing that a store does not do, says so, and leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::time::Duration;

use litestream::{Diagnosis, Doctor, Probe, Verdict};
use litestream_storage::{
    Call, Clock, ErrorKind, Fault, Faulty, FileModes, FileStore, MemoryStore, ObjectStore,
    Operation, PutOptions, SystemClock,
};
use tokio_util::sync::CancellationToken;

fn doctor() -> Doctor {
    Doctor {
        large: (2 << 20) + 12_345,
        limit: Duration::from_secs(10),
        clock: Arc::new(SystemClock::new()),
        name: "test".to_owned(),
    }
}

async fn examine(store: &dyn ObjectStore) -> Diagnosis {
    doctor().examine(store, &CancellationToken::new()).await
}

/// A store with objects of others, which must be there unchanged in the end.
async fn store() -> Faulty<MemoryStore> {
    let store = MemoryStore::new();
    for key in [
        "ltx/0/a",
        "lock.json",
        "litestream-doctor-",
        "litestream-doctor-testament",
    ] {
        let put = store.put(key.into(), b"theirs".to_vec().into(), PutOptions::default());
        put.await.unwrap();
    }
    Faulty::new(store)
}

fn not_ok(diagnosis: &Diagnosis) -> Vec<(Probe, Verdict)> {
    let findings = diagnosis.findings.iter();
    let bad = findings.filter(|finding| finding.verdict != Verdict::Works);
    bad.map(|finding| (finding.probe, finding.verdict))
        .collect()
}

#[tokio::test]
async fn a_store_that_does_everything_is_well() {
    let store = store().await;
    let before = store.inner().snapshot();
    let diagnosis = examine(&store).await;
    assert_eq!(not_ok(&diagnosis), [], "{diagnosis:?}");
    assert_eq!(diagnosis.findings.len(), Probe::ALL.len());
    assert!(diagnosis.is_usable());
    assert!(
        diagnosis
            .findings
            .iter()
            .all(|finding| finding.consequence().is_none())
    );
    assert_eq!(
        store.inner().snapshot(),
        before,
        "nothing of others is touched"
    );
}

#[tokio::test]
async fn a_folder_is_well_and_left_empty() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(folder.path().to_owned(), FileModes::default());
    let diagnosis = examine(&store).await;
    assert_eq!(not_ok(&diagnosis), [], "{diagnosis:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Which calls go wrong, how, and what must be found. Without the last word: not usable.
type Case = (
    &'static str,
    fn(&Call) -> bool,
    Fault,
    &'static [(Probe, Verdict)],
);

fn about(call: &Call, name: &str) -> bool {
    call.keys.iter().any(|key| key.as_str().ends_with(name))
}

const DENIED: Fault = Fault::Before(ErrorKind::Denied);

#[tokio::test]
async fn each_probe_finds_what_it_is_for() {
    use Probe as P;
    use Verdict::{Failed, Missing, Skipped};
    let cases: [Case; 9] = [
        (
            "list",
            |call| call.operation == Operation::List && call.of_operation == 1,
            DENIED,
            &[(P::List, Failed), (P::ListAfterWrite, Skipped)],
        ),
        (
            "get",
            |call| {
                call.operation == Operation::Get && about(call, "-small") && call.of_operation == 1
            },
            Fault::CutOff { after: 10 },
            &[(P::Get, Failed), (P::Large, Skipped)],
        ),
        (
            "range",
            |call| call.operation == Operation::Get && call.of_operation == 2,
            Fault::CutOff { after: 3 },
            &[(P::Range, Failed)],
        ),
        (
            "listing that lags",
            |call| call.operation == Operation::List && call.of_operation == 4,
            Fault::CutOff { after: 2 },
            &[(P::ListAfterWrite, Failed)],
        ),
        (
            "large put",
            |call| call.operation == Operation::Put && about(call, "-large"),
            Fault::CutOff { after: 1 << 20 },
            &[(P::Large, Failed)],
        ),
        (
            "large get",
            |call| call.operation == Operation::Get && about(call, "-large"),
            Fault::Break {
                after: 1 << 20,
                kind: ErrorKind::Io,
            },
            &[(P::Large, Failed)],
        ),
        (
            "timestamp",
            |call| call.operation == Operation::Put && about(call, "-timestamp"),
            Fault::Before(ErrorKind::Unsupported),
            &[(P::Timestamp, Missing)],
        ),
        (
            "conditional put",
            |call| call.operation == Operation::Put && about(call, "-conditional-put"),
            Fault::Before(ErrorKind::Unsupported),
            &[(P::ConditionalPut, Missing)],
        ),
        (
            "conditional delete",
            |call| {
                call.operation == Operation::Delete
                    && about(call, "-conditional-delete")
                    && call.keys.len() == 1
            },
            Fault::Before(ErrorKind::Unsupported),
            &[(P::ConditionalDelete, Missing)],
        ),
    ];
    for (name, goes_wrong, fault, expected) in cases {
        let store = store().await;
        let before = store.inner().snapshot();
        store.when(move |call| goes_wrong(call).then_some(fault));
        let diagnosis = examine(&store).await;
        assert_eq!(not_ok(&diagnosis), expected, "{name}: {diagnosis:?}");
        let optional = expected.iter().all(|(probe, _)| !probe.is_needed());
        assert_eq!(diagnosis.is_usable(), optional, "{name}");
        let said = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.consequence().is_some());
        let tried = expected.iter().filter(|(_, verdict)| *verdict != Skipped);
        assert_eq!(said.count(), tried.count(), "{name}");
        assert_eq!(store.inner().snapshot(), before, "{name}: cleaned up");
    }
}

#[tokio::test]
async fn credentials_that_may_not_write_skip_the_rest() {
    let store = store().await;
    store.when(|call| (call.operation == Operation::Put).then_some(DENIED));
    let diagnosis = examine(&store).await;
    assert_eq!(diagnosis.verdict(Probe::List), Verdict::Works);
    assert_eq!(diagnosis.verdict(Probe::Put), Verdict::Failed);
    let skipped = not_ok(&diagnosis);
    assert_eq!(skipped.len(), Probe::ALL.len() - 1, "{skipped:?}");
    assert!(!diagnosis.is_usable() && diagnosis.left_over.is_none());
}

#[tokio::test]
async fn what_cannot_be_deleted_is_named() {
    let store = store().await;
    store.when(|call| (call.operation == Operation::Delete).then_some(DENIED));
    let diagnosis = examine(&store).await;
    assert_eq!(diagnosis.verdict(Probe::Delete), Verdict::Failed);
    let left = diagnosis.left_over.clone().unwrap();
    assert!(left.contains("litestream-doctor-test-"), "{left}");
    assert!(!diagnosis.is_usable());
}

/// Deletions that report success and do nothing.
#[derive(Debug)]
struct Eternal(MemoryStore);

impl ObjectStore for Eternal {
    fn kind(&self) -> &'static str {
        "eternal"
    }

    fn reads_parts(&self) -> bool {
        self.0.reads_parts()
    }
    fn put(
        &self,
        key: litestream_storage::Key,
        body: litestream_storage::Body,
        options: PutOptions,
    ) -> futures_util::future::BoxFuture<
        '_,
        litestream_storage::Result<litestream_storage::ObjectMeta>,
    > {
        self.0.put(key, body, options)
    }
    fn get(
        &self,
        key: litestream_storage::Key,
        range: litestream_storage::ByteRange,
    ) -> futures_util::future::BoxFuture<'_, litestream_storage::Result<litestream_storage::Object>>
    {
        self.0.get(key, range)
    }
    fn head(
        &self,
        key: litestream_storage::Key,
    ) -> futures_util::future::BoxFuture<
        '_,
        litestream_storage::Result<litestream_storage::ObjectMeta>,
    > {
        self.0.head(key)
    }
    fn list(
        &self,
        prefix: String,
        options: litestream_storage::ListOptions,
    ) -> futures_util::stream::BoxStream<
        '_,
        litestream_storage::Result<litestream_storage::ObjectMeta>,
    > {
        self.0.list(prefix, options)
    }
    fn delete(
        &self,
        _keys: Vec<litestream_storage::Key>,
    ) -> futures_util::future::BoxFuture<
        '_,
        litestream_storage::Result<Vec<(litestream_storage::Key, litestream_storage::Error)>>,
    > {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[tokio::test]
async fn deletions_that_do_nothing_are_found() {
    let store = Eternal(MemoryStore::new());
    let diagnosis = examine(&store).await;
    assert_eq!(
        not_ok(&diagnosis),
        [
            (Probe::ConditionalDelete, Verdict::Missing),
            (Probe::Delete, Verdict::Failed)
        ]
    );
    let left = diagnosis.left_over.unwrap();
    assert!(
        left.contains("could not be deleted") && left.contains("-small"),
        "{left}"
    );
}

/// A clock that is wrong by an hour.
#[derive(Debug)]
struct Wrong(SystemClock);

impl Clock for Wrong {
    fn now_ms(&self) -> i64 {
        self.0.now_ms() - 3_600_000
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    fn sleep(&self, duration: Duration) -> futures_util::future::BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }
}

#[tokio::test]
async fn clocks_that_differ_are_found() {
    let mut doctor = doctor();
    doctor.clock = Arc::new(Wrong(SystemClock::new()));
    let diagnosis = doctor
        .examine(&store().await, &CancellationToken::new())
        .await;
    assert_eq!(not_ok(&diagnosis), [(Probe::Clock, Verdict::Failed)]);
    let clock = diagnosis
        .findings
        .iter()
        .find(|finding| finding.probe == Probe::Clock);
    let detail = &clock.unwrap().detail;
    assert!(
        detail.contains("s apart, the store's clock is ahead of ours"),
        "{detail}"
    );
    assert!(diagnosis.is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_given_up() {
    let store = store().await;
    store.fail_all(Fault::Hang);
    let diagnosis = examine(&store).await;
    assert!(!diagnosis.is_usable());
    assert!(
        diagnosis.findings[0].detail.contains("no answer in 10 s"),
        "{diagnosis:?}"
    );
    assert!(diagnosis.left_over.is_some());
}

#[tokio::test]
async fn what_is_stopped_is_cleaned_up() {
    let (store, stop) = (store().await, CancellationToken::new());
    let before = store.inner().snapshot();
    let signal = stop.clone();
    store.when(move |call| {
        if about(call, "-large") && call.operation == Operation::Put {
            signal.cancel();
            return Some(Fault::Hang);
        }
        None
    });
    let diagnosis = doctor().examine(&store, &stop).await;
    assert_eq!(diagnosis.verdict(Probe::ListAfterWrite), Verdict::Works);
    assert_eq!(diagnosis.verdict(Probe::Large), Verdict::Skipped);
    assert!(!diagnosis.is_usable());
    assert_eq!(store.inner().snapshot(), before);
}
