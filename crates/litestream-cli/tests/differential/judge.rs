//! Restores of one replica by both programs, compared with each other and with the trail.

use testkit::hash::{Access, content_hash, file_hash, integrity_check};
use testkit::process::Failure;
use testkit::program::{Program, RestoreTarget, Source};

use super::place::{Place, ours};
use super::scene::{Pace, Scene};
use super::trail::Trail;

/// States that are restored of a trail; more would only take time.
const SAMPLES: usize = 7;

/// See the module.
pub(crate) struct Judge<'a> {
    place: &'a Place,
    reference: &'a Program,
    ours: Program,
    scene: &'a Scene,
    trail: &'a Trail,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(
        place: &'a Place,
        reference: &'a Program,
        scene: &'a Scene,
        trail: &'a Trail,
    ) -> Self {
        let ours = ours();
        Self {
            place,
            reference,
            ours,
            scene,
            trail,
        }
    }

    /// The newest state is the last step.
    pub(crate) fn latest(&self) {
        let hash = self.restored(&RestoreTarget::Latest);
        let hash = hash.unwrap_or_else(|| self.fail("the newest state cannot be restored"));
        self.expect_step(&hash, self.trail.last(), "latest");
    }

    /// Every recorded transaction gives the state it was recorded with, or is gone for both.
    pub(crate) fn marks(&self) {
        let mut found = 0;
        for mark in sample(self.trail.marks()) {
            let target = RestoreTarget::Txid(format!("{:016x}", mark.txid));
            match self.restored(&target) {
                Some(hash) => {
                    self.expect_step(&hash, mark.step, &format!("{target:?}"));
                    found += 1;
                }
                None if self.scene.pace() == Pace::Forgetful => {}
                None => self.fail(&format!("{mark:?} cannot be restored")),
            }
        }
        // The newest transaction is always there.
        assert!(found > 0, "seed {}: no mark is left", self.trail.seed());
    }

    /// A time between two marks gives a state that was committed by then; while nothing is
    /// forgotten it is the state of the mark before, or a later one.
    pub(crate) fn times(&self) {
        let marks = self.trail.marks();
        let newest = marks.last().expect("marks").txid;
        // A time after the newest file is an error; behind both of these marks a file follows.
        let pairs: Vec<_> = marks
            .windows(2)
            .filter(|pair| pair.iter().all(|mark| mark.txid < newest))
            .collect();
        for pair in sample(&pairs) {
            let [mark, next] = pair else {
                unreachable!("windows of two")
            };
            let middle = mark.time + (next.time - mark.time) * (self.trail.seed() % 10) / 10;
            for time in [mark.time, middle] {
                self.time(time, mark.step);
            }
        }
    }

    fn time(&self, time: u64, least: usize) {
        let seed = self.trail.seed();
        // Finer than the times of files.
        let micros = time as i64 * 1000 + (seed % 1000) as i64;
        let text = jiff::Timestamp::from_microsecond(micros).expect("a time of today");
        let target = RestoreTarget::Timestamp(text.to_string());
        let Some(hash) = self.restored(&target) else {
            if self.scene.pace() != Pace::Forgetful {
                self.fail(&format!(
                    "{target:?} cannot be restored; {:?}",
                    self.trail.marks()
                ));
            }
            return;
        };
        let step = self.trail.step_of(&hash);
        let step = step.unwrap_or_else(|| self.fail(&format!("{target:?}: no recorded state")));
        assert!(
            step <= self.trail.begun_by(time),
            "seed {seed}: {target:?}: step {step} was not committed yet"
        );
        assert!(
            step >= least || self.scene.pace() == Pace::Forgetful,
            "seed {seed}: {target:?}: step {step}, but {least} was replicated"
        );
    }

    /// Both list the replica with the same words.
    pub(crate) fn listings(&self) {
        let url = testkit::program::file_url(&self.place.replica());
        let list = |program: &Program| {
            let args = [
                "ltx".as_ref(),
                "-level".as_ref(),
                "all".as_ref(),
                url.as_os_str(),
            ];
            program.run(args).expect("a listing").stdout
        };
        let listed = list(&self.ours);
        assert!(listed.lines().count() > 1, "nothing listed: {listed}");
        assert_eq!(listed, list(self.reference), "seed {}", self.trail.seed());
    }

    /// The content hash of what both restore, page for page the same; `None` when both say that
    /// there is no such state.
    fn restored(&self, target: &RestoreTarget) -> Option<String> {
        let source = Source::Replica(self.place.replica());
        let files = [
            self.place.path("restored-ours"),
            self.place.path("restored-reference"),
        ];
        let [ours, reference] = [&self.ours, self.reference]
            .into_iter()
            .zip(&files)
            .map(|(program, out)| program.restore(&source, out, target))
            .collect::<Vec<_>>()
            .try_into()
            .expect("two programs");
        match (ours, reference) {
            (Ok(()), Ok(())) => {}
            (Err(ours), Err(reference)) => {
                assert_eq!(cause(&ours), cause(&reference), "{target:?}");
                return None;
            }
            // Where only L1 bridges what is forgotten and is too new, the reference gives the state before
            // the hole without a word (D18); we say that there is one.
            (Err(ours), Ok(()))
                if matches!(target, RestoreTarget::Timestamp(_))
                    && self.scene.pace() == Pace::Forgetful
                    && ours.stderr.contains("non-contiguous ltx files") =>
            {
                std::fs::remove_file(&files[1]).expect("the restored file goes");
                return None;
            }
            (ours, reference) => self.fail(&format!(
                "{target:?}: ours {ours:?}, reference {reference:?}"
            )),
        }
        let [ours, reference] = &files;
        let hashes = [file_hash(ours), file_hash(reference)].map(|hash| hash.expect("a file"));
        if hashes[0] != hashes[1] {
            self.fail(&format!("{target:?}: the restored files differ"));
        }
        integrity_check(ours, Access::Rest).expect("a sound database");
        let hash = content_hash(ours, Access::Rest).expect("a readable database");
        for out in &files {
            std::fs::remove_file(out).expect("the restored file goes");
        }
        Some(hash)
    }

    fn expect_step(&self, hash: &str, wanted: usize, what: &str) {
        if hash != self.trail.hash(wanted) {
            let found = self.trail.step_of(hash);
            self.fail(&format!("{what}: restored step {found:?}, wanted {wanted}"));
        }
    }

    fn fail(&self, text: &str) -> ! {
        let files = testkit::program::replica_files(&self.place.replica());
        panic!(
            "seed {}, {:?}: {text}\n{files:#?}",
            self.trail.seed(),
            self.scene
        )
    }
}

/// What was wrong, without the words of the program's log.
fn cause(failure: &Failure) -> &str {
    failure.stderr.lines().last().unwrap_or_default()
}

/// Some of all, evenly spread, the first and the last among them.
fn sample<T>(all: &[T]) -> Vec<&T> {
    let count = all.len().min(SAMPLES);
    let last = all.len().saturating_sub(1);
    let indices = (0..count).map(|n| n * last / (count - 1).max(1));
    indices.filter_map(|index| all.get(index)).collect()
}
