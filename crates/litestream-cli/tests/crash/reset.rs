//! A planned restart under an application that checkpoints by itself.
//!
//! The daemon is stopped cleanly; the application goes on until its own checkpoint has reset the
//! WAL, and a little further; the daemon comes back while the new WAL is still shorter than the
//! position it had reached in the old one. What was committed in between is in the database file
//! only.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;
use testkit::hash::{Access, with_suffix};
use testkit::prefix::Prefix;

use super::place::{Place, Settings, ours};
use super::{LONG, drawn, restore};

const TRIALS: usize = 20;
/// Commits before the stop: more WAL than what follows the reset.
const BEFORE: u64 = 150;

/// The application. It may live in this process because the daemon does not.
struct Application {
    prefix: Prefix,
    connection: Connection,
    last: u64,
}

impl Application {
    fn commit(&mut self, count: u64) {
        for _ in 0..count {
            self.last += 1;
            let done = self.prefix.apply(&mut self.connection, self.last);
            done.expect("the application commits");
        }
    }
}

/// The salts of the WAL; `None` while it is empty.
fn salts(db: &Path) -> Option<[u8; 8]> {
    let file = File::open(with_suffix(db, "-wal")).expect("a WAL");
    let mut salts = [0; 8];
    file.read_exact_at(&mut salts, 16).ok().map(|()| salts)
}

#[test]
fn commits_before_a_reset_of_the_wal_are_not_forgotten() {
    let place = Place::new();
    let prefix = Prefix::new(3);
    drop(prefix.create(&place.db()).expect("a database"));
    let connection = Prefix::open(&place.db(), 1000, LONG).expect("the database");
    let mut application = Application {
        prefix,
        connection,
        last: 0,
    };
    place.configure(&Settings::default());
    for (trial, more) in (0..TRIALS).zip(drawn(3, 30)) {
        let mut daemon = place.start(&ours());
        application.commit(BEFORE);
        let synced = ours().sync_wait(place.socket(), &place.db());
        synced.expect("the daemon replicates");
        daemon.stop(LONG).expect("a clean end");
        let old = salts(&place.db());
        assert!(
            old.is_some(),
            "trial {trial}: the WAL of {BEFORE} commits is empty"
        );
        let from = application.last;
        while salts(&place.db()) == old {
            application.commit(1);
            assert!(application.last < from + 5000, "the WAL is never reset");
        }
        application.commit(more);
        let mut daemon = place.start(&ours());
        let synced = ours().sync_wait(place.socket(), &place.db());
        synced.expect("the daemon replicates again");
        let out = place.path("restored");
        restore(&ours(), &place.replica(), &out);
        let found = prefix
            .proves(&out, Access::Rest)
            .expect("a state of the history");
        assert_eq!(found, application.last, "trial {trial}");
        std::fs::remove_file(&out).expect("the restored file goes");
        daemon.stop(LONG).expect("a clean end");
    }
}
