//! `doctor`: tries on a replica's store everything that litestream does there.

use std::io::Write;
use std::sync::Arc;

use litestream::{Diagnosis, Doctor, Finding, Verdict};
use litestream_storage::SystemClock;
use tokio_util::sync::CancellationToken;

use super::replicate::Signals;
use super::{Command, load_config};
use crate::config::{Replica, replica_from_url};
use crate::context::Context;
use crate::error::Error;
use crate::flags::{CONFIG, Help, JSON, NO_EXPAND_ENV, Parsed};
use crate::json::Json;
use crate::log::Destination;
use crate::{backend, engine, paths, table};

/// The command.
pub const COMMAND: Command = Command {
    name: "doctor",
    summary: "find out what the store of a replica can do",
    flags: &[CONFIG, JSON, NO_EXPAND_ENV],
    help: Help {
        summary: &[
            "Tries on the store of a replica everything that litestream does there, and says what",
            "works, what does not, and what follows. Works on objects of its own, whose names begin",
            "with litestream-doctor-, and deletes them. Nothing else is touched, so a replica may be",
            "in use. Ends with 0 when everything that is needed works, else with 1.",
        ],
        usage: &[
            "doctor [arguments]",
            "doctor [arguments] DB_PATH",
            "doctor [arguments] REPLICA_URL",
        ],
        notes: &[
            "Results:",
            "  ok         works",
            "  missing    the store does not have it; what follows is said",
            "  failed     an error, or a wrong answer",
            "  skipped    not tried, since something that it needs does not work",
        ],
        examples: &[
            ("Every replica of the configuration.", "doctor"),
            (
                "The replicas of one configured database.",
                "doctor /path/to/db",
            ),
            ("A place that is not configured.", "doctor s3://mybkt/db"),
        ],
    },
    run,
};

/// Why a replica is not well, or cannot be examined.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// Threads, timers or signals are not to be had.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    /// Something that is needed does not work.
    #[error("replica cannot be used as it is: {0}")]
    Unusable(String),
}

/// A replica that was examined.
struct Examined {
    /// The database that it is of, if it is configured.
    database: Option<String>,
    /// What tells it from others: its URL or its name.
    replica: String,
    diagnosis: Diagnosis,
}

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    let replicas = replicas_of(context, parsed)?;
    let mut patients = Vec::with_capacity(replicas.len());
    // All of them first: one that cannot be opened is an error before anything is written.
    for (database, name, replica) in replicas {
        patients.push((database, name, backend::open(&replica)?.impatient_store()));
    }
    let runtime = engine::runtime().map_err(DoctorError::Runtime)?;
    let examined: Result<_, DoctorError> = runtime.block_on(async {
        let mut signals = Signals::install().map_err(DoctorError::Runtime)?;
        let stop = CancellationToken::new();
        let examine = async {
            let mut examined = Vec::new();
            for (database, replica, store) in patients {
                let doctor = Doctor::new(Arc::new(SystemClock::new()));
                let diagnosis = doctor.examine(&*store, &stop).await;
                examined.push(Examined {
                    database,
                    replica,
                    diagnosis,
                });
            }
            examined
        };
        let mut examine = std::pin::pin!(examine);
        tokio::select! {
            examined = &mut examine => Ok(examined),
            () = signals.wait_again() => {
                // What was written is deleted before the end.
                stop.cancel();
                Ok(examine.await)
            }
        }
    });
    runtime.shutdown_background();
    report(context, parsed.bool(&JSON), &examined?)
}

type Named = (Option<String>, String, Replica);

/// The replica of a URL, or those of one or all configured databases.
fn replicas_of(context: &Context<'_>, parsed: &Parsed) -> Result<Vec<Named>, Error> {
    let argument = match parsed.args.as_slice() {
        [] => None,
        [argument] => Some(argument),
        _ => return Err(Error::TooManyArguments),
    };
    if let Some(url) = argument.filter(|argument| paths::is_url(argument)) {
        if !parsed.text(&CONFIG).is_empty() {
            return Err(Error::Argument(
                "cannot specify a replica URL and the -config flag".into(),
            ));
        }
        let replica = replica_from_url(&context.env, url)?;
        return Ok(vec![(None, without_password(url), replica)]);
    }
    let config = load_config(context, parsed, Some(Destination::Stderr))?;
    let wanted = argument.map(|path| paths::expand(&context.env, path));
    let databases: Vec<_> = match &wanted {
        None => config.dbs.iter().collect(),
        Some(path) => vec![config.database(path).ok_or_else(|| {
            Error::Argument(format!("database not found in config: {}", path.display()))
        })?],
    };
    let mut replicas = Vec::new();
    for database in databases {
        let path = match &database.location {
            crate::config::Location::File(path) => path.display().to_string(),
            crate::config::Location::Directory(directory) => directory.path.display().to_string(),
        };
        for (at, replica) in database.replicas(&context.env)?.into_iter().enumerate() {
            let kind = replica.target.kind();
            let name = replica.name.clone();
            let name = name.unwrap_or_else(|| format!("{kind} replica {at}"));
            replicas.push((Some(path.clone()), name, replica));
        }
    }
    if replicas.is_empty() {
        return Err(Error::Usage {
            message: "database path or replica URL required",
            hint: "litestream doctor s3://mybkt/db".into(),
        });
    }
    Ok(replicas)
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let shown = match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{user}:...@{host}")
        }
        _ => authority.to_owned(),
    };
    // Keys may be in the query.
    let path = path.split('?').next().unwrap_or_default();
    format!("{scheme}://{shown}{path}")
}

