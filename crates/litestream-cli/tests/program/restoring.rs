//! `restore` and its flags.

use std::path::PathBuf;

use serde_json::Value;
use testkit::process::{Failure, Finished};
use testkit::program::{RestoreTarget, Source, replica_files};

use super::place::{Place, Settings, ours};
use super::{Application, rows};

/// A replica with 5 rows, and a place to restore to.
struct Bench {
    place: Place,
    out: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let bench = Self::empty();
        Application::open(&bench.place.db()).insert(5);
        let replicated = ours().replicate_once(&bench.place.db(), &bench.place.replica());
        replicated.expect("a replica");
        bench
    }

    fn empty() -> Self {
        let place = Place::new();
        let out = place.path("out");
        Self { place, out }
    }

    fn restore(&self, options: &[&str]) -> Result<Finished, Failure> {
        let source = Source::Replica(self.place.replica());
        ours().restore_with(options, &source, &self.out, &RestoreTarget::Latest)
    }

    fn refused(&self, options: &[&str], text: &str) {
        let failure = self.restore(options).expect_err("a refusal");
        assert_eq!(failure.status, Some(1), "{failure}");
        assert!(failure.stderr.contains(text), "{failure}");
    }
}

#[test]
fn an_existing_output_stays_unless_forced() {
    let bench = Bench::new();
    std::fs::write(&bench.out, "precious").expect("a file");
    bench.refused(&[], "already exists and is not empty");
    assert_eq!(std::fs::read(&bench.out).expect("the file"), b"precious");
    std::fs::write(bench.place.path("out-wal"), "old").expect("a side file");
    bench.restore(&["-force"]).expect("the output is replaced");
    assert_eq!(rows(&bench.out), 5);
    assert!(
        !bench.place.path("out-wal").exists(),
        "the old WAL is still there"
    );
    let left: Vec<_> = std::fs::read_dir(bench.place.path("."))
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().contains("tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_existing_database_is_enough_when_asked_for() {
    let bench = Bench::new();
    std::fs::write(&bench.out, "precious").expect("a file");
    let said = bench
        .restore(&["-if-db-not-exists"])
        .expect("nothing to do");
    assert!(
        said.stdout.contains("database already exists, skipping"),
        "{said:?}"
    );
    let said = bench
        .restore(&["-if-db-not-exists", "-force"])
        .expect("nothing to do");
    assert!(
        said.stdout.contains("database already exists, skipping"),
        "{said:?}"
    );
    assert_eq!(std::fs::read(&bench.out).expect("the file"), b"precious");
}

#[test]
fn no_backup_is_an_error_unless_expected() {
    let bench = Bench::empty();
    bench.refused(&[], "Error: no matching backup files available");
    let said = bench
        .restore(&["-if-replica-exists"])
        .expect("nothing to do");
    assert!(
        said.stdout.contains("no matching backups found"),
        "{said:?}"
    );
    assert!(!bench.out.exists());
}

#[test]
fn the_result_as_json() {
    let bench = Bench::new();
    let said = bench
        .restore(&["-json", "-integrity-check", "full"])
        .expect("restored");
    let result: Value = serde_json::from_str(&said.stdout).expect("JSON alone");
    assert_eq!(result["db_path"], bench.out.to_str().expect("UTF-8"));
    assert_eq!(result["replica"], "file");
    assert_eq!(result["integrity_check"], "full");
    assert_eq!(result["txid"].as_str().map(str::len), Some(16), "{result}");
    assert!(result["duration_ms"].is_u64(), "{result}");
    assert!(
        said.stderr.contains("post-restore integrity check passed"),
        "{said:?}"
    );
    assert_eq!(rows(&bench.out), 5);
}

#[test]
fn a_dry_run_writes_nothing() {
    let bench = Bench::new();
    let said = bench.restore(&["-dry-run"]).expect("a plan").stdout;
    for line in [
        "Restore plan:\n",
        "\n  replica: file\n",
        "\nFiles to fetch:\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let said = bench
        .restore(&["-dry-run", "-json"])
        .expect("a plan")
        .stdout;
    let plan: Value = serde_json::from_str(&said).expect("JSON alone");
    let files = plan["files"].as_array().expect("files");
    assert!(!files.is_empty(), "{plan}");
    assert_eq!(
        plan["max_txid"],
        files[files.len() - 1]["max_txid"],
        "{plan}"
    );
    assert!(!bench.out.exists());
}

#[test]
fn a_configured_database_goes_where_it_was() {
    let bench = Bench::new();
    let config = bench.place.configure(&Settings::default());
    let words = |words: &[&str]| {
        let mut args = vec![
            "restore".into(),
            "-config".into(),
            config.clone().into_os_string(),
        ];
        args.extend(words.iter().map(Into::into));
        args.push(bench.place.db().into());
        args
    };
    let failure = ours().run(words(&[])).expect_err("the database is there");
    assert!(
        failure.stderr.contains("already exists and is not empty"),
        "{failure}"
    );
    Application::open(&bench.place.db()).insert(1);
    ours()
        .run(words(&["-force"]))
        .expect("the database is replaced");
    assert_eq!(rows(&bench.place.db()), 5);
}

/// In the form with a URL the times of the replica decide, in the words of the reference; a configured database is
/// restored as of then, or not at all.
#[test]
fn a_time_before_or_after_everything() {
    let bench = Bench::new();
    for time in ["2001-02-03T04:05:06Z", "2101-02-03T04:05:06Z"] {
        bench.refused(&["-timestamp", time], "Error: timestamp does not exist");
        assert!(!bench.out.exists(), "{time}");
    }
    let config = bench.place.configure(&Settings::default());
    let words = |time: &str| -> Vec<std::ffi::OsString> {
        let mut args: Vec<std::ffi::OsString> = ["restore", "-config"].map(Into::into).to_vec();
        args.push(config.clone().into());
        args.extend(["-timestamp", time, "-o"].map(Into::into));
        args.extend([bench.out.clone().into(), bench.place.db().into()]);
        args
    };
    let failure = ours()
        .run(words("2001-02-03T04:05:06Z"))
        .expect_err("too old");
    let text = "Error: no matching backup files available";
    assert!(failure.stderr.contains(text), "{failure}");
    assert!(!bench.out.exists());
    ours()
        .run(words("2101-02-03T04:05:06Z"))
        .expect("the newest state");
    assert_eq!(rows(&bench.out), 5);
}

/// Files have times in milliseconds, and a time may be given more finely: a file of the same millisecond is before it.
#[test]
fn a_time_within_the_millisecond_of_a_file() {
    let bench = Bench::new();
    let config = bench.place.configure(&Settings::default());
    let mut files = replica_files(&bench.place.replica());
    files.retain(|file| file.extension().is_some_and(|end| end == "ltx"));
    let newest = files.iter().max_by_key(|file| file.file_name());
    let newest = bench.place.replica().join(newest.expect("a file"));
    let made = std::fs::metadata(newest).and_then(|meta| meta.modified());
    let made = jiff::Timestamp::try_from(made.expect("a time")).expect("of today");
    let restore = |time: jiff::Timestamp| {
        let time = time.to_string();
        let mut args: Vec<std::ffi::OsString> = ["restore", "-config"].map(Into::into).to_vec();
        args.push(config.clone().into());
        args.extend(["-force", "-timestamp", &time, "-o"].map(Into::into));
        args.extend([bench.out.clone().into(), bench.place.db().into()]);
        ours().run(args).map(|_| rows(&bench.out))
    };
    let finest = std::time::Duration::from_nanos(1);
    assert_eq!(restore(made + finest).expect("of before"), 5);
    assert!(!restore(made).is_ok_and(|rows| rows == 5));
}
