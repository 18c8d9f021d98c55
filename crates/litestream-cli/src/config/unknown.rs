//! Warnings about keys that nothing reads.
//!
//! A wrong key is no error, so that files of other versions keep loading, but it is never silent:
//! each one is reported with its place and the key that was probably meant.

use std::fmt;

use super::decode::UnknownKey;

/// Keys of v0.3.x and where their meaning went: (key, hint).
const MOVED: [(&str, &str); 5] = [
    ("snapshot-interval", "use 'snapshot.interval' at top level"),
    ("retention", "use 'snapshot.retention' at top level"),
    (
        "retention-check-interval",
        "retention is checked with each snapshot",
    ),
    ("max-checkpoint-page-count", "use 'truncate-page-n'"),
    (
        "shadow-retention-interval",
        "use 'l0-retention' at top level",
    ),
];

/// One warning about the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is wrong.
    pub problem: &'static str,
    /// The key concerned.
    pub key: String,
    /// Line and column, each from 1; zero when not known.
    pub position: (usize, usize),
    /// What was probably meant.
    pub hint: Option<String>,
}

impl Warning {
    /// The warning for a key that no section knows.
    pub(super) fn unknown(unknown: &UnknownKey) -> Self {
        Self {
            problem: "unknown configuration key",
            key: unknown.key.clone(),
            position: (unknown.line, unknown.column),
            hint: hint(unknown),
        }
    }

    /// The warning for a key that is accepted for old files but has no effect.
    pub(super) fn without_effect(key: String) -> Self {
        Self {
            problem: "configuration key has no effect",
            key,
            position: (0, 0),
            hint: None,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem, self.key)
    }
}

fn hint(unknown: &UnknownKey) -> Option<String> {
    if let Some((_, hint)) = MOVED.iter().find(|(key, _)| *key == unknown.key) {
        return Some((*hint).to_owned());
    }
    let folded = unknown.key.to_lowercase().replace('_', "-");
    let (distance, key) = unknown
        .known
        .iter()
        .flat_map(|group| group.iter())
        .map(|key| (strsim::osa_distance(&folded, key), *key))
        .min()?;
    // Up to a third of the letters may be wrong: more is another word.
    (distance <= key.len() / 3).then(|| format!("did you mean '{key}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&[&str]] = &[&["path", "replica"], &["sync-interval", "bucket"]];

    fn hint_for(key: &str) -> Option<String> {
        hint(&UnknownKey {
            key: key.into(),
            line: 1,
            column: 1,
            known: KNOWN,
        })
    }

    #[test]
    fn suggests_the_nearest_key() {
        assert_eq!(
            hint_for("sync_interval").as_deref(),
            Some("did you mean 'sync-interval'?")
        );
        assert_eq!(
            hint_for("syncinterval").as_deref(),
            Some("did you mean 'sync-interval'?")
        );
        assert_eq!(
            hint_for("bukcet").as_deref(),
            Some("did you mean 'bucket'?")
        );
        assert_eq!(hint_for("colour"), None);
    }

    #[test]
    fn names_the_successor_of_old_keys() {
        assert_eq!(
            hint_for("retention").as_deref(),
            Some("use 'snapshot.retention' at top level")
        );
    }
}
