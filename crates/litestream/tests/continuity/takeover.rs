//! State of the real v0.5.17 is taken over, and given back.

use std::sync::Arc;

use litestream::{Layout, Replica, ReplicaSettings, Store, StoreSettings};
use litestream_storage::{FileModes, FileStore};
use testkit::hash::{self, Access};
use testkit::program::{RestoreTarget, Source};
use testkit::reference::{Version, reference_or_skip};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, checkpoint, commit, kill};

fn replica(bed: &Bed) -> std::path::PathBuf {
    bed.directory.path().join("replica")
}

/// Runs ours on the file replica for one sync.
async fn ours(bed: &Bed) -> u64 {
    let store = Store::open(StoreSettings {
        background: false,
        ..Default::default()
    })
    .unwrap();
    let files = Arc::new(FileStore::new(replica(bed), FileModes::default()));
    let replica = Arc::new(Replica::new(
        files,
        Layout::Plain,
        ReplicaSettings::default(),
    ));
    store.add(bed.settings.clone(), vec![replica]).unwrap();
    let synced = store
        .find(&bed.path)
        .unwrap()
        .sync_and_wait()
        .await
        .unwrap();
    store.close(&CancellationToken::new()).await.unwrap();
    synced.txid.unwrap().get()
}

/// Ours, the reference and ours again on one database and one replica; every hand-over with rows
/// committed in between, with the WAL kept, copied or started anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_goes_from_the_reference_to_us_and_back() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    for between in ["kept", "copied", "anew", "removed"] {
        let (bed, mut application) = Bed::new();
        for turn in 0..6 {
            commit(&application, 3);
            // Locks belong to the process: the other program has the files to itself.
            kill(application);
            if turn % 2 == 0 {
                reference.replicate_once(&bed.path, &replica(&bed)).unwrap();
            } else {
                ours(&bed).await;
            }
            let output = bed.output();
            let from = Source::Replica(replica(&bed));
            reference
                .restore(&from, &output, &RestoreTarget::Latest)
                .unwrap();
            assert_eq!(
                hash::content_hash(&output, Access::Rest).unwrap(),
                hash::content_hash(&bed.path, Access::Copy).unwrap(),
                "{between}, turn {turn}"
            );
            application = bed.open();
            match between {
                "copied" => drop(checkpoint(&application, "PASSIVE")),
                "anew" => {
                    commit(&application, 2);
                    checkpoint(&application, "PASSIVE");
                    commit(&application, 1);
                }
                "removed" => {
                    drop(application);
                    application = bed.open();
                }
                _ => {}
            }
        }
    }
}
