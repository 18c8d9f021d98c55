//! From the file as written to the configuration as meant.

use std::path::Path;
use std::time::Duration;

use super::decode::Decoder;
use super::raw::{RawConfig, RawDatabase, RawReplica};
use super::settings::ReplicaSettings;
use super::{
    Config, ConfigError, DatabaseConfig, Directory, Location, Snapshot, Socket, Warning, defaults,
    snapshots, validate, yaml,
};
use crate::duration::Span;
use crate::env::Env;
use crate::log::Logging;
use crate::paths;
use crate::url::Url;

/// Parses and resolves the text of a configuration; variables are expanded before.
pub fn parse(env: &Env, text: &str) -> Result<Config, ConfigError> {
    let mut decoder = Decoder::default();
    let mut raw = RawConfig::default();
    if let Some(document) = yaml::parse(text)? {
        decoder.read(&mut raw, &document);
    }
    if let Some(message) = decoder.fatal {
        return Err(ConfigError::Unusable(message));
    }
    if !decoder.type_errors.is_empty() {
        return Err(ConfigError::Types(decoder.type_errors));
    }
    snapshots::merge(&mut raw)?;
    raw.settings.drop_empty_texts();
    let mut warnings: Vec<Warning> = decoder.unknown.iter().map(Warning::unknown).collect();
    warn_without_effect(&raw.settings, "validation-interval", &mut warnings);
    let shared = raw.settings.clone();
    for database in &mut raw.dbs {
        prepare(env, database, &shared, &mut warnings);
    }
    validate::validate(&raw)?;
    Ok(resolve(env, raw, warnings))
}

/// The configuration that `replicate DB_PATH REPLICA_URL...` amounts to: all defaults.
pub fn of_database(env: &Env, path: &Path, urls: &[String]) -> Config {
    let replicas = urls.iter().map(|url| RawReplica {
        url: Some(url.clone()),
        ..RawReplica::default()
    });
    of_replicas(env, path, replicas.collect())
}

/// What a registered URL says that is a key of its own in a configuration: who logs in to NATS.
fn settings_in(text: &str) -> ReplicaSettings {
    let mut settings = ReplicaSettings::default();
    if let Ok(url) = Url::parse(text)
        && url.scheme == "nats"
        && let Some((user, password)) = url.user
    {
        settings.username = Some(user).filter(|user| !user.is_empty());
        settings.password = password;
    }
    settings
}

fn of_replicas(env: &Env, path: &Path, replicas: Vec<RawReplica>) -> Config {
    let mut config = resolve(env, RawConfig::default(), Vec::new());
    let database = RawDatabase {
        path: Some(path.to_string_lossy().into_owned()),
        replicas,
        ..RawDatabase::default()
    };
    config.dbs.push(resolve_database(env, database));
    config
}

/// The configuration of a database that is registered while the daemon runs.
pub fn of_registered(env: &Env, path: &Path, url: &str) -> Config {
    let mut replica = in_login_folder(url).unwrap_or_else(|| RawReplica {
        url: Some(url.to_owned()),
        settings: settings_in(url),
        ..RawReplica::default()
    });
    replica.registered = true;
    of_replicas(env, path, vec![replica])
}

/// A registered URL of SFTP or WebDAV. Other than that of a configuration its path begins in the folder that
/// a login leads to, and is cleaned.
fn in_login_folder(text: &str) -> Option<RawReplica> {
    let url = Url::parse(text).ok()?;
    let (user, password) = url.user.unwrap_or_default();
    let user = Some(user).filter(|user| !user.is_empty());
    let host = Some(url.host).filter(|host| !host.is_empty());
    let web = |scheme| ReplicaSettings {
        webdav_url: host.as_ref().map(|host| format!("{scheme}://{host}")),
        webdav_username: user.clone(),
        webdav_password: password.clone(),
        ..ReplicaSettings::default()
    };
    let (kind, settings) = match url.scheme.as_str() {
        "webdav" => ("webdav", web("http")),
        "webdavs" => ("webdav", web("https")),
        "sftp" => {
            let settings = ReplicaSettings {
                host,
                user,
                password,
                ..ReplicaSettings::default()
            };
            ("sftp", settings)
        }
        _ => return None,
    };
    let path = paths::clean(&url.path);
    Some(RawReplica {
        kind: Some(kind.to_owned()),
        path: Some(path.strip_prefix('/').unwrap_or(&path).to_owned()),
        settings,
        ..RawReplica::default()
    })
}

/// Expands the path of an entry and lets its replicas inherit.
fn prepare(
    env: &Env,
    database: &mut RawDatabase,
    shared: &ReplicaSettings,
    warnings: &mut Vec<Warning>,
) {
    if let Some(path) = database.path.as_mut().filter(|path| !path.is_empty()) {
        *path = paths::expand(env, path).to_string_lossy().into_owned();
    }
    let label = database.label().to_owned();
    for replica in database.replica.iter_mut().chain(&mut database.replicas) {
        let key = format!("dbs[{label}]: validation-interval");
        warn_without_effect(&replica.settings, &key, warnings);
        replica.settings.drop_empty_texts();
        replica.settings.inherit(shared);
    }
}

