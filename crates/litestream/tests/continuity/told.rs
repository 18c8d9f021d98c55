//! What the engine says in its log, for the tests of one program.

use std::fmt::Debug;
use std::sync::{Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Database and text of each event.
static TOLD: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

struct Collector;

#[derive(Default)]
struct Words {
    db: String,
    message: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "db" => format!("{value:?}")
                .trim_matches('"')
                .clone_into(&mut self.db),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("litestream")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        TOLD.lock().unwrap().push((words.db, words.message));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Begins to listen; what was said before is not known.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Collector).unwrap());
}

/// How often something was said of the database with this file name: tests run side by side.
pub(crate) fn times(db: &str, text: &str) -> usize {
    let told = TOLD.lock().unwrap();
    let said = told
        .iter()
        .filter(|(name, said)| name == db && said.contains(text));
    said.count()
}
