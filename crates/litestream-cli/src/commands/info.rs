//! `info`: asks the daemon about itself.

use super::{Command, positive_timeout};
use crate::context::Context;
use crate::control::{Client, Details};
use crate::duration::Span;
use crate::error::Error;
use crate::flags::{Help, JSON, Parsed, SOCKET, TIMEOUT_10};
use crate::json::Json;
use crate::time::Moment;

/// The command.
pub const COMMAND: Command = Command {
    name: "info",
    summary: "show facts about the running daemon",
    flags: &[JSON, SOCKET, TIMEOUT_10],
    help: Help {
        summary: &["Shows version, process and uptime of the running daemon."],
        usage: &["info [arguments]"],
        notes: &[],
        examples: &[
            ("The daemon at the default socket.", "info"),
            (
                "The daemon at another socket.",
                "info -socket /tmp/litestream.sock",
            ),
        ],
    },
    run,
};

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    if !parsed.args.is_empty() {
        return Err(Error::TooManyArguments);
    }
    positive_timeout(parsed, &TIMEOUT_10)?;
    let client = Client::from_flags(parsed, &SOCKET, &TIMEOUT_10);
    let details: Details = client.call("info", "/info", None)?;
    let started = details
        .started_at
        .as_deref()
        .and_then(Moment::parse_rfc3339);
    let started = started.unwrap_or_else(Moment::unset);
    if parsed.bool(&JSON) {
        let object = Json::Object(vec![
            ("version", Json::Text(details.version)),
            ("pid", Json::int(details.pid)),
            ("uptime_seconds", Json::int(details.uptime_seconds)),
            ("started_at", Json::Text(started.rfc3339_nanos())),
            ("database_count", Json::int(details.database_count)),
        ]);
        return Ok(object.write(context.out)?);
    }
    writeln!(context.out, "Litestream {}", details.version)?;
    writeln!(context.out, "  PID:        {}", details.pid)?;
    writeln!(
        context.out,
        "  Uptime:     {}",
        Span::from_secs(details.uptime_seconds)
    )?;
    writeln!(context.out, "  Started at: {}", started.rfc3339())?;
    writeln!(context.out, "  Databases:  {}", details.database_count)?;
    Ok(())
}
