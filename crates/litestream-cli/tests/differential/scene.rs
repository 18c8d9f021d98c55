//! What a seed stands for: properties of the database, habits of the application, settings of
//! the daemon.

use std::path::Path;

use serde_json::json;
use testkit::history::{AutoVacuum, Encoding, Options};
use testkit::program::{Daemon, replica_files};
use testkit::writer::HistoryWriter;

use super::place::{Place, Settings};
use super::trail::LONG;

/// All that `SQLite` knows but 2048, 16384 and 32768 first, so that few seeds have the extremes.
const PAGE_SIZES: [u32; 8] = [4096, 512, 65536, 1024, 8192, 2048, 32768, 16384];
/// Checkpoints of the application: never, `SQLite`'s default, all the time.
const AUTOCHECKPOINTS: [u32; 3] = [1000, 0, 7];

/// How fast the daemon works, and how long it remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// All defaults: hardly anything is compacted while a test runs.
    Default,
    /// Captures, checkpoints, compactions and snapshots as often as possible.
    Brisk,
    /// [`Pace::Brisk`], and compacted level-0 files go at once.
    Forgetful,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Scene {
    seed: u64,
    options: Options,
    pace: Pace,
}

impl Scene {
    pub(crate) fn of(seed: u64) -> Self {
        let pick = |divisor: u64, count: usize| (seed / divisor % count as u64) as usize;
        let options = Options {
            page_size: PAGE_SIZES[pick(1, 8)],
            auto_vacuum: AutoVacuum::ALL[pick(1, 3)],
            encoding: Encoding::ALL[pick(2, 3)],
            autocheckpoint: AUTOCHECKPOINTS[pick(3, 3)],
            ..Options::default()
        };
        let pace = [Pace::Brisk, Pace::Forgetful, Pace::Default][pick(1, 3)];
        Self {
            seed,
            options,
            pace,
        }
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// The application, beginning or going on.
    pub(crate) fn writer(&self, db: &Path) -> HistoryWriter {
        HistoryWriter::start(db, self.seed, &self.options).expect("the application starts")
    }

    pub(crate) fn settings(&self) -> Settings {
        if self.pace == Pace::Default {
            return Settings::default();
        }
        let mut top = json!({
            "levels": [{"interval": "1s"}, {"interval": "2s"}],
            "snapshot": {"interval": "2s", "retention": "1h"},
            "l0-retention-check-interval": "500ms",
        });
        if self.pace == Pace::Forgetful {
            top["l0-retention"] = json!("1ms");
        }
        Settings {
            top,
            db: json!({"monitor-interval": "20ms", "min-checkpoint-page-count": 20}),
            replica: json!({"sync-interval": "10ms"}),
        }
    }

    /// [`Scene::settings`] for the reference when it is told to sync: see the head of the tests.
    pub(crate) fn settings_without_checkpoints(&self) -> Settings {
        let mut settings = self.settings();
        settings.db["min-checkpoint-page-count"] = json!(1_000_000);
        settings.db["checkpoint-interval"] = json!("0s");
        settings
    }

    /// Waits until the daemon has done what its pace asks for, so that the test is about it.
    pub(crate) fn settle(&self, place: &Place, daemon: &mut Daemon) {
        if self.pace == Pace::Default {
            return;
        }
        let forgets = self.pace == Pace::Forgetful;
        let replica = place.replica();
        let what = format!("snapshot, compaction and retention of {self:?}");
        daemon
            .wait_while_alive(LONG, &what, |_| {
                let files = replica_files(&replica);
                let has = |level: &str| files.iter().any(|file| file.starts_with(level));
                let first = "ltx/0/0000000000000001-0000000000000001.ltx";
                Ok(has("ltx/1") && has("ltx/9") && !(forgets && has(first)))
            })
            .expect("the replica is kept as configured");
    }
}
