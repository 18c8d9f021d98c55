//! What the results mean, for people.

use std::error::Error as _;

use litestream_storage::Error;

use super::{Finding, Probe, Verdict};

impl Probe {
    /// The word for it in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Put => "put",
            Self::Get => "get",
            Self::Range => "range-get",
            Self::ListAfterWrite => "list-after-write",
            Self::Large => "large-put",
            Self::Timestamp => "timestamp",
            Self::Clock => "clock",
            Self::ConditionalPut => "conditional-put",
            Self::ConditionalDelete => "conditional-delete",
            Self::Delete => "delete",
        }
    }

    /// What must work for it to be tried.
    pub(super) const fn needs(self) -> &'static [Self] {
        match self {
            Self::List | Self::Put => &[],
            Self::ListAfterWrite => &[Self::List, Self::Put],
            Self::Large => &[Self::Get],
            _ => &[Self::Put],
        }
    }

    /// What it means for replication and restore when it does not work.
    pub const fn consequence(self) -> &'static str {
        match self {
            Self::List => {
                "nothing works: address, bucket, network or credentials are wrong, or the \
                 credentials may not list"
            }
            Self::Put => "nothing can be replicated: the credentials may not write",
            Self::Get => {
                "nothing can be restored: the credentials may not read, or content changes"
            }
            Self::Range => {
                "large files cannot be restored piece by piece, and a broken transfer cannot go on"
            }
            Self::ListAfterWrite => {
                "replication and restore may miss files that were just written: not safe"
            }
            Self::Large => "snapshots and large transactions cannot be replicated",
            Self::Timestamp => {
                "a restore to a point in time goes by the time of upload, or by what is in the files"
            }
            Self::Clock => {
                "times of files may be wrong in a restore to a point in time, and leases need clocks \
                 that differ by a sixth of their ttl at most"
            }
            Self::ConditionalPut => {
                "no lease (lease.enabled is refused); another process that writes to the same \
                 replica is noticed later"
            }
            Self::ConditionalDelete => {
                "a lease is given back by overwriting it instead; nothing else changes"
            }
            Self::Delete => {
                "retention cannot delete: the replica grows without end. Switch it off with \
                 retention.enabled: false if that is intended"
            }
        }
    }
}

impl Finding {
    /// What follows from it, unless it works.
    pub fn consequence(&self) -> Option<&'static str> {
        matches!(self.verdict, Verdict::Missing | Verdict::Failed).then(|| self.probe.consequence())
    }
}

/// An error with all its causes.
pub(super) fn of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
