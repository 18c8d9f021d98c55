//! Doing what the options of `restore` say, and printing the result.

use std::io::Write;
use std::time::{Instant, SystemTime};

use litestream::{RestorePlan, Source, Target};
use ltx::{FileName, Timestamp, Txid};

use super::{IntegrityCheck, RestoreError, RestoreMode, RestoreOptions, RestoreTarget};
use crate::engine;
use crate::json::Json;
use crate::table;
use crate::time::Moment;

/// Restores as the options say and prints the result.
pub fn execute(options: &RestoreOptions, out: &mut dyn Write) -> Result<(), RestoreError> {
    let runtime = engine::runtime()?;
    let result = runtime.block_on(run(options, out));
    runtime.shutdown_background();
    match result {
        Err(RestoreError::NoBackup) if options.if_replica_exists => {
            tracing::info!("no matching backups found");
            Ok(())
        }
        other => other,
    }
}

async fn run(options: &RestoreOptions, out: &mut dyn Write) -> Result<(), RestoreError> {
    let started = Instant::now();
    let sources = options
        .replicas
        .iter()
        .map(engine::source)
        .collect::<Result<Vec<_>, _>>()?;
    let source = newest_source(sources).await?;
    let target = match options.target {
        RestoreTarget::Latest => Target::Latest,
        RestoreTarget::Txid(txid) => Target::Txid(Txid::new(txid).ok_or(RestoreError::NoBackup)?),
        RestoreTarget::Timestamp(moment) => {
            let time = moment.timestamp();
            if options.is_url {
                check_bounds(&source, time).await?;
            }
            // A file of the same millisecond is before a time within it.
            Target::Before(Timestamp::from_system_time_up(time))
        }
    };
    if let RestoreMode::Follow { interval } = options.mode {
        let kind = source.kind();
        super::follow::follow(options, interval, source).await?;
        return print_result(options, kind, String::new(), started, out);
    }
    let plan = source.plan(target).await?;
    if options.mode == RestoreMode::DryRun {
        return print_plan(options, &source, &plan, out);
    }
    let settings = litestream::RestoreOptions {
        target,
        parallelism: options.parallelism,
        replace: true,
        integrity_check: check_of(options.integrity_check),
        ..litestream::RestoreOptions::new(&options.output)
    };
    let restored = litestream::restore_plan(&source, &plan, settings).await?;
    if options.integrity_check != IntegrityCheck::None {
        tracing::info!(
            replica = source.kind(),
            "post-restore integrity check passed"
        );
    }
    let txid = restored.txid.to_string();
    print_result(options, source.kind(), txid, started, out)
}

/// Prints the result if it is asked for; the transaction of a copy that was followed is empty.
fn print_result(
    options: &RestoreOptions,
    kind: &str,
    txid: String,
    started: Instant,
    out: &mut dyn Write,
) -> Result<(), RestoreError> {
    if options.json {
        let elapsed = i128::try_from(started.elapsed().as_millis()).unwrap_or(i128::MAX);
        Json::Object(vec![
            ("db_path", Json::text(options.output.to_string_lossy())),
            ("replica", Json::text(kind)),
            ("txid", Json::text(txid)),
            ("duration_ms", Json::int(elapsed)),
            (
                "integrity_check",
                Json::text(options.integrity_check.word()),
            ),
        ])
        .write(out)?;
    }
    Ok(())
}

/// The replica that has got furthest; one that cannot be listed is passed over while another can.
pub(crate) async fn newest_source(mut sources: Vec<Source>) -> litestream::Result<Source> {
    if sources.len() < 2 {
        return sources.pop().ok_or(litestream::Error::TxNotAvailable);
    }
    let mut best: Option<(Option<Txid>, Source)> = None;
    let mut failed = None;
    for source in sources {
        match source.list(false).await {
            Ok(index) => {
                let newest = index.max();
                if best.as_ref().is_none_or(|(known, _)| newest > *known) {
                    best = Some((newest, source));
                }
            }
            Err(error) => {
                tracing::warn!(replica = source.kind(), %error, "cannot list replica, trying others");
                failed = Some(error);
            }
        }
    }
    match (best, failed) {
        (Some((_, source)), _) => Ok(source),
        (None, Some(error)) => Err(error),
        (None, None) => Err(litestream::Error::TxNotAvailable),
    }
}

/// A time outside of what a replica holds is an error when the replica is given as a URL.
async fn check_bounds(source: &Source, time: SystemTime) -> Result<(), RestoreError> {
    match source.time_bounds().await? {
        None => Err(RestoreError::NoBackups),
        Some((oldest, newest))
            if time < oldest.to_system_time() || time > newest.to_system_time() =>
        {
            Err(RestoreError::NoSuchTime)
        }
        Some(_) => Ok(()),
    }
}

pub(super) fn check_of(check: IntegrityCheck) -> litestream::IntegrityCheck {
    match check {
        IntegrityCheck::None => litestream::IntegrityCheck::None,
        IntegrityCheck::Quick => litestream::IntegrityCheck::Quick,
        IntegrityCheck::Full => litestream::IntegrityCheck::Full,
    }
}

fn print_plan(
    options: &RestoreOptions,
    source: &Source,
    plan: &RestorePlan,
    out: &mut dyn Write,
) -> Result<(), RestoreError> {
    let target = options.output.to_string_lossy().into_owned();
    let rows = plan.files().iter().map(|file| {
        let name = FileName { range: file.range }.to_string();
        let created = Moment::local(file.created.to_system_time()).rfc3339();
        (file, name, created)
    });
    if options.json {
        let files = rows.map(|(file, name, created)| {
            Json::Object(vec![
                ("level", Json::int(file.level.get())),
                ("name", Json::text(name)),
                ("min_txid", Json::text(file.range.min.to_string())),
                ("max_txid", Json::text(file.range.max.to_string())),
                ("size", Json::int(file.size)),
                ("timestamp", Json::text(created)),
            ])
        });
        let plan = Json::Object(vec![
            ("source", Json::text(&options.source)),
            ("target_path", Json::text(target)),
            ("replica", Json::text(source.kind())),
            ("min_txid", Json::text(plan.min_txid().to_string())),
            ("max_txid", Json::text(plan.txid().to_string())),
            ("files", Json::List(files.collect())),
        ]);
        return Ok(plan.write(out)?);
    }
    writeln!(
        out,
        "Restore plan:\n  source: {}\n  target: {target}",
        options.source
    )?;
    writeln!(out, "  replica: {}", source.kind())?;
    writeln!(
        out,
        "  txid range: {} - {}\n\nFiles to fetch:",
        plan.min_txid(),
        plan.txid()
    )?;
    let rows: Vec<Vec<String>> = rows
        .map(|(file, name, created)| {
            vec![
                file.level.to_string(),
                name,
                file.range.min.to_string(),
                file.range.max.to_string(),
                file.size.to_string(),
                created,
            ]
        })
        .collect();
    Ok(table::write(
        out,
        &["level", "file", "min_txid", "max_txid", "size", "timestamp"],
        &rows,
    )?)
}
