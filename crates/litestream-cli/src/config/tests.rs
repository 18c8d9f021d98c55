//! Configuration texts: what they resolve to, and what they are refused for.

mod buckets;
mod clouds;
mod leases;
mod pace;
mod registered;
mod s3_urls;
mod targets;

use super::*;
use crate::env::Env;

const DB: &str = "dbs:\n- path: /x/a.db\n  replica: {path: /r}\n";

fn env() -> Env {
    Env::of(&[("HOME", "/home/env")], "/srv/data", Some("/home/ann"), 1)
}

fn config(text: &str) -> Config {
    parse(&env(), text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn refusal(text: &str) -> String {
    parse(&env(), text).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = config(DB);
    assert_eq!(config.levels, defaults::LEVEL_INTERVALS);
    assert_eq!(config.snapshot.interval, defaults::SNAPSHOT_INTERVAL);
    assert_eq!(config.l0_retention, defaults::L0_RETENTION);
    assert_eq!(config.socket.permissions, 0o600);
    assert!(config.retention_enabled && !config.socket.enabled && !config.verify_compaction);
    let database = &config.dbs[0];
    assert_eq!(database.monitor_interval, Some(defaults::MONITOR_INTERVAL));
    assert_eq!(
        database.max_sync_wal_bytes,
        Some(defaults::MAX_SYNC_WAL_BYTES)
    );
    let replica = &database.replicas(&env()).unwrap()[0];
    assert_eq!(replica.sync_interval, defaults::SYNC_INTERVAL);
    assert_eq!(
        replica.max_sync_ltx_files,
        Some(defaults::MAX_SYNC_LTX_FILES)
    );
    assert_eq!(
        replica.target,
        Target::File(FileTarget { path: "/r".into() })
    );
    assert!(config.warnings.is_empty());
}

#[test]
fn zero_switches_off_where_it_may() {
    let config = config(
        "l0-retention: 0\nlevels: []\nvalidation: {interval: -1s}\nshutdown-sync-timeout: 0s\n\
         dbs:\n- path: a\n  monitor-interval: 0\n  checkpoint-interval: 0s\n  truncate-page-n: 0\n  \
         max-sync-wal-bytes: 0\n  replica: {path: r, max-sync-ltx-files: 0}\n",
    );
    assert!(config.l0_retention.is_zero() && config.shutdown_sync_timeout.is_zero());
    assert!(config.levels.is_empty());
    assert_eq!(config.validation_interval, None);
    let database = &config.dbs[0];
    assert_eq!(database.location, Location::File("/srv/data/a".into()));
    assert_eq!(
        (database.monitor_interval, database.checkpoint_interval),
        (None, None)
    );
    assert_eq!(database.truncate_page_n, defaults::TRUNCATE_PAGE_N);
    assert_eq!(database.max_sync_wal_bytes, None);
    assert_eq!(
        database.replicas(&env()).unwrap()[0].max_sync_ltx_files,
        None
    );
}

/// A key of our own; in the program as with the library, nothing means as much as the database has.
#[test]
fn the_bound_of_local_files_may_be_set() {
    let bound = |text: &str| {
        let text = format!("dbs:\n- path: a\n  {text}\n  replica: {{path: r}}\n");
        let config = config(&text);
        assert!(config.warnings.is_empty());
        let database = &config.dbs[0];
        let path = std::path::Path::new("/srv/data/a");
        let settings = crate::engine::database(&config, database, path);
        settings.max_staged_bytes
    };
    assert_eq!(bound("max-staged-bytes: 5_000_000"), Some(5_000_000));
    assert_eq!(bound("max-staged-bytes: 0"), None);
    assert_eq!(bound("busy-timeout: 1s"), None);
    let text = "dbs:\n- path: a\n  max-staged-bytes: 5MB\n";
    assert!(refusal(text).contains("line 3: cannot unmarshal !!str `5MB` into int64"));
}

#[test]
fn scalars_follow_yaml_1_1() {
    let config = config(
        "socket: {permissions: 0660, enabled: yes}\nverify-compaction: On\nretention: {enabled: n}\n\
         l0-retention: 1_500\naddr: 9090\nexec: true\nmcp-addr: ~\n",
    );
    assert_eq!(
        (config.socket.permissions, config.socket.enabled),
        (0o660, true)
    );
    assert!(config.verify_compaction && !config.retention_enabled);
    assert_eq!(config.l0_retention.as_nanos(), 1500);
    assert_eq!(
        (config.addr.as_str(), config.exec.as_str()),
        ("9090", "true")
    );
    assert_eq!(config.mcp_addr, "");
}

#[test]
fn type_errors_are_all_reported_with_their_lines() {
    assert_eq!(
        refusal(
            "addr: [q]\nverify-compaction: \"true\"\ndbs:\n- path: {a: b}\n  busy-timeout: 5d\n  \
             max-sync-wal-bytes: x\n  truncate-page-n: 99999999999999999999\n- \n"
        ),
        "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into string\n  \
         line 2: cannot unmarshal !!str `true` into bool\n  \
         line 4: cannot unmarshal !!map into string\n  \
         line 5: cannot unmarshal !!str `5d` into time.Duration\n  \
         line 6: cannot unmarshal !!str `x` into int64\n  \
         line 7: cannot unmarshal !!float `9999999...` into int\n  \
         line 8: cannot unmarshal !!null `` into main.DBConfig"
    );
}

#[test]
fn anchors_merge_keys_and_duplicates() {
    let config = config(
        "x: &a {path: /q}\ny: &b {path: /zz, dir: ''}\nsnapshot: {interval: 1h}\n\
         snapshot: {retention: 2h}\ndbs:\n- <<: [*a, *b]\n  replica: *a\n- path: /p\n  \
         replica: {path: /r}\n---\ndbs: []\n",
    );
    assert_eq!(config.dbs.len(), 2);
    assert_eq!(config.dbs[0].location, Location::File("/q".into()));
    assert_eq!(config.snapshot.interval.as_secs(), 3600);
    assert_eq!(config.snapshot.retention.as_secs(), 7200);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(
        refusal("dbs:\n- <<: 5\n"),
        "yaml: map merge requires map or sequence of maps as the value"
    );
}

#[test]
fn aliases_of_aliases_do_not_explode() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let before = level - 1;
        let items = vec![format!("*a{before}"); 10].join(", ");
        let line = format!("a{level}: &a{level} [{items}]\n");
        text.push_str(&line);
    }
    // Unknown keys are not looked into; known ones are bounded.
    config(&text);
    let mut text = String::from("x-0: &m0 {path: a}\n");
    for level in 1..9 {
        let items = vec![format!("*m{}", level - 1); 10].join(", ");
        let line = format!("x-{level}: &m{level} {{<<: [{items}]}}\n");
        text.push_str(&line);
    }
    text.push_str("dbs:\n- <<: *m8\n");
    assert_eq!(refusal(&text), "yaml: document contains excessive aliasing");
    assert_eq!(
        refusal("a: &a [*a]\n"),
        "yaml: line 1: anchor value contains itself"
    );
    for depth in [300, 5000] {
        let deep = format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
        let message = refusal(&deep);
        assert!(message.starts_with("yaml: line 1: "), "{depth}: {message}");
    }
}

