//! One record, independent of its format.

use tracing::Level;
use tracing::field::{Field, Visit};

use super::attribute::Value;
use crate::time::Moment;

/// A log record.
#[derive(Debug, Clone)]
pub struct Record {
    /// When.
    pub time: Moment,
    /// How important.
    pub level: Level,
    /// Where in the source, when asked for.
    pub source: Option<Source>,
    /// What.
    pub message: String,
    /// Attributes in order.
    pub attributes: Vec<(&'static str, Value)>,
}

/// A place in the source.
#[derive(Debug, Clone)]
pub struct Source {
    /// Module path.
    pub function: String,
    /// Base name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
}

impl Source {
    /// The place of an event.
    pub fn of(metadata: &tracing::Metadata<'_>) -> Self {
        let file = metadata.file().unwrap_or_default();
        Self {
            function: metadata.module_path().unwrap_or_default().to_owned(),
            file: file.rsplit('/').next().unwrap_or(file).to_owned(),
            line: metadata.line().unwrap_or_default(),
        }
    }
}

/// Collects the fields of an event or a span.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) attributes: Vec<(&'static str, Value)>,
}

impl Fields {
    fn text(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.attributes
                .push((field.name(), Value::from_text(field.name(), text)));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record_i128(field, i128::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i128(field, i128::from(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.attributes
            .push((field.name(), Value::from_int(field.name(), value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attributes.push((field.name(), Value::Float(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.push((field.name(), Value::Bool(value)));
    }
}
