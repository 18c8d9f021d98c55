//! Before the first capture: learns how far the replicas are, so that the history goes on there.
//!
//! A meta directory that is older than the replica, or lost, gets the replica's newest level-0 file:
//! if the WAL still holds what that file was made of, capture continues; otherwise a base image
//! follows with the next TXID. A replica that does not answer in time does not keep capture from
//! starting; what it holds is respected when it answers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use litestream_storage::ByteRange;
use ltx::{Level, Txid, TxidRange};

use super::Inner;
use crate::error::{Error, Result};
use crate::files::{Ownership, Staged};
use crate::replica::Replica;

/// How long the start waits for the listings of the replicas.
const PATIENCE: Duration = Duration::from_secs(5);

impl Inner {
    /// See the module. Never fails: what cannot be learned now is learned by the upload.
    pub(super) async fn prepare(self: &Arc<Self>) {
        // One at a time: two would stage the same file.
        let _one = self.preparing.lock().await;
        if self.capture_is_open() {
            return;
        }
        let listings = self.replicas.iter().map(|replica| async move {
            match tokio::time::timeout(PATIENCE, replica.ensure_index()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.not_listed(replica, &error),
                Err(_) => self.not_listed(
                    replica,
                    &Error::Timeout {
                        what: "list replica".to_owned(),
                        seconds: PATIENCE.as_secs_f64(),
                    },
                ),
            }
        });
        join_all(listings).await;
        if let Err(error) = self.fetch_newest().await {
            tracing::warn!(system = "store", db = self.name, %error, "cannot fetch latest L0 file");
        }
    }

    fn capture_is_open(&self) -> bool {
        // Somebody who holds the lock is capturing, or opening for it.
        self.capture.try_lock().map_or(true, |slot| slot.is_some())
    }

    fn not_listed(&self, replica: &Replica, error: &Error) {
        tracing::warn!(
            system = "store", db = self.name, replica = replica.kind(), %error,
            "cannot list replica, capturing locally meanwhile"
        );
    }

    async fn fetch_newest(self: &Arc<Self>) -> Result<()> {
        let ahead = self
            .replicas
            .iter()
            .max_by_key(|replica| replica.known_max());
        let Some((replica, newest)) =
            ahead.and_then(|replica| Some((replica, replica.known_max()?)))
        else {
            return Ok(());
        };
        let local = self.local_newest().await?;
        if local >= Some(newest) || !self.settings.path.exists() {
            return Ok(());
        }
        tracing::info!(
            system = "store", db = self.name,
            db_txid = %local.map_or_else(|| "0000000000000000".to_owned(), |txid| txid.to_string()),
            replica_txid = %newest,
            "detected database behind replica"
        );
        if replica.with_index(|index| index.level_max(Level::RAW))? != Some(newest) {
            return Ok(());
        }
        // What is here is of the same history at best. Of another one, neither its files nor what is
        // known of its pages may come together with the one that is fetched.
        let inner = Arc::clone(self);
        let staged = self.fetch(replica, newest).await?;
        let fetched = self.shared.pool.run(move || {
            // Somebody may have begun to capture meanwhile, without it; files under an open capture are
            // not touched.
            let slot = inner.capture();
            if slot.is_some() {
                return Ok(false);
            }
            inner.local.drop_sums();
            inner.local.remove_before(newest)?;
            staged.commit().map(|()| true)
        });
        if fetched.await? {
            tracing::info!(
                system = "store", db = self.name, min_txid = %newest, max_txid = %newest,
                "fetched latest L0 file from replica"
            );
        }
        Ok(())
    }

    /// Copies one level-0 file from the replica. It counts once it is committed.
    async fn fetch(self: &Arc<Self>, replica: &Replica, txid: Txid) -> Result<Staged> {
        use futures_util::TryStreamExt;
        let range = TxidRange::single(txid);
        let key = replica.layout().key(Level::RAW, range);
        let mut object = replica.store().get(key, ByteRange::ALL).await?;
        let inner = Arc::clone(self);
        let mut staged = self
            .shared
            .pool
            .run(move || {
                let ownership = Ownership::of_database(&inner.settings.path)?;
                inner.local.stage(txid, &ownership)
            })
            .await?;
        while let Some(bytes) = object.body.try_next().await? {
            let path = self.local.file(txid);
            staged = self
                .shared
                .pool
                .run(move || {
                    use std::io::Write;
                    staged
                        .write_all(&bytes)
                        .map_err(|error| Error::io("write", &path, error))?;
                    Ok(staged)
                })
                .await?;
        }
        // The start verifies the file before it believes it.
        Ok(staged)
    }
}
