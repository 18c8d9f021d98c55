//! Log records in the three formats that monitoring systems already parse.
//!
//! Records are `tracing` events. Field names are attribute names; a dot in a name makes a group.
//! Fields of the surrounding spans come first. [`attribute`] lists the attributes whose values
//! are durations or signals, which differ between text and JSON.

pub mod attribute;
mod json;
mod layer;
mod pretty;
mod record;
#[cfg(test)]
mod tests;
mod text;

use std::io::IsTerminal;

pub use layer::{Layer, Sink, configure};
pub use record::{Record, Source};

use crate::config::RawLogging;
use crate::env::Env;

/// The form of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `time=... level=INFO msg=... key=value`.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// `15:04:05 INF message key=value`, for people.
    Pretty,
}

/// Where records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Destination {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logging {
    /// The level word as configured; empty when absent.
    pub level: String,
    /// The form.
    pub format: Format,
    /// Where to.
    pub destination: Destination,
    /// Add file and line.
    pub source: bool,
}

impl Logging {
    /// What is used before a configuration is read: text on standard output.
    pub fn plain(destination: Destination) -> Self {
        Self {
            destination,
            ..Self::default()
        }
    }

    /// The section `logging`, already validated.
    pub(crate) fn from_config(section: Option<&RawLogging>) -> Self {
        let Some(section) = section else {
            return Self::default();
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self {
            level: text(&section.level),
            format: match section.format.as_deref() {
                Some("json") => Format::Json,
                Some("pretty") => Format::Pretty,
                _ => Format::Text,
            },
            destination: if section.stderr == Some(true) {
                Destination::Stderr
            } else {
                Destination::Stdout
            },
            source: section.source == Some(true),
        }
    }

    /// The lowest level that is shown: `LOG_LEVEL` before the configured word.
    pub fn threshold(&self, env: &Env) -> tracing::Level {
        level_of(env.non_empty("LOG_LEVEL").unwrap_or(&self.level))
    }

    /// Whether records are coloured: only for people at a terminal.
    fn is_coloured(&self) -> bool {
        self.format == Format::Pretty
            && match self.destination {
                Destination::Stdout => std::io::stdout().is_terminal(),
                Destination::Stderr => std::io::stderr().is_terminal(),
            }
    }
}

/// The level a word means, in any case; anything unknown is INFO.
pub fn level_of(word: &str) -> tracing::Level {
    match word.to_ascii_lowercase().as_str() {
        "trace" => tracing::Level::TRACE,
        "debug" => tracing::Level::DEBUG,
        "warn" | "warning" => tracing::Level::WARN,
        "error" => tracing::Level::ERROR,
        _ => tracing::Level::INFO,
    }
}
