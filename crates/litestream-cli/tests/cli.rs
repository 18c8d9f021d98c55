//! The built program, from the outside: streams, exit codes, files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for each test, and the program run in it.
struct Bench {
    folder: tempfile::TempDir,
}

/// What a run gave: exit code, standard output, standard error.
type Outcome = (i32, String, String);

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("temporary folder"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder
            .path()
            .canonicalize()
            .expect("folder exists")
            .join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(&path, text).expect("file");
        path.to_string_lossy().into_owned()
    }

    fn run_with(&self, words: &[&str], vars: &[(&str, &str)]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_litestream"))
            .args(words)
            .env_clear()
            .env("TZ", "UTC")
            .env("LITESTREAM_CONFIG", self.path("none.yml"))
            .envs(vars.iter().copied())
            .current_dir(self.path(""))
            .output()
            .expect("program runs");
        outcome(&output)
    }

    fn run(&self, words: &[&str]) -> Outcome {
        self.run_with(words, &[])
    }

    /// Runs a command with the given configuration.
    fn configured(&self, command: &[&str], config: &str, rest: &[&str]) -> Outcome {
        let file = self.write("litestream.yml", config);
        let mut words = command.to_vec();
        words.extend(["-config", &file]);
        words.extend(rest);
        self.run(&words)
    }
}

fn outcome(output: &Output) -> Outcome {
    (
        output.status.code().expect("no signal"),
        String::from_utf8(output.stdout.clone()).expect("UTF-8"),
        String::from_utf8(output.stderr.clone()).expect("UTF-8"),
    )
}

fn failed(message: &str) -> Outcome {
    (1, String::new(), format!("Error: {message}\n"))
}

#[test]
fn overview_lists_the_commands_in_order() {
    let bench = Bench::new();
    let (code, out, err) = bench.run(&[]);
    assert_eq!((code, err.as_str()), (1, ""));
    let names: Vec<&str> = out
        .lines()
        .filter_map(|line| {
            line.strip_prefix('\t')?
                .split_once("  ")
                .map(|(name, _)| name.trim())
        })
        .collect();
    assert_eq!(
        names,
        [
            "databases",
            "doctor",
            "info",
            "list",
            "ltx",
            "register",
            "replicate",
            "reset",
            "restore",
            "start",
            "status",
            "stop",
            "sync",
            "unregister",
            "version"
        ]
    );
    for word in ["help", "-h", "-help", "--help"] {
        assert_eq!(
            bench.run(&[word]),
            (0, out.clone(), String::new()),
            "{word}"
        );
    }
    for word in ["", "-x", "--config"] {
        assert_eq!(
            bench.run(&[word]),
            (1, out.clone(), String::new()),
            "{word}"
        );
    }
}

#[test]
fn unknown_words_are_errors() {
    for word in ["frobnicate", "generations", "snapshots", "mcp"] {
        let message = format!("litestream {word}: unknown command");
        assert_eq!(Bench::new().run(&[word]), failed(&message));
    }
}

#[test]
fn each_command_has_help_with_all_its_flags() {
    let bench = Bench::new();
    for command in litestream_cli::commands::TABLE {
        let (code, out, err) = bench.run(&[command.name, "-h"]);
        assert_eq!((code, err.as_str()), (0, ""), "{}", command.name);
        assert!(out.contains("\nUsage:\n"), "{out}");
        for flag in command.flags {
            assert!(
                out.contains(&format!("\n\t-{}", flag.name)),
                "{}: {out}",
                flag.name
            );
        }
    }
}

#[test]
fn flag_errors_show_help_and_the_message_twice() {
    let bench = Bench::new();
    let (code, out, err) = bench.run(&["databases", "-json=maybe"]);
    let message = "invalid boolean value \"maybe\" for -json: parse error";
    assert_eq!(code, 1);
    assert_eq!(out, bench.run(&["databases", "-h"]).1);
    assert_eq!(err, format!("{message}\nError: {message}\n"));
}

#[test]
fn default_configuration_path_follows_the_environment() {
    let bench = Bench::new();
    let none = bench.path("none.yml");
    let message = format!("config file not found: {}", none.display());
    assert_eq!(bench.run(&["databases"]), failed(&message));
    assert_eq!(bench.run(&["databases", "-config", ""]), failed(&message));
    let vars = [("LITESTREAM_CONFIG", "")];
    let (_, out, _) = bench.run_with(&["databases", "-h"], &vars);
    assert!(out.contains("Defaults to /etc/litestream.yml"), "{out}");
}

