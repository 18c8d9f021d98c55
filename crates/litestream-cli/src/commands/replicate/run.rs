//! Doing what the options of `replicate` say: open, run, close.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use litestream::{Store, StoreSettings};
use tokio_util::sync::CancellationToken;

use super::child::Child;
use super::descriptors::Descriptors;
use super::signals::Signals;
use super::{Mode, ReplicateError, ReplicateOptions};
use crate::config::{BuildError, Config, DatabaseConfig, Replica, Target};
use crate::control::server;
use crate::duration::Span;
use crate::engine;
use crate::memory;
use crate::metrics;

/// Replicates as the options say and returns when it is over.
pub fn execute(options: &ReplicateOptions) -> Result<(), ReplicateError> {
    let runtime = engine::runtime().map_err(ReplicateError::Runtime)?;
    let result = runtime.block_on(run(options));
    // Whatever still waits for a store must not keep the program from ending.
    runtime.shutdown_background();
    result
}

async fn run(options: &ReplicateOptions) -> Result<(), ReplicateError> {
    let mut signals = Signals::install().map_err(ReplicateError::Runtime)?;
    let descriptors = Descriptors::raise();
    descriptors.announce(options.config.dbs.len());
    restore_missing(options).await?;
    let store = Store::open(StoreSettings {
        retention: engine::retention(&options.config),
        background: !matches!(options.mode, Mode::Once { .. }),
        descriptors: descriptors.for_databases(),
        heartbeat: options.heartbeat.clone(),
        ..StoreSettings::default()
    })
    .map_err(ReplicateError::Store)?;
    let opened = open_replicas(options)?;
    check_leases(&opened).await?;
    for (db, replicas) in options.config.dbs.iter().zip(opened) {
        add(&options.config, &store, db, replicas)?;
    }
    // Not sooner: who can connect can ask for every configured database.
    let server = start_server(&options.config, &store);
    let metrics = start_metrics(&options.config, &store).await;
    for (db, replicas) in options.config.dbs.iter().zip(&options.replicas) {
        announce(db, replicas);
    }
    if !options.config.retention_enabled {
        tracing::warn!(
            hint = "files in the replica are never deleted by litestream",
            "retention disabled; cloud provider lifecycle policies must handle retention"
        );
    }
    let tending = tokio::spawn(memory::tend());
    let outcome = match &options.mode {
        Mode::Daemon => {
            signals.wait().await;
            Ok(())
        }
        Mode::Exec(words) => run_child(words, options, &descriptors, &mut signals).await,
        Mode::Once {
            force_snapshot,
            enforce_retention,
        } => tokio::select! {
            done = once(&store, options, *force_snapshot, *enforce_retention) => done,
            () = signals.wait() => Ok(()),
        },
    };
    let closed = close(store, server, signals).await;
    // To the last: whoever watches sees how the shutdown goes.
    drop(metrics);
    tending.abort();
    match (outcome, closed) {
        // That data may be lost matters more than how the child ended.
        (Err(child @ (ReplicateError::Child(_) | ReplicateError::WaitChild(_))), Err(lost)) => {
            tracing::error!(error = %child, "exec process failed");
            Err(lost)
        }
        (outcome, closed) => outcome.and(closed),
    }
}

/// Orderly close; a second signal gives up what is not uploaded yet.
async fn close(
    store: Arc<Store>,
    server: Option<server::Server>,
    mut signals: Signals,
) -> Result<(), ReplicateError> {
    if let Some(server) = server {
        server.close().await;
    }
    let hurry = CancellationToken::new();
    let mut closing = std::pin::pin!(store.close(&hurry));
    let closed = loop {
        tokio::select! {
            closed = &mut closing => break closed,
            () = signals.wait_again(), if !hurry.is_cancelled() => hurry.cancel(),
        }
    };
    if hurry.is_cancelled() {
        tracing::warn!("shutdown sync skipped by user interrupt");
    }
    tracing::info!("litestream shut down");
    closed.map_err(ReplicateError::NotReplicated)
}

fn start_server(config: &Config, store: &Arc<Store>) -> Option<server::Server> {
    if !config.socket.enabled {
        return None;
    }
    match server::Server::start(config, store) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::warn!(%error, "failed to start control server");
            None
        }
    }
}

async fn start_metrics(config: &Config, store: &Arc<Store>) -> Option<metrics::Server> {
    if config.addr.is_empty() {
        return None;
    }
    match metrics::Server::start(&config.addr, store).await {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::error!(addr = config.addr, %error, "cannot start metrics server");
            None
        }
    }
}

/// Restores databases that are configured so and have no file.
async fn restore_missing(options: &ReplicateOptions) -> Result<(), ReplicateError> {
    for (db, replicas) in options.config.dbs.iter().zip(&options.replicas) {
        let Some(path) = engine::file_of(db).filter(|_| db.restore_if_db_not_exists) else {
            continue;
        };
        if path.exists() {
            tracing::info!(path = %path.display(), "database exists, skipping restore");
            continue;
        }
        tracing::info!(path = %path.display(), "attempting restore before replication");
        match restore_newest(path, replicas).await {
            Ok(()) => tracing::info!(path = %path.display(), "restore completed"),
            Err(litestream::Error::Plan(cause))
                if matches!(*cause, litestream::Error::TxNotAvailable) =>
            {
                tracing::info!(path = %path.display(), "no backup found, starting fresh");
            }
            Err(error) => return Err(ReplicateError::Restore(error)),
        }
    }
    Ok(())
}