#[test]
fn unknown_keys_are_warned_about_with_their_place() {
    let config =
        config("sync_interval: 1s\ndbs:\n- path: a\n  replica:\n    pth: /r\n    retention: 24h\n");
    let shown: Vec<_> = config
        .warnings
        .iter()
        .map(|w| {
            (
                w.key.as_str(),
                w.position,
                w.hint.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("sync_interval", (1, 1), "did you mean 'sync-interval'?"),
            ("pth", (5, 5), "did you mean 'path'?"),
            ("retention", (6, 5), "use 'snapshot.retention' at top level"),
        ]
    );
}

#[test]
fn a_key_without_effect_is_warned_about() {
    let config = config("validation-interval: 1h\n");
    assert_eq!(config.warnings.len(), 1);
    assert_eq!(
        config.warnings[0].to_string(),
        "configuration key has no effect: validation-interval"
    );
}

#[test]
fn values_out_of_range_are_refused_in_order() {
    for (text, message) in [
        (
            "snapshot: {interval: 0s}\nl0-retention: -1s\n",
            "snapshot.interval: snapshot interval must be greater than 0 (got 0s)",
        ),
        (
            "l0-retention: -1s\n",
            "l0-retention: l0 retention must not be negative (got -1s)",
        ),
        (
            "l0-retention-check-interval: 0\n",
            "l0-retention-check-interval: l0 retention check interval must be greater than 0 (got 0s)",
        ),
        (
            "shutdown-sync-timeout: -1s\n",
            "shutdown-sync-timeout: shutdown-sync-timeout must be >= 0 (got -1s)",
        ),
        (
            "shutdown-sync-interval: 0s\n",
            "shutdown-sync-interval: shutdown sync interval must be greater than 0 (got 0s)",
        ),
        (
            "heartbeat-url: ftp://x\n",
            "heartbeat-url: heartbeat URL must be a valid HTTP or HTTPS URL (got ftp://x)",
        ),
        (
            "heartbeat-interval: 5s\n",
            "heartbeat-interval: heartbeat interval must be at least 1 minute (got 5s)",
        ),
        (
            "levels: [{interval: 1s}, {}]\n",
            "levels[1].interval: compaction interval must be greater than 0 (got 0s)",
        ),
        (
            "logging: {type: TEXT}\n",
            "logging.type: must be one of text, json, pretty (got TEXT)",
        ),
        (
            "part-size: 5xb\n",
            "invalid size format: unhandled size name: xb",
        ),
        (
            "sync-interval: 0s\ndbs:\n- path: /a\n  replicas: [{path: /r}]\n",
            "dbs[/a].replicas[0].sync-interval: sync interval must be greater than 0 (got 0s)",
        ),
        (
            "snapshot: {interval: 1h}\ndbs:\n- path: a\n  snapshot: {interval: 0s}\n",
            "dbs[/srv/data/a].snapshot.interval: snapshot interval must be greater than 0 (got 0s)",
        ),
    ] {
        assert_eq!(refusal(text), message, "{text}");
    }
}

#[test]
fn database_entries_that_contradict_themselves() {
    for (entry, message) in [
        ("path: a\n  dir: b", "cannot specify both 'path' and 'dir'"),
        ("replica: {path: r}", "must specify either 'path' or 'dir'"),
        ("dir: b", "'pattern' is required when using 'dir'"),
        (
            "path: a\n  watch: true",
            "'watch' can only be enabled with a directory",
        ),
        (
            "path: a\n  meta-dir: m",
            "'meta-dir' can only be used with a directory",
        ),
        (
            "dir: b\n  pattern: x\n  meta-dir: m\n  meta-path: n",
            "cannot specify both 'meta-path' and 'meta-dir'",
        ),
    ] {
        assert_eq!(
            refusal(&format!("dbs:\n- {entry}\n")),
            format!("database config #1: {message}")
        );
    }
    assert_eq!(
        refusal("dbs:\n- path: /x\n- path: /x/\n"),
        "database config #2: duplicate path \"/x\" (already used by database config #1); \
         each database can be listed only once"
    );
}

#[test]
fn one_snapshot_schedule_per_process() {
    let merged =
        config("dbs:\n- path: a\n  snapshot: {interval: 2h}\n  replica: {path: r}\n- path: b\n");
    assert_eq!(merged.snapshot.interval.as_secs(), 7200);
    assert_eq!(
        refusal(
            "dbs:\n- path: a\n  snapshot: {interval: 2h}\n- dir: b\n  snapshot: {interval: 3h}\n"
        ),
        "conflicting database snapshot intervals: a has 2h0m0s, b has 3h0m0s"
    );
}

#[test]
fn some_checks_wait_for_the_start() {
    let levels = ["{interval: 1s}"; 9].join(", ");
    let error = config(&format!("levels: [{levels}]\n"))
        .check_start()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open store: compaction level cannot exceed 8"
    );
    let zero = config("dbs:\n- path: a\n  min-checkpoint-page-count: 0\n  replica: {path: r}\n");
    let error = zero.check_start().unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open store: minimum checkpoint page count required"
    );
    config(DB).check_start().unwrap();
}
