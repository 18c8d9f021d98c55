//! The border is where asking for each time would put it, with few requests.

use std::sync::Arc;

use litestream_storage::{
    Body, MemoryStore, Metered, ObjectStore, Operation, PutOptions, SystemClock,
};
use ltx::{Level, Timestamp, Txid, TxidRange};

use super::list_around;
use crate::replica::{Layout, RemoteIndex};

/// When transaction `txid` of the test was captured; several at a time have one time.
fn captured(txid: u64) -> i64 {
    1_000 + (txid / 3) as i64 * 10
}

fn range(min: u64, max: u64) -> TxidRange {
    let txid = |number| Txid::new(number).unwrap();
    TxidRange::new(txid(min), txid(max)).unwrap()
}

/// A replica with 300 transactions on level 0, tens on level 1 and two snapshots.
async fn replica(store: &dyn ObjectStore, layout: Layout) {
    let mut files = vec![(9, 1, 100), (9, 1, 200)];
    files.extend((1..=300).map(|txid| (0, txid, txid)));
    files.extend((0..30).map(|ten| (1, ten * 10 + 1, ten * 10 + 10)));
    for (level, min, max) in files {
        let key = layout.key(Level::new(level).unwrap(), range(min, max));
        let options = PutOptions {
            timestamp: Some(captured(max)),
            ..PutOptions::default()
        };
        store
            .put(key, Body::from(vec![0; 100]), options)
            .await
            .unwrap();
    }
}

/// The files captured before `time`.
fn before(index: &RemoteIndex, time: i64) -> Vec<(u8, TxidRange)> {
    let time = Timestamp::from_millis(time);
    let admitted = index.files().filter(|file| file.created < time);
    admitted
        .map(|file| (file.level.get(), file.range))
        .collect()
}

#[tokio::test]
async fn the_border_is_exact_and_cheap() {
    for layout in [Layout::Plain, Layout::Hex] {
        let memory = MemoryStore::new().with_costly_timestamps();
        let store = Metered::new(memory, Arc::new(SystemClock::new()));
        replica(&store, layout).await;
        let exact = RemoteIndex::load(&store, layout, true).await.unwrap();
        for time in [
            0,
            1_000,
            1_001,
            1_010,
            1_495,
            1_500,
            1_670,
            1_990,
            2_000,
            2_001,
            i64::MAX,
        ] {
            let heads = store.meter().counts(Operation::Head).calls;
            let lists = store.meter().counts(Operation::List).calls;
            let found = list_around(&store, layout, Timestamp::from_millis(time))
                .await
                .unwrap();
            assert_eq!(before(&found, time), before(&exact, time), "{time}");
            assert_eq!(found.files().count(), exact.files().count());
            let asked = store.meter().counts(Operation::Head).calls - heads;
            assert!((1..=16).contains(&asked), "{asked} for 332 files");
            assert_eq!(store.meter().counts(Operation::List).calls - lists, 1);
        }
    }
}

#[tokio::test]
async fn times_that_are_listed_cost_nothing() {
    let store = Metered::new(MemoryStore::new(), Arc::new(SystemClock::new()));
    replica(&store, Layout::Plain).await;
    let time = Timestamp::from_millis(1_500);
    let found = list_around(&store, Layout::Plain, time).await.unwrap();
    let exact = RemoteIndex::load(&store, Layout::Plain, true)
        .await
        .unwrap();
    assert_eq!(found, exact);
    assert_eq!(store.meter().counts(Operation::Head).calls, 0);
}