fn report(context: &mut Context<'_>, as_json: bool, all: &[Examined]) -> Result<(), Error> {
    if as_json {
        let list = all.iter().map(json).collect();
        Json::Object(vec![("replicas", Json::List(list))]).write(context.out)?;
    } else {
        for (at, examined) in all.iter().enumerate() {
            if at > 0 {
                writeln!(context.out)?;
            }
            print(context.out, examined)?;
        }
    }
    let unusable: Vec<String> = all.iter().filter_map(unusable).collect();
    if unusable.is_empty() {
        return Ok(());
    }
    Err(DoctorError::Unusable(unusable.join("; ")).into())
}

/// What is in the way of using a replica.
fn unusable(examined: &Examined) -> Option<String> {
    let diagnosis = &examined.diagnosis;
    if diagnosis.is_usable() {
        return None;
    }
    let findings = diagnosis.findings.iter();
    let failed =
        findings.filter(|finding| finding.probe.is_needed() && finding.verdict != Verdict::Works);
    let mut failed: Vec<&str> = failed.map(|finding| finding.probe.name()).collect();
    if diagnosis.left_over.is_some() {
        failed.push("clean-up");
    }
    Some(format!("{}: {}", examined.replica, failed.join(", ")))
}

fn print(out: &mut dyn Write, examined: &Examined) -> Result<(), Error> {
    match &examined.database {
        Some(database) => writeln!(out, "{database}: {}", examined.replica)?,
        None => writeln!(out, "{}", examined.replica)?,
    }
    writeln!(out)?;
    let findings = &examined.diagnosis.findings;
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|finding| {
            vec![
                finding.probe.name().to_owned(),
                finding.verdict.as_str().to_owned(),
                finding.detail.clone(),
            ]
        })
        .collect();
    table::write(out, &["probe", "result", "detail"], &rows)?;
    writeln!(out)?;
    for finding in findings {
        if let Some(consequence) = finding.consequence() {
            writeln!(out, "{}: {consequence}.", finding.probe.name())?;
        }
    }
    if let Some(left_over) = &examined.diagnosis.left_over {
        writeln!(out, "{left_over}.")?;
    }
    let verdict = if examined.diagnosis.is_usable() {
        "Everything that is needed works."
    } else {
        "Not everything that is needed works."
    };
    Ok(writeln!(out, "{verdict}")?)
}

fn json(examined: &Examined) -> Json {
    let diagnosis = &examined.diagnosis;
    let optional = |text: Option<String>| text.map_or(Json::Null, Json::Text);
    let findings = diagnosis.findings.iter().map(finding_json).collect();
    Json::Object(vec![
        ("database", optional(examined.database.clone())),
        ("replica", Json::text(examined.replica.as_str())),
        ("type", Json::text(diagnosis.kind)),
        ("usable", Json::Bool(diagnosis.is_usable())),
        ("probes", Json::List(findings)),
        ("left_over", optional(diagnosis.left_over.clone())),
    ])
}

fn finding_json(finding: &Finding) -> Json {
    let consequence = finding.consequence();
    Json::Object(vec![
        ("probe", Json::text(finding.probe.name())),
        ("result", Json::text(finding.verdict.as_str())),
        ("needed", Json::Bool(finding.probe.is_needed())),
        ("detail", Json::text(finding.detail.as_str())),
        ("consequence", consequence.map_or(Json::Null, Json::text)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_secrets() {
        for (url, shown) in [
            ("s3://bucket/db", "s3://bucket/db"),
            ("sftp://me:secret@host:22/db", "sftp://me:...@host:22/db"),
            ("sftp://me@host/db", "sftp://me@host/db"),
            ("s3://b/db?access-key-id=x", "s3://b/db"),
            ("file:///a/b", "file:///a/b"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
