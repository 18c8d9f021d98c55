//! The checks of a configuration, in the order in which they are reported: the first one wins.

use std::collections::HashMap;

use super::ConfigError;
use super::defaults::{MIN_HEARTBEAT_INTERVAL, MIN_LEASE_TTL};
use super::raw::{RawConfig, RawDatabase, RawReplica, RawSnapshot};
use crate::duration::Span;

/// Checks the whole file after merging, inheritance and expansion of `dbs[].path`.
pub(super) fn validate(config: &RawConfig) -> Result<(), ConfigError> {
    if let Some(snapshot) = &config.snapshot {
        validate_snapshot(snapshot, "")?;
    }
    not_negative(
        config.l0_retention,
        "l0-retention",
        "l0 retention must not be negative",
    )?;
    positive(
        config.l0_retention_check_interval,
        || "l0-retention-check-interval".into(),
        "l0 retention check interval must be greater than 0",
    )?;
    not_negative(
        config.shutdown_sync_timeout,
        "shutdown-sync-timeout",
        "shutdown-sync-timeout must be >= 0",
    )?;
    positive(
        config.shutdown_sync_interval,
        || "shutdown-sync-interval".into(),
        "shutdown sync interval must be greater than 0",
    )?;
    validate_heartbeat(config)?;
    for (index, level) in config.levels.0.iter().flatten().enumerate() {
        positive(
            Some(level.interval),
            || format!("levels[{index}].interval"),
            "compaction interval must be greater than 0",
        )?;
    }
    validate_format(config)?;
    let mut paths = HashMap::new();
    for (index, database) in config.dbs.iter().enumerate() {
        validate_database(database, index + 1, &mut paths)?;
    }
    Ok(())
}

fn validate_snapshot(snapshot: &RawSnapshot, prefix: &str) -> Result<(), ConfigError> {
    positive(
        snapshot.interval,
        || format!("{prefix}snapshot.interval"),
        "snapshot interval must be greater than 0",
    )?;
    positive(
        snapshot.retention,
        || format!("{prefix}snapshot.retention"),
        "snapshot retention must be greater than 0",
    )
}

fn validate_heartbeat(config: &RawConfig) -> Result<(), ConfigError> {
    if let Some(url) = config
        .heartbeat_url
        .as_deref()
        .filter(|url| !url.is_empty())
        && !url.starts_with("http://")
        && !url.starts_with("https://")
    {
        return Err(ConfigError::Value {
            field: "heartbeat-url".into(),
            message: "heartbeat URL must be a valid HTTP or HTTPS URL",
            value: url.to_owned(),
        });
    }
    if let Some(interval) = config.heartbeat_interval
        && interval < Span::from_std(MIN_HEARTBEAT_INTERVAL)
    {
        return Err(ConfigError::Value {
            field: "heartbeat-interval".into(),
            message: "heartbeat interval must be at least 1 minute",
            value: interval.to_string(),
        });
    }
    Ok(())
}

fn validate_format(config: &RawConfig) -> Result<(), ConfigError> {
    let format = config
        .logging
        .as_ref()
        .and_then(|logging| logging.format.as_deref());
    match format {
        None | Some("" | "text" | "json" | "pretty") => Ok(()),
        Some(other) => Err(ConfigError::LoggingType(other.to_owned())),
    }
}

fn validate_database(
    database: &RawDatabase,
    number: usize,
    paths: &mut HashMap<String, usize>,
) -> Result<(), ConfigError> {
    let has = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let refuse = |message| Err(ConfigError::Database { number, message });
    let (path, dir) = (has(&database.path), has(&database.dir));
    if path && dir {
        return refuse("cannot specify both 'path' and 'dir'");
    }
    if !path && !dir {
        return refuse("must specify either 'path' or 'dir'");
    }
    if let Some(path) = database.path.clone().filter(|path| !path.is_empty())
        && let Some(first) = paths.insert(path.clone(), number)
    {
        return Err(ConfigError::Duplicate {
            number,
            first,
            path,
        });
    }
    if dir && !has(&database.pattern) {
        return refuse("'pattern' is required when using 'dir'");
    }
    if path && database.watch == Some(true) {
        return refuse("'watch' can only be enabled with a directory");
    }
    if path && has(&database.meta_dir) {
        return refuse("'meta-dir' can only be used with a directory");
    }
    if has(&database.meta_path) && has(&database.meta_dir) {
        return refuse("cannot specify both 'meta-path' and 'meta-dir'");
    }
    let label = database.label();
    if let Some(snapshot) = &database.snapshot {
        validate_snapshot(snapshot, &format!("dbs[{label}]."))?;
    }
    if let Some(replica) = &database.replica {
        validate_replica(replica, || format!("dbs[{label}].replica"))?;
    }
    for (index, replica) in database.replicas.iter().enumerate() {
        validate_replica(replica, || format!("dbs[{label}].replicas[{index}]"))?;
    }
    Ok(())
}

fn validate_replica(replica: &RawReplica, field: impl Fn() -> String) -> Result<(), ConfigError> {
    positive(
        replica.settings.sync_interval,
        || format!("{}.sync-interval", field()),
        "sync interval must be greater than 0",
    )?;
    match replica.settings.lease.ttl {
        Some(ttl) if ttl < Span::from_std(MIN_LEASE_TTL) => Err(ConfigError::Value {
            field: format!("{}.lease.ttl", field()),
            message: "lease ttl must be at least 6s",
            value: ttl.to_string(),
        }),
        _ => Ok(()),
    }
}

fn positive(
    value: Option<Span>,
    field: impl Fn() -> String,
    message: &'static str,
) -> Result<(), ConfigError> {
    match value {
        Some(value) if value <= Span::ZERO => Err(ConfigError::Value {
            field: field(),
            message,
            value: value.to_string(),
        }),
        _ => Ok(()),
    }
}

fn not_negative(
    value: Option<Span>,
    field: &str,
    message: &'static str,
) -> Result<(), ConfigError> {
    match value {
        Some(value) if value < Span::ZERO => Err(ConfigError::Value {
            field: field.to_owned(),
            message,
            value: value.to_string(),
        }),
        _ => Ok(()),
    }
}
