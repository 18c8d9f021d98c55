//! Finds out what a replica's store can do, by doing it.
//!
//! Everything happens on objects of its own, whose names begin with `litestream-doctor-` beside the
//! levels, where neither restore nor replication looks. They are deleted at the end, however it
//! ends. No other object is read, replaced or deleted.

mod probes;
mod words;

use std::sync::Arc;
use std::time::Duration;

use litestream_storage::{Clock, Error, ErrorKind, ObjectStore, Operation, Result};
use tokio_util::sync::CancellationToken;

use self::probes::Patient;

/// What is tried, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// The store answers, and the credentials may list.
    List,
    /// A small object can be written.
    Put,
    /// It has what was written.
    Get,
    /// A part of it can be read alone.
    Range,
    /// A listing shows it at once, and all of many, in order.
    ListAfterWrite,
    /// An object of many megabytes, of a length that is not known before, can be written.
    Large,
    /// The timestamp that is put with an object comes back.
    Timestamp,
    /// The clock of the store and ours agree.
    Clock,
    /// An object is written only if there is none, or only in place of one version.
    ConditionalPut,
    /// An object is deleted only in one version.
    ConditionalDelete,
    /// Objects can be deleted, and are gone then.
    Delete,
}

impl Probe {
    /// All, in their order.
    pub const ALL: [Self; 11] = [
        Self::List,
        Self::Put,
        Self::Get,
        Self::Range,
        Self::ListAfterWrite,
        Self::Large,
        Self::Timestamp,
        Self::Clock,
        Self::ConditionalPut,
        Self::ConditionalDelete,
        Self::Delete,
    ];

    /// Whether nothing works without it.
    pub const fn is_needed(self) -> bool {
        !matches!(
            self,
            Self::Timestamp | Self::Clock | Self::ConditionalPut | Self::ConditionalDelete
        )
    }
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As it should.
    Works,
    /// The store does not have it; what that means is said.
    Missing,
    /// An error, or a wrong answer.
    Failed,
    /// Not tried: something that it needs has failed, or it was given up.
    Skipped,
}

impl Verdict {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Works => "ok",
            Self::Missing => "missing",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What came of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub probe: Probe,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen: an error, a measure.
    pub detail: String,
}

/// What came of all probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Type word of the store.
    pub kind: &'static str,
    /// One for each of [`Probe::ALL`], in that order.
    pub findings: Vec<Finding>,
    /// What could not be removed afterwards, or why it is not known.
    pub left_over: Option<String>,
}

impl Diagnosis {
    /// Whether everything that is needed works.
    pub fn is_usable(&self) -> bool {
        let mut needed = self
            .findings
            .iter()
            .filter(|finding| finding.probe.is_needed());
        needed.all(|finding| finding.verdict == Verdict::Works) && self.left_over.is_none()
    }

    /// How a probe ended.
    pub fn verdict(&self, probe: Probe) -> Verdict {
        let found = self.findings.iter().find(|finding| finding.probe == probe);
        found.map_or(Verdict::Skipped, |finding| finding.verdict)
    }
}

/// How to examine.
#[derive(Debug, Clone)]
pub struct Doctor {
    /// Bytes of the large object: more than one part of an upload in parts.
    pub large: u64,
    /// Longest wait for one request. Of the large object: without progress on our side.
    pub limit: Duration,
    /// Our clock.
    pub clock: Arc<dyn Clock>,
    /// What the names of all objects begin with, after `litestream-doctor-`.
    pub name: String,
}

impl Doctor {
    /// Twelve mebibytes, thirty seconds, under a name of its own.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8);
        Self {
            large: 12 << 20,
            limit: Duration::from_secs(30),
            clock,
            name: format!("{random:016x}"),
        }
    }

    /// Tries everything on `store`, which must be without a lease around it. What is given up by
    /// `stop` is cleaned up all the same.
    ///
    /// # Cost
    /// About forty small requests, the large object once there and once back.
    pub async fn examine(&self, store: &dyn ObjectStore, stop: &CancellationToken) -> Diagnosis {
        let patient = Patient::new(self, store);
        let mut findings: Vec<Finding> = Vec::with_capacity(Probe::ALL.len());
        for probe in Probe::ALL {
            let lacking = probe.needs().iter().find(|needed| {
                let before = findings.iter().find(|finding| finding.probe == **needed);
                before.is_none_or(|finding| finding.verdict != Verdict::Works)
            });
            let (verdict, detail) = if let Some(lacking) = lacking {
                (Verdict::Skipped, format!("needs {:?}", lacking.name()))
            } else {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => (Verdict::Skipped, "given up".to_owned()),
                    tried = patient.attempt(probe) => verdict_of(tried),
                }
            };
            findings.push(Finding {
                probe,
                verdict,
                detail,
            });
        }
        let left_over = match patient.clean_up().await {
            Ok(left) if left.is_empty() => None,
            Ok(left) => Some(format!(
                "objects that could not be deleted: {}",
                left.join(", ")
            )),
            Err(error) => Some(format!(
                "objects named {}* may be left: {}",
                patient.prefix(),
                words::of(&error)
            )),
        };
        Diagnosis {
            kind: store.kind(),
            findings,
            left_over,
        }
    }
}

/// What a probe that was carried out saw.
enum Seen {
    Works(String),
    Missing(String),
    Wrong(String),
}

fn verdict_of(tried: Result<Seen>) -> (Verdict, String) {
    match tried {
        Ok(Seen::Works(detail)) => (Verdict::Works, detail),
        Ok(Seen::Missing(detail)) => (Verdict::Missing, detail),
        Ok(Seen::Wrong(detail)) => (Verdict::Failed, detail),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            (Verdict::Missing, words::of(&error))
        }
        Err(error) => (Verdict::Failed, words::of(&error)),
    }
}

fn timeout(operation: Operation, limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, operation)
        .with_detail(format!("no answer in {} s", limit.as_secs()))
}
