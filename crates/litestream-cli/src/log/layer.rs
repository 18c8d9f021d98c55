//! From `tracing` events to lines on an output.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::attribute::Value;
use super::record::{Fields, Record, Source};
use super::{Destination, Format, Logging, json, pretty, text};
use crate::env::Env;
use crate::time::Moment;

/// Targets whose events are shown: the crates of this project. Those of libraries are not.
const TARGETS: [&str; 3] = ["litestream", "ltx", "sqlite_wal"];

/// Where lines are written to.
pub type Sink = Arc<Mutex<dyn Write + Send>>;

struct Settings {
    format: Format,
    level: Level,
    with_source: bool,
    is_coloured: bool,
    sink: Sink,
}

/// Writes events as log records. Settings can be replaced while it is in use.
#[derive(Clone)]
pub struct Layer {
    settings: Arc<RwLock<Settings>>,
}

impl Layer {
    /// A layer that writes to `sink`.
    pub fn new(logging: &Logging, env: &Env, sink: Sink) -> Self {
        Self {
            settings: Arc::new(RwLock::new(Settings::of(logging, env, sink))),
        }
    }
}

impl Settings {
    fn of(logging: &Logging, env: &Env, sink: Sink) -> Self {
        Self {
            format: logging.format,
            level: logging.threshold(env),
            with_source: logging.source,
            is_coloured: logging.is_coloured(),
            sink,
        }
    }
}

/// Makes the records of this process go where `logging` says; may be called again.
pub fn configure(logging: &Logging, env: &Env) {
    static INSTALLED: OnceLock<Layer> = OnceLock::new();
    let sink: Sink = match logging.destination {
        Destination::Stdout => Arc::new(Mutex::new(std::io::stdout())),
        Destination::Stderr => Arc::new(Mutex::new(std::io::stderr())),
    };
    let settings = Settings::of(logging, env, Arc::clone(&sink));
    let layer = INSTALLED.get_or_init(|| {
        let layer = Layer::new(logging, env, sink);
        let subscriber = tracing_subscriber::registry().with(layer.clone());
        // Fails only when a program that embeds this library has set its own; that one stays.
        let _ = tracing::subscriber::set_global_default(subscriber);
        layer
    });
    *layer
        .settings
        .write()
        .unwrap_or_else(PoisonError::into_inner) = settings;
    tracing::callsite::rebuild_interest_cache();
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Layer {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let is_ours = TARGETS
            .iter()
            .any(|target| metadata.target().starts_with(target));
        is_ours && (metadata.is_span() || *metadata.level() <= settings.level)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields.attributes);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let mut attributes = Vec::new();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(fields) = span.extensions().get::<Vec<(&'static str, Value)>>() {
                attributes.extend(fields.iter().cloned());
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        attributes.append(&mut fields.attributes);
        let record = Record {
            time: Moment::local(SystemTime::now()),
            level: *event.metadata().level(),
            source: settings.with_source.then(|| Source::of(event.metadata())),
            message: fields.message,
            attributes,
        };
        let mut line = match settings.format {
            Format::Text => text::line(&record),
            Format::Json => json::line(&record),
            Format::Pretty => pretty::line(&record, settings.is_coloured),
        };
        line.push('\n');
        let mut sink = settings.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written must not stop replication.
        let _ = sink.write_all(line.as_bytes()).and_then(|()| sink.flush());
    }
}