async fn restore_newest(path: &Path, replicas: &[Replica]) -> litestream::Result<()> {
    let sources = replicas
        .iter()
        .map(engine::source)
        .collect::<Result<Vec<_>, _>>();
    let sources = sources.map_err(|error| litestream::Error::Setting(error.to_string()))?;
    let source = crate::commands::restore::newest_source(sources).await?;
    litestream::restore(&source, litestream::RestoreOptions::new(path))
        .await
        .map(drop)
}

/// Opens the replicas of each entry; nothing is requested yet.
fn open_replicas(
    options: &ReplicateOptions,
) -> Result<Vec<Vec<Arc<litestream::Replica>>>, BuildError> {
    let all = options.replicas.iter();
    all.map(|replicas| replicas.iter().map(engine::replica).collect())
        .collect()
}

/// Refuses leases on stores that cannot hold one, before anything is taken or written.
async fn check_leases(replicas: &[Vec<Arc<litestream::Replica>>]) -> Result<(), ReplicateError> {
    for lease in replicas
        .iter()
        .flatten()
        .filter_map(|replica| replica.lease())
    {
        match lease.check_support().await {
            Err(error) if error.kind() == litestream::ErrorKind::Invalid => {
                return Err(ReplicateError::Lease(error));
            }
            // The store is away: it is asked again when it is back.
            Err(error) => tracing::warn!(%error, "cannot find out whether a lease can be held"),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn add(
    config: &Config,
    store: &Store,
    db: &DatabaseConfig,
    replicas: Vec<Arc<litestream::Replica>>,
) -> Result<(), ReplicateError> {
    let Some(path) = engine::file_of(db) else {
        return Ok(());
    };
    store
        .add(engine::database(config, db, path), replicas)
        .map_err(ReplicateError::Store)?;
    Ok(())
}

/// Says what is replicated to where.
fn announce(db: &DatabaseConfig, replicas: &[Replica]) {
    let Some(path) = engine::file_of(db) else {
        return;
    };
    tracing::info!(path = %path.display(), "initialized db");
    for replica in replicas {
        if replica.auto_recover {
            tracing::info!(
                path = %path.display(),
                "auto-recover changes nothing: damaged or missing local state is always recovered from"
            );
        }
        if let Target::File(file) = &replica.target {
            let interval = Span::from_std(replica.sync_interval);
            tracing::info!(
                r#type = "file", "sync-interval" = %interval, path = %file.path.display(),
                "replicating to"
            );
        }
    }
}

/// One sync of every database, in order; the first error ends it.
async fn once(
    store: &Store,
    options: &ReplicateOptions,
    force_snapshot: bool,
    enforce_retention: bool,
) -> Result<(), ReplicateError> {
    let started = Instant::now();
    for db in &options.config.dbs {
        let Some(path) = engine::file_of(db) else {
            continue;
        };
        let fail = |what: &'static str| {
            let path = path.clone();
            move |source| ReplicateError::Once { what, path, source }
        };
        let database = store.find(path).map_err(fail("sync database"))?;
        tracing::info!(path = %path.display(), "syncing database");
        database.sync().await.map_err(fail("sync database"))?;
        database
            .sync_and_wait()
            .await
            .map_err(fail("sync replica for"))?;
        if force_snapshot {
            tracing::info!(path = %path.display(), "taking snapshot");
            database.snapshot().await.map_err(fail("snapshot"))?;
        }
        if enforce_retention {
            tracing::info!(path = %path.display(), "enforcing retention");
            database
                .enforce_retention()
                .await
                .map_err(fail("enforce retention for"))?;
        }
        // One after the other, so that any number of databases needs the descriptors of one.
        let closed = store.disable(path).await;
        closed.map_err(fail("sync replica for"))?;
    }
    tracing::debug!(elapsed = ?started.elapsed(), "one-shot");
    tracing::info!("one-shot replication complete");
    tracing::info!("replication complete, litestream shutting down");
    Ok(())
}

async fn run_child(
    words: &[String],
    options: &ReplicateOptions,
    descriptors: &Descriptors,
    signals: &mut Signals,
) -> Result<(), ReplicateError> {
    let child = Child::start(words, &options.env, descriptors);
    let mut child = child.map_err(ReplicateError::StartChild)?;
    tokio::select! {
        status = child.wait() => {
            tracing::info!("subprocess exited, litestream shutting down");
            status.map_err(ReplicateError::Child)
        }
        () = signals.wait() => {
            tracing::info!("sending signal to exec process");
            child.signal(signals.last());
            tracing::info!("waiting for exec process to close");
            child.wait_signalled().await.map_err(ReplicateError::WaitChild)
        }
    }
}
