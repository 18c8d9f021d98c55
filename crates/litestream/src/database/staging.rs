//! Keeps the level-0 files in the meta directory within their bound.
//!
//! They stay until every replica has them, and compacted. Above the bound those go first that every
//! replica has; then the replicas that lack most are marked as behind, loudly, and the files that only
//! they need go too. Such a replica catches up with a snapshot.
//!
//! Invariant: the newest file stays, and so does the newest that every healthy replica has.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use ltx::Txid;

use super::Inner;
use crate::error::Result;
use crate::replica::{Behind, Replica};
use crate::settings::defaults;

impl Inner {
    /// Notes bytes of new level-0 files. Those that are removed are noted only when the bound is
    /// reached: until then it is enough to know that there are not more.
    pub(super) fn note_staged(&self, bytes: u64) {
        self.staged.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes the bytes of all level-0 files.
    pub(super) fn set_staged(&self, bytes: u64) {
        self.staged.store(bytes, Ordering::Relaxed);
    }

    fn staging_bound(&self) -> u64 {
        self.settings.max_staged_bytes.unwrap_or_else(|| {
            let database = std::fs::metadata(&self.settings.path);
            database
                .map_or(0, |metadata| metadata.len())
                .max(defaults::MIN_STAGED_BYTES)
        })
    }

    /// Removes files while there are too many bytes of them. What fails here fails the next capture
    /// too if it matters, so it is only logged.
    pub(super) async fn bound_staging(self: &Arc<Self>) {
        if self.staged.load(Ordering::Relaxed) <= self.staging_bound() {
            return;
        }
        let inner = Arc::clone(self);
        let bounded = self.shared.slow_pool.run(move || inner.try_bound()).await;
        if let Err(error) = bounded {
            tracing::warn!(system = "store", db = self.name, %error, "bound local ltx files");
        }
    }

    /// Removes what every replica has: the disk is full.
    pub(super) async fn free_staging(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        let freed = self.shared.slow_pool.run(move || {
            let slowest = inner.slowest(|_| true);
            inner.remove_staged(slowest.and_then(|replica| replica.acknowledged()))?;
            Ok(())
        });
        if let Err(error) = freed.await {
            tracing::debug!(system = "store", db = self.name, %error, "free local disk");
        }
    }

    fn try_bound(&self) -> Result<()> {
        let bound = self.staging_bound();
        let mut size = self.local.size()?;
        while size > bound {
            // What the slowest has is not needed any more. With nobody to wait for, only the newest is.
            let slowest = self.slowest(is_healthy);
            let needed_from = match slowest {
                Some(replica) => replica.acknowledged(),
                None => self.position(),
            };
            self.remove_staged(needed_from)?;
            size = self.local.size()?;
            match slowest.filter(|_| size > bound && needed_from < self.position()) {
                Some(replica) => self.give_up(replica, size),
                None => break,
            }
        }
        self.set_staged(size);
        Ok(())
    }

    /// The replica that has least, of those that count.
    fn slowest(&self, counts: impl Fn(&Replica) -> bool) -> Option<&Arc<Replica>> {
        let replicas = self.replicas.iter();
        replicas
            .filter(|replica| counts(replica))
            .min_by_key(|replica| replica.acknowledged())
    }

    fn remove_staged(&self, acknowledged: Option<Txid>) -> Result<()> {
        let (Some(acknowledged), Some(position)) = (acknowledged, self.position()) else {
            return Ok(());
        };
        let removed = self.local.remove_before(acknowledged.min(position))?;
        tracing::debug!(
            system = "store",
            db = self.name,
            removed,
            "deleting local ltx files"
        );
        Ok(())
    }

    fn give_up(&self, replica: &Replica, staged: u64) {
        let acknowledged = replica.acknowledged();
        replica.set_behind(Some(Behind {
            acknowledged,
            staged,
            since: SystemTime::now(),
        }));
        tracing::error!(
            system = "store",
            db = self.name,
            replica = replica.kind(),
            staged,
            bound = self.staging_bound(),
            txid.replica = acknowledged.map_or_else(String::new, |txid| txid.to_string()),
            "replica is behind: the local ltx files that it lacks take too much space, it will catch \
             up with a snapshot"
        );
    }
}

fn is_healthy(replica: &Replica) -> bool {
    replica.behind().is_none()
}