#[test]
fn databases_as_table_and_json() {
    let bench = Bench::new();
    let config = "dbs:\n- path: /x/a.db\n  replica: {path: /r}\n- path: /x/long/name.db\n  \
                  replica: {url: 's3://b/p'}\n- dir: /x/d\n  pattern: '*'\n  replica: {path: /r}\n";
    let table = "path             replica\n/x/a.db          file\n/x/long/name.db  s3\n\
                 /x/d             file\n";
    let expected = (0, table.to_owned(), String::new());
    assert_eq!(bench.configured(&["databases"], config, &[]), expected);
    let (code, out, _) = bench.configured(&["databases", "-json"], "dbs: []\n", &[]);
    assert_eq!((code, out.as_str()), (0, "[]\n"));
    assert_eq!(
        bench.configured(&["databases"], config, &["x"]),
        failed("too many arguments")
    );
}

#[test]
fn unknown_keys_warn_on_standard_error_only() {
    let config = "dbs:\n- path: /x/a.db\n  replica: {pth: 1, path: /r}\n";
    let (code, out, err) = Bench::new().configured(&["databases"], config, &[]);
    assert_eq!(
        (code, out.as_str()),
        (0, "path     replica\n/x/a.db  file\n")
    );
    assert!(
        err.ends_with(
            " level=WARN msg=\"unknown configuration key\" key=pth line=3 column=13 \
             hint=\"did you mean 'path'?\"\n"
        ),
        "{err}"
    );
}

#[test]
fn variables_are_expanded_unless_told_not_to() {
    let bench = Bench::new();
    let config = "dbs:\n- path: '/x/$FOO'\n  replica: {path: /r}\n";
    let file = bench.write("c.yml", config);
    let vars = [("FOO", "bar")];
    let (_, out, _) = bench.run_with(&["databases", "-config", &file], &vars);
    assert!(out.contains("/x/bar  file"), "{out}");
    let words = ["databases", "-no-expand-env", "-config", &file];
    let (_, out, _) = bench.run_with(&words, &vars);
    assert!(out.contains("/x/$FOO  file"), "{out}");
}

#[test]
fn status_reads_local_files_only() {
    let bench = Bench::new();
    let config = |name: &str| {
        format!(
            "dbs:\n- path: {}\n  replica: {{path: /none}}\n",
            bench.path(name).display()
        )
    };
    let status = |name: &str| {
        let (code, out, _) = bench.configured(&["status", "-json"], &config(name), &[]);
        assert_eq!(code, 0);
        let rows: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        let text = |key: &str| rows[0][key].as_str().expect("text").to_owned();
        [text("status"), text("local_txid"), text("wal_size")]
    };
    assert_eq!(status("a.db"), ["no database", "-", "-"]);
    bench.write("a.db", "");
    assert_eq!(status("a.db"), ["not initialized", "-", "0 B"]);
    bench.write("a.db-wal", &"x".repeat(4152));
    bench.write(
        ".a.db-litestream/ltx/0/0000000000000001-000000000000001f.ltx",
        "",
    );
    assert_eq!(status("a.db"), ["ok", "000000000000001f", "4.2 kB"]);
    bench.write("b.db", "");
    bench.write(".b.db-litestream/ltx/0", "not a folder");
    assert_eq!(status("b.db")[0], "error");
    let (code, out, _) = bench.configured(&["status"], &config("a.db"), &["/nope", "-json"]);
    assert_eq!(
        (code, out.as_str()),
        (0, "database  status  local txid  wal size\n")
    );
}

#[test]
fn ltx_lists_a_file_replica() {
    let bench = Bench::new();
    bench.write("r/ltx/0/0000000000000002-0000000000000002.ltx", "12345");
    bench.write("r/ltx/9/0000000000000001-0000000000000001.ltx", "1");
    let url = format!("file://{}", bench.path("r").display());
    let (code, out, _) = bench.run(&["ltx", "-level", "all", &url]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[0],
        "level  min_txid          max_txid          size  created"
    );
    assert!(
        lines[1].starts_with("0      0000000000000002  0000000000000002  5     2"),
        "{out}"
    );
    assert!(
        lines[2].starts_with("9      0000000000000001  0000000000000001  1     2"),
        "{out}"
    );
    let (_, out, err) = bench.run(&["wal", "-level", "9", "-json", &url]);
    let rows: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(rows[0]["level"], 9);
    assert!(
        err.starts_with("Warning: 'wal' command is deprecated"),
        "{err}"
    );
    assert_eq!(
        bench.run(&["ltx", "-config", "x", &url]),
        failed("cannot specify a replica URL and the -config flag")
    );
    let (_, _, err) = bench.run(&["ltx", "-level", "10", &url]);
    assert!(
        err.contains("for flag -level: level must be between 0 and 9\n"),
        "{err}"
    );
}

