//! Opens a database for capture: connections, pinned reader, position, proof of continuity.
//!
//! Opening is all or nothing: an error leaves no connection behind.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ltx::{PageSize, Txid};
use sqlite_wal::PageMap;

use super::ltx_sink::{LtxSink, Position};
use super::pin::Pin;
use super::record::{FileStamp, Record, boot_id};
use super::recovery::{Evidence, Newest, Tail, Verdict};
use super::{Capture, CaptureSettings, Extent};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::files::Ownership;
use crate::local::LocalDir;

/// What the meta directory says.
enum LocalState {
    /// No level-0 file.
    Empty,
    /// The newest one is whole.
    Found {
        position: Position,
        header: ltx::Header,
    },
    /// The newest one cannot be trusted.
    Damaged { txid: Txid, error: Error },
}

impl Capture {
    /// Opens the database, or says `None` when there is no file.
    ///
    /// A database in another journal mode is switched to WAL mode, lastingly.
    pub(crate) fn open(
        settings: CaptureSettings,
        local: LocalDir,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>> {
        let path = settings.path.clone();
        let Some(database) = FileStamp::of(&path)? else {
            return Ok(None);
        };
        let ownership = Ownership::of_database(&path)?;
        let lock = local.lock(&ownership)?;
        local.remove_temporary()?;
        let wal_path = with_suffix(&path, "-wal");
        let pin = Pin::open(&path, settings.busy_timeout)?;
        match FileStamp::of(&path)? {
            Some(now) if now.is_same_file(&database) => {}
            _ => {
                return Err(Error::Replaced {
                    what: "database",
                    path,
                });
            }
        }
        let size = pin.connection().page_size()?;
        let page_size = PageSize::new(size)
            .ok_or_else(|| Error::Setting(format!("page size {size} of {}", path.display())))?;
        let state = local_state(&local)?;
        let position = match &state {
            LocalState::Found { position, .. } => Some(*position),
            LocalState::Empty | LocalState::Damaged { .. } => None,
        };
        let wal = FileStamp::of(&wal_path)?;
        let ltx = LtxSink::new(local.clone(), ownership, Arc::clone(&clock), position);
        let mut capture = Self {
            settings,
            wal_path,
            local,
            clock,
            pin,
            database,
            wal,
            page_size,
            tail: Tail::Fresh,
            ltx,
            boot: boot_id(),
            rebase: None,
            map: PageMap::new(),
            buffer: Vec::new(),
            let_go: None,
            place: None,
            _lock: lock,
        };
        capture.find_continuation(state)?;
        Ok(Some(capture))
    }

    fn find_continuation(&mut self, state: LocalState) -> Result<()> {
        let (position, header) = match state {
            LocalState::Empty => {
                self.rebase = Some("");
                return Ok(());
            }
            LocalState::Damaged { txid, error } => {
                let path = self.local.file(txid);
                tracing::warn!(
                    path = %path.display(), %error,
                    "newest local ltx file is damaged, taking a new base image"
                );
                self.local.files().remove(&path)?;
                self.demand_base(
                    "newest local ltx file is damaged",
                    Some(txid),
                    Extent::Difference,
                );
                return Ok(());
            }
            LocalState::Found { position, header } => (position, header),
        };
        let record = Record::read(&self.local.record());
        if record.is_some() {
            // It was written after a file was durable.
            self.local.trust_folders();
        }
        let of_newest = record.filter(|record| {
            record.txid == position.txid && record.file_checksum == position.file_checksum
        });
        let wal = match File::open(&self.wal_path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("open", &self.wal_path, error)),
        };
        let evidence = Evidence {
            newest: Newest {
                header: &header,
                record: of_newest,
            },
            record,
            local: &self.local,
            index: self.pin.peek()?,
            wal: wal.as_ref(),
            wal_path: &self.wal_path,
            database: self.database,
            page_size: self.page_size.get(),
            boot: boot_id(),
        };
        match evidence.judge()? {
            Verdict::Continue(tail) => self.tail = tail,
            Verdict::Rebase(reason) => self.rebase = Some(reason),
        }
        Ok(())
    }
}

/// Reads and verifies the newest level-0 file.
fn local_state(local: &LocalDir) -> Result<LocalState> {
    let Some(txid) = local.list()?.last().copied() else {
        return Ok(LocalState::Empty);
    };
    let path = local.file(txid);
    let fail = |error| Error::ltx("verify", &path, error);
    let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
    let verified = match ltx::verify(
        std::io::BufReader::with_capacity(1 << 18, file),
        path.display().to_string(),
    ) {
        Ok(verified) => verified,
        Err(error) => {
            let error = fail(error);
            return match error.kind() {
                ErrorKind::Corrupt | ErrorKind::Invalid => Ok(LocalState::Damaged { txid, error }),
                _ => Err(error),
            };
        }
    };
    let header = verified.header;
    if (header.min_txid, header.max_txid) != (txid, txid) {
        let error = Error::Setting(format!(
            "{}: the header says transactions {}-{}",
            path.display(),
            header.min_txid,
            header.max_txid
        ));
        return Ok(LocalState::Damaged { txid, error });
    }
    let position = Position {
        txid,
        file_checksum: verified.trailer.file_checksum,
        commit: header.commit,
        timestamp: header.timestamp,
    };
    Ok(LocalState::Found { position, header })
}

/// The path with text behind its last component.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
