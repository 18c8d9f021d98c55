//! The base, transaction 1: which level it goes to, its copy, and that there is no other one.
//!
//! A large one goes to the snapshot level and nowhere else; a small one goes to level 0, where others look for
//! the newest transaction, and is copied to the snapshot level a little later.
//!
//! Invariant: a base counts as put only when the other level was seen to have no other one after that. Of two
//! writers that begin on one empty replica, with a small and a large base, each looks after its put: at least
//! one sees the other.

use litestream_storage::{self as storage, Key};
use ltx::{Level, Txid, TxidRange};

use super::checked::Checked;
use super::{RemoteFile, Replica, Uploaded};
use crate::error::{Error, Result};
use crate::local::{LEAST_SIZE, LocalDir};

/// Where the file of a transaction goes.
pub(super) fn level_of(file: &Checked, txid: Txid) -> Level {
    if txid == Txid::FIRST && !file.is_small() {
        Level::SNAPSHOT
    } else {
        Level::RAW
    }
}

impl Replica {
    /// Fails if the other level has a base that is not the one just put to `level`, which is taken away again.
    ///
    /// # Errors
    /// [`Error::ForeignWriter`].
    ///
    /// # Cost
    /// One request.
    pub(super) async fn has_only_base(&self, file: &Checked, level: Level) -> Result<()> {
        let other = if level == Level::RAW {
            Level::SNAPSHOT
        } else {
            Level::RAW
        };
        let range = TxidRange::single(Txid::FIRST);
        let size = match self.store.head(self.layout.key(other, range)).await {
            // No base yet: whoever is putting it there looks, too, when it is whole.
            Ok(meta) if meta.size < LEAST_SIZE => return Ok(()),
            Ok(meta) => meta.size,
            Err(error) if error.kind() == storage::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let there = RemoteFile {
            level: other,
            range,
            size,
            created: file.ends.header.timestamp,
        };
        if self.is_same(&there, &file.ends).await? {
            return Ok(());
        }
        let error = self.fence(Txid::FIRST);
        // Nobody builds upon it: it is not acknowledged, and whoever lists the replica finds the other.
        self.take_back(self.layout.key(level, range)).await;
        Err(error)
    }

    async fn take_back(&self, key: Key) {
        let failed = match self.store.delete(vec![key.clone()]).await {
            Ok(mut failures) => failures.pop().map(|(_, error)| error),
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            tracing::warn!(replica = self.kind(), %key, %error, "cannot remove the base put beside another writer's");
        }
    }

    /// Puts `base` of level 0 to the snapshot level, if there is a sound local file of it; `None` if not.
    ///
    /// # Cost
    /// As [`Self::upload`], and one small ranged read.
    pub(crate) async fn copy_base(
        &self,
        local: &LocalDir,
        base: &RemoteFile,
    ) -> Result<Option<Uploaded>> {
        let file = match Checked::read(local, Txid::FIRST).await {
            Ok(file) => file,
            Err(Error::LtxMissing { .. } | Error::LtxDamaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // The local file may be of another history than the replica, which has no meta directory.
        if !self.is_same(base, &file.ends).await? {
            return Ok(None);
        }
        let put = self.put_on(&file, Level::SNAPSHOT, Txid::FIRST).await?;
        Ok(Some(put))
    }
}
