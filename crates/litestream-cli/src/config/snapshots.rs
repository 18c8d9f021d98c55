//! There is one snapshot schedule per process: settings of databases are merged into it.

use super::ConfigError;
use super::raw::{RawConfig, RawDatabase, RawSnapshot};
use crate::duration::Span;

/// Makes the common value of all databases the global one where none is set; values that differ
/// between databases are an error.
pub(super) fn merge(config: &mut RawConfig) -> Result<(), ConfigError> {
    let interval = common(&config.dbs, "intervals", |snapshot| snapshot.interval)?;
    let retention = common(&config.dbs, "retentions", |snapshot| snapshot.retention)?;
    let global = config.snapshot.get_or_insert_default();
    global.interval = global.interval.or(interval);
    global.retention = global.retention.or(retention);
    Ok(())
}

fn common(
    databases: &[RawDatabase],
    what: &'static str,
    value: impl Fn(&RawSnapshot) -> Option<Span>,
) -> Result<Option<Span>, ConfigError> {
    let mut found: Option<(&RawDatabase, Span)> = None;
    for database in databases {
        let Some(own) = database.snapshot.as_ref().and_then(&value) else {
            continue;
        };
        match found {
            None => found = Some((database, own)),
            Some((_, common)) if common == own => {}
            Some((first, common)) => {
                return Err(ConfigError::Conflict {
                    what,
                    first: first.label().to_owned(),
                    first_value: common.to_string(),
                    second: database.label().to_owned(),
                    second_value: own.to_string(),
                });
            }
        }
    }
    Ok(found.map(|(_, common)| common))
}

impl RawDatabase {
    /// What messages call this entry: its path, else its folder.
    pub(super) fn label(&self) -> &str {
        match self.path.as_deref() {
            Some(path) if !path.is_empty() => path,
            _ => self.dir.as_deref().unwrap_or_default(),
        }
    }
}