#[test]
fn ltx_finds_a_configured_database_by_relative_path() {
    let bench = Bench::new();
    bench.write("r/ltx/0/0000000000000001-0000000000000001.ltx", "1");
    let folder = bench.path("");
    let config = format!(
        "dbs:\n- path: {0}a.db\n  replica: {{path: {0}r}}\n",
        folder.display()
    );
    let (code, out, _) = bench.configured(&["ltx"], &config, &["a.db"]);
    assert_eq!((code, out.lines().count()), (0, 2));
    let message = format!(
        "database not found in config: {}",
        bench.path("b.db").display()
    );
    assert_eq!(
        bench.configured(&["ltx"], &config, &["b.db"]),
        failed(&message)
    );
}

#[test]
fn reset_deletes_local_files_but_not_in_a_dry_run() {
    let bench = Bench::new();
    let database = bench.path("a.db");
    let shown = database.display();
    assert_eq!(
        bench.run(&["reset", "a.db"]),
        failed(&format!("database does not exist: {shown}"))
    );
    bench.write("a.db", "");
    let meta = bench.path(".a.db-litestream");
    let nothing = format!(
        "No local state to reset for {shown}\nMeta directory does not exist: {}\n",
        meta.display()
    );
    assert_eq!(bench.run(&["reset", "a.db"]), (0, nothing, String::new()));
    let file = bench.write(
        ".a.db-litestream/ltx/0/0000000000000001-0000000000000001.ltx",
        "",
    );
    let ltx = meta.join("ltx");
    let preview = format!(
        "Dry run: local Litestream state would be reset for: {shown}\nWould remove: {}\n\
         Files that would be removed:\n  {file}\nNo files were removed.\n",
        ltx.display()
    );
    assert_eq!(
        bench.run(&["reset", "-dry-run", "a.db"]),
        (0, preview, String::new())
    );
    assert!(Path::new(&file).exists());
    let (code, out, _) = bench.run(&["reset", "a.db"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("level=INFO msg=\"resetting local litestream state\" db=a.db"),
        "{out}"
    );
    assert!(out.ends_with("Reset complete. Next replication sync will create a fresh snapshot.\n"));
    assert!(!ltx.exists() && meta.exists());
}

#[test]
fn reset_uses_the_configured_metadata_folder() {
    let bench = Bench::new();
    let database = bench.write("a.db", "");
    let config = format!(
        "dbs:\n- path: {database}\n  meta-path: {}\n  replica: {{path: /r}}\n",
        bench.path("m").display()
    );
    let (code, out, _) = bench.configured(&["reset"], &config, &["a.db"]);
    assert_eq!(code, 0);
    let expected = format!(
        "Meta directory does not exist: {}\n",
        bench.path("m").display()
    );
    assert!(out.ends_with(&expected), "{out}");
    let (_, _, err) = bench.run(&["reset", "-config", "nope", "a.db"]);
    assert!(
        err.starts_with("Error: cannot read config: config file not found: "),
        "{err}"
    );
}

#[test]
fn replicate_checks_its_arguments() {
    let bench = Bench::new();
    for (words, message) in [
        (&["a"][..], "must specify at least one replica URL for a"),
        (
            &["-config", "x", "a", "b"],
            "cannot specify a replica URL and the -config flag",
        ),
        (
            &["a", "b", "-once"],
            "flag \"-once\" must be positioned before DB_PATH and REPLICA_URL arguments",
        ),
        (
            &["-once", "-exec", "x", "a", "file:///b"],
            "cannot specify -once flag with -exec",
        ),
        (
            &["-force-snapshot", "a", "file:///b"],
            "cannot specify -force-snapshot flag without -once",
        ),
        (
            &["-enforce-retention", "a", "file:///b"],
            "cannot specify -enforce-retention flag without -once",
        ),
        (
            &["-exec", "\"x", "a", "file:///b"],
            "cannot parse exec command: invalid command line string",
        ),
    ] {
        let words: Vec<&str> = ["replicate"].iter().chain(words).copied().collect();
        assert_eq!(bench.run(&words), failed(message), "{words:?}");
    }
    let (code, out, err) = bench.run(&["replicate", "a", "r"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "Error: replica url scheme required: r\n")
    );
    assert!(out.contains(" level=INFO msg=litestream version="), "{out}");
    let (_, out, _) = bench.run(&["replicate", "-log-level", "error", "a", "r"]);
    assert_eq!(out, "");
}

#[test]
fn restore_checks_its_arguments_and_its_output() {
    let bench = Bench::new();
    bench.write("full.db", "x");
    for (words, message) in [
        (&["a", "b"][..], "too many arguments"),
        (
            &["-integrity-check", "x", "a"],
            "invalid -integrity-check value: x",
        ),
        (
            &["-timestamp", "2020-01-01", "a"],
            "invalid -timestamp, must specify in ISO 8601\u{a0}format (e.g. 2000-01-01T00:00:00Z)",
        ),
        (
            &["-config", "x", "-o", "o", "file:///r"],
            "cannot specify a replica URL and the -config flag",
        ),
        (
            &["-f", "-dry-run", "-o", "o", "file:///r"],
            "cannot use -dry-run with -f",
        ),
        (
            &["-f", "-txid", "0000000000000001", "-o", "o", "file:///r"],
            "cannot use follow mode with -txid",
        ),
        (
            &["-o", "full.db", "file:///r"],
            "cannot restore, output path already exists and is not empty: full.db. Use -force to \
             overwrite",
        ),
    ] {
        let words: Vec<&str> = ["restore"].iter().chain(words).copied().collect();
        assert_eq!(bench.run(&words), failed(message), "{words:?}");
    }
    assert_eq!(
        bench.run(&["restore", "s3://a/b"]).2,
        "Error: -o is required when restoring from a replica URL\n\
         Try: litestream restore -o /path/to/db s3://a/b\n"
    );
    let skip = ["restore", "-if-db-not-exists", "-o", "full.db", "file:///r"];
    let (code, out, _) = bench.run(&skip);
    assert!(code == 0 && out.ends_with(" level=INFO msg=\"database already exists, skipping\"\n"));
    let json = [
        "restore",
        "-json",
        "-if-db-not-exists",
        "-o",
        "full.db",
        "file:///r",
    ];
    let (code, out, err) = bench.run(&json);
    assert!(
        code == 0 && out.is_empty() && err.contains("skipping"),
        "{out}{err}"
    );
}

#[test]
fn control_commands_check_before_they_ask() {
    let bench = Bench::new();
    for command in ["start", "stop", "sync", "unregister"] {
        let hint =
            format!("Error: database path required\nTry: litestream {command} /path/to/db\n");
        assert_eq!(bench.run(&[command]), (1, String::new(), hint));
        assert_eq!(
            bench.run(&[command, "a", "b"]),
            failed("too many arguments")
        );
    }
    for words in [
        &["sync", "-timeout", "0", "a"][..],
        &["list", "-timeout", "0"],
    ] {
        assert_eq!(bench.run(words), failed("timeout must be greater than 0"));
    }
    let socket = bench.path("s").to_string_lossy().into_owned();
    let message = format!(
        "failed to connect to control socket: Get \"http://localhost/list\": dial unix {socket}: \
         connect: no such file or directory"
    );
    assert_eq!(bench.run(&["list", "-socket", &socket]), failed(&message));
    let (code, out, _) = bench.run(&["unregister", "-dry-run", "-socket", &socket, "a"]);
    assert_eq!(code, 0);
    assert!(
        out.ends_with("  timeout: 30s\nNo unregister request was sent.\n"),
        "{out}"
    );
}

#[test]
fn version_is_one_line_or_verbose() {
    let bench = Bench::new();
    let version = env!("CARGO_PKG_VERSION");
    let expected = (0, format!("{version}\n"), String::new());
    assert_eq!(bench.run(&["version", "extra"]), expected);
    let (_, out, _) = bench.run(&["version", "-verbose"]);
    assert!(
        out.starts_with(&format!("Version:     {version}\n")),
        "{out}"
    );
    assert!(
        out.contains("\nCompiler:    rustc ") && out.contains("\nOS/Arch:     "),
        "{out}"
    );
}
