//! What `sync -wait` acknowledged survives: `kill -9` at any moment, and an application that
//! resets the WAL while nobody looks.
//!
//! The moments are counted in commits of the application and drawn from a fixed seed; how far
//! the daemon is by then is for the machine to decide, and no outcome may depend on it.

mod acknowledged;
#[path = "../shared/place.rs"]
mod place;
mod reset;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::hash::Access;
use testkit::prefix::{Load, Prefix};
use testkit::program::{Program, RestoreTarget, Source};
use testkit::reference::{Reference, Version, reference_or_skip};
use testkit::writer::PrefixWriter;

use self::acknowledged::Acknowledged;
use self::place::{Place, Settings, ours};

const LONG: Duration = Duration::from_mins(1);
/// Kills of each of the two tests.
const ROUNDS: u64 = 25;

/// One database under load, and the daemon's settings of each round.
struct Crashes {
    place: Place,
    prefix: Prefix,
    reference: Option<Reference>,
    /// What was acknowledged in any round.
    least: u64,
}

impl Crashes {
    fn new(seed: u64) -> Self {
        Self {
            place: Place::new(),
            prefix: Prefix::new(seed),
            reference: reference_or_skip(Version::V0_5_17),
            least: 0,
        }
    }

    /// Low thresholds in two rounds of three, the defaults of the database in the third.
    fn configure(&self, round: u64) {
        let (db, replica): (Value, Value) = match round % 3 {
            0 => (json!({}), json!({"sync-interval": "30ms"})),
            1 => (
                json!({"monitor-interval": "10ms", "min-checkpoint-page-count": 10}),
                json!({"sync-interval": "10ms"}),
            ),
            _ => (
                json!({"monitor-interval": "30ms", "min-checkpoint-page-count": 100,
                       "truncate-page-n": 300}),
                json!({"sync-interval": "30ms"}),
            ),
        };
        let top = json!({
            "levels": [{"interval": "1s"}, {"interval": "2s"}],
            "snapshot": {"interval": "3s", "retention": "10s"},
            "l0-retention": "2s",
            "l0-retention-check-interval": "500ms",
        });
        self.place.configure(&Settings { top, db, replica });
    }

    /// Runs a daemon under load until `commits` more are there, kills it amid a sync, and
    /// checks what the replica alone gives.
    fn round(&mut self, round: u64, commits: u64, writer: &mut PrefixWriter) {
        self.configure(round);
        let mut daemon = self.place.start(&ours());
        let progress = self.place.path("progress");
        let syncs = Acknowledged::begin(self.place.socket(), &self.place.db(), progress);
        let goal = writer.progress().expect("progress").committed + commits;
        writer.wait_committed(goal, LONG).expect("load");
        if round == 0 {
            syncs.wait_first(LONG).expect("a first acknowledgement");
        }
        daemon.kill_9().expect("the daemon runs until it is killed");
        let begun = writer.progress().expect("progress").begun;
        self.least = self.least.max(syncs.end());
        let found = self.proved(&ours(), round);
        assert!(
            self.least <= found && found <= begun,
            "round {round}: restored {found}, acknowledged {}, begun {begun}",
            self.least
        );
        if let Some(reference) = self.reference.as_ref().filter(|_| round % 5 == 4) {
            assert_eq!(self.proved(reference, round), found, "round {round}");
        }
    }

    /// The transaction whose state `program` restores from the replica alone.
    fn proved(&self, program: &Program, round: u64) -> u64 {
        let out = self.place.path("restored");
        restore(program, &self.place.replica(), &out);
        let found = self.prefix.proves(&out, Access::Rest);
        let found = found.unwrap_or_else(|error| panic!("round {round}: {error:#}"));
        std::fs::remove_file(&out).expect("the restored file goes");
        found
    }

    /// The load stops, the daemon ends in order, and nothing is missing.
    fn end(&mut self, writer: PrefixWriter) {
        let mut daemon = self.place.start(&ours());
        let total = writer.stop().expect("the application ends").last;
        daemon.stop(LONG).expect("a clean end");
        assert_eq!(self.proved(&ours(), ROUNDS), total);
        if let Some(reference) = &self.reference {
            assert_eq!(self.proved(reference, ROUNDS), total);
        }
        assert!(self.least > 0 && self.least <= total);
    }
}

fn restore(program: &Program, replica: &Path, out: &Path) {
    let source = Source::Replica(replica.to_owned());
    let restored = program.restore(&source, out, &RestoreTarget::Latest);
    restored.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A sequence of numbers below `most`, the same for the same seed.
fn drawn(seed: u64, most: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    })
}

fn kills(seed: u64, autocheckpoint: u32) {
    let mut crashes = Crashes::new(seed);
    let load = Load {
        rate: Some(300.0),
        autocheckpoint,
        ..Load::new(
            crashes.prefix,
            crashes.place.db(),
            crashes.place.path("progress"),
        )
    };
    let mut writer = PrefixWriter::start(&load).expect("the application starts");
    for (round, commits) in (0..ROUNDS).zip(drawn(seed, 300)) {
        crashes.round(round, commits, &mut writer);
        if round % 4 == 3 {
            // Away long enough for the application's checkpoint to come.
            let goal = writer.progress().expect("progress").committed + 300;
            writer.wait_committed(goal, LONG).expect("load");
        }
    }
    crashes.end(writer);
}

#[test]
fn acknowledged_commits_survive_kills() {
    kills(1, 0);
}

#[test]
fn acknowledged_commits_survive_kills_and_checkpoints_of_the_application() {
    kills(2, 1000);
}