fn warn_without_effect(settings: &ReplicaSettings, key: &str, warnings: &mut Vec<Warning>) {
    if settings.validation_interval.is_some() {
        warnings.push(Warning::without_effect(key.to_owned()));
    }
}

/// A validated value that is not negative, or its default.
fn duration(value: Option<Span>, default: Duration) -> Duration {
    value.and_then(Span::to_std).unwrap_or(default)
}

fn resolve(env: &Env, raw: RawConfig, warnings: Vec<Warning>) -> Config {
    let socket = raw.socket.unwrap_or_default();
    let snapshot = raw.snapshot.unwrap_or_default();
    let levels = match raw.levels.0 {
        None => defaults::LEVEL_INTERVALS.to_vec(),
        Some(levels) => levels
            .iter()
            .filter_map(|level| level.interval.to_std())
            .collect(),
    };
    Config {
        source: None,
        addr: raw.addr.unwrap_or_default(),
        mcp_addr: raw.mcp_addr.unwrap_or_default(),
        exec: raw.exec.unwrap_or_default(),
        socket: Socket {
            enabled: socket.enabled.unwrap_or(false),
            path: socket.path.unwrap_or_else(|| defaults::SOCKET_PATH.into()),
            permissions: socket.permissions.unwrap_or(defaults::SOCKET_PERMISSIONS),
        },
        levels,
        snapshot: Snapshot {
            interval: duration(snapshot.interval, defaults::SNAPSHOT_INTERVAL),
            retention: duration(snapshot.retention, defaults::SNAPSHOT_RETENTION),
        },
        l0_retention: duration(raw.l0_retention, defaults::L0_RETENTION),
        l0_retention_check_interval: duration(
            raw.l0_retention_check_interval,
            defaults::L0_RETENTION_CHECK_INTERVAL,
        ),
        verify_compaction: raw.verify_compaction.unwrap_or(false),
        retention_enabled: raw
            .retention
            .and_then(|section| section.enabled)
            .unwrap_or(true),
        validation_interval: raw
            .validation
            .and_then(|section| section.interval)
            .and_then(Span::positive),
        heartbeat_url: raw.heartbeat_url.unwrap_or_default(),
        heartbeat_interval: duration(raw.heartbeat_interval, defaults::HEARTBEAT_INTERVAL),
        shutdown_sync_timeout: duration(raw.shutdown_sync_timeout, defaults::SHUTDOWN_SYNC_TIMEOUT),
        shutdown_sync_interval: duration(
            raw.shutdown_sync_interval,
            defaults::SHUTDOWN_SYNC_INTERVAL,
        ),
        logging: Logging::from_config(raw.logging.as_ref()),
        dbs: raw
            .dbs
            .into_iter()
            .map(|database| resolve_database(env, database))
            .collect(),
        warnings,
    }
}

fn resolve_database(env: &Env, raw: RawDatabase) -> DatabaseConfig {
    let folder = |text: Option<String>| {
        text.filter(|text| !text.is_empty())
            .map(|text| paths::expand(env, &text))
    };
    let location = if let Some(path) = raw.path.filter(|path| !path.is_empty()) {
        Location::File(path.into())
    } else {
        let configured = raw.dir.unwrap_or_default();
        Location::Directory(Directory {
            path: paths::expand(env, &configured),
            configured,
            pattern: raw.pattern.unwrap_or_default(),
            recursive: raw.recursive.unwrap_or(false),
            watch: raw.watch.unwrap_or(false),
            meta_dir: folder(raw.meta_dir),
        })
    };
    let optional = |value: Option<Span>, default: Duration| match value {
        None => Some(default),
        Some(value) => value.positive(),
    };
    DatabaseConfig {
        location,
        meta_path: folder(raw.meta_path),
        monitor_interval: optional(raw.monitor_interval, defaults::MONITOR_INTERVAL),
        checkpoint_interval: optional(raw.checkpoint_interval, defaults::CHECKPOINT_INTERVAL),
        busy_timeout: duration(raw.busy_timeout, defaults::BUSY_TIMEOUT),
        min_checkpoint_page_count: raw
            .min_checkpoint_page_count
            .unwrap_or(i64::from(defaults::MIN_CHECKPOINT_PAGE_COUNT)),
        truncate_page_n: raw
            .truncate_page_n
            .filter(|count| *count > 0)
            .map_or(defaults::TRUNCATE_PAGE_N, |count| {
                u32::try_from(count).unwrap_or(u32::MAX)
            }),
        max_sync_wal_bytes: match raw.max_sync_wal_bytes {
            None => Some(defaults::MAX_SYNC_WAL_BYTES),
            Some(bytes) => u64::try_from(bytes.0).ok().filter(|bytes| *bytes > 0),
        },
        max_staged_bytes: raw
            .max_staged_bytes
            .and_then(|bytes| u64::try_from(bytes.0).ok())
            .filter(|bytes| *bytes > 0),
        restore_if_db_not_exists: raw.restore_if_db_not_exists.unwrap_or(false),
        replica: raw.replica,
        replica_list: raw.replicas,
    }
}
