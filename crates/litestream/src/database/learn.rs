//! Reads the page checksums of a state from a replica, so that a history that is lost locally goes on
//! with the pages that differ: after a restore, or when the meta directory is gone.
//!
//! Reads at most as many bytes as the whole database has: beyond that a base image costs less. What
//! fails here costs that base image and nothing else.

use std::sync::Arc;
use std::sync::PoisonError;

use ltx::{PageSize, Txid};

use super::Inner;
use crate::bridge::ChunkReader;
use crate::error::{Error, Result};
use crate::files::Ownership;
use crate::page_sums::{Head, SumsWriter, read_pages};
use crate::replica::Replica;
use crate::restore::{RestorePlan, Target, plan};
use litestream_storage::ByteRange;

/// Small databases are read from the replica whatever their files add up to.
const SMALL: u64 = 16 << 20;

impl Inner {
    /// Whether it is worth while to look for the page checksums of a state: once for each.
    pub(super) fn may_learn(&self, txid: Txid) -> bool {
        let learned = *self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned != Some(txid)
            && self
                .replicas
                .iter()
                .any(|replica| replica.known_max() == Some(txid))
    }

    /// Reads the state after `txid` from a replica of which it is the newest. Says whether the page
    /// checksums are at hand now.
    pub(super) async fn learn_pages(self: &Arc<Self>, txid: Txid) -> bool {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = Some(txid);
        for replica in &self.replicas {
            if replica.known_max() != Some(txid) {
                continue;
            }
            match self.learn_from(replica, txid).await {
                Ok(true) => {
                    // What differs from this one says nothing about the others.
                    for other in &self.replicas {
                        other.accept(Arc::ptr_eq(other, replica).then_some(txid));
                    }
                    return true;
                }
                Ok(false) => {}
                Err(error) => {
                    self.local.drop_sums();
                    tracing::warn!(
                        system = "store", db = self.name, replica = replica.kind(), %error,
                        "cannot read page checksums from replica"
                    );
                }
            }
        }
        false
    }

    async fn learn_from(self: &Arc<Self>, replica: &Arc<Replica>, txid: Txid) -> Result<bool> {
        // A file of our own of the same transaction must be the same file.
        if !replica.may_be_ours(&self.local, txid).await? {
            return Ok(false);
        }
        let Ok(plan) = replica.with_index(|index| plan(index, Target::Txid(txid)))? else {
            return Ok(false);
        };
        let bytes: u64 = plan.files().iter().map(|file| file.size).sum();
        let database = std::fs::metadata(&self.settings.path)
            .map_err(|error| Error::io("stat", &self.settings.path, error))?;
        if bytes > database.len().max(SMALL) {
            tracing::info!(
                system = "store", db = self.name, replica = replica.kind(), %txid, bytes,
                database = database.len(), "the replica's files are larger than the database"
            );
            return Ok(false);
        }
        tracing::info!(
            system = "store", db = self.name, replica = replica.kind(), %txid, bytes,
            files = plan.files().len(), "comparing the database with the replica"
        );
        let Some(head) = self.read_plan(replica, &plan, txid).await? else {
            return Ok(false);
        };
        let inner = Arc::clone(self);
        let marked = self.shared.pool.run(move || {
            if head.file_checksum == 0
                && let Some(capture) = inner.capture().as_mut()
            {
                capture.has_read_sums();
            }
            Ok(())
        });
        marked.await.map(|()| true)
    }

    /// Reads all files of a plan, oldest first. `None` if they are of two page sizes, or if a base
    /// image came first.
    async fn read_plan(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        plan: &RestorePlan,
        txid: Txid,
    ) -> Result<Option<Head>> {
        let ownership = Ownership::of_database(&self.settings.path)?;
        let Some(mut sums) = self.local.write_sums(&ownership)? else {
            return Ok(None);
        };
        let mut size: Option<(PageSize, u32)> = None;
        for file in plan.files() {
            let key = replica.layout().key(file.level, file.range);
            let path = std::path::PathBuf::from(key.as_str());
            let object = replica.store().get(key, ByteRange::ALL).await?;
            let reader = ChunkReader::spawn(object.body);
            let read = move || {
                let (header, _) = read_pages(reader, &path, |pgno, page| sums.set(pgno, page))?;
                Ok((sums, header))
            };
            let (back, header): (SumsWriter, _) = self.shared.slow_pool.run(read).await?;
            sums = back;
            if size.is_some_and(|(page_size, _)| page_size != header.page_size) {
                return Ok(None);
            }
            size = Some((header.page_size, header.commit));
        }
        let Some((page_size, commit)) = size else {
            return Ok(None);
        };
        let ends = self.local.ends(txid)?;
        let file_checksum =
            ends.map_or(0, |ends| ltx::Trailer::decode(&ends.trailer).file_checksum);
        let head = Head {
            page_size,
            commit,
            txid,
            file_checksum,
        };
        self.shared
            .pool
            .run(move || sums.finish(&head).map(|()| Some(head)))
            .await
    }
}
