//! The state machine of a lease: acquire, renew, lose, wait, release.
//!
//! ```text
//!             free, or ended + margin: conditional write
//!   waiting ---------------------------------------------> held --renew--> held
//!      ^                                                     |
//!      |  read: another's                                    | another's, removed, or not
//!      +------------------------- lost <---------------------+ renewed before end - margin
//! ```
//!
//! Invariant: whoever holds by [`Hold`] has written the record in force, and its own monotonic and
//! wall clock both say that the record's end is more than the margin away. An answer that was lost
//! is never guessed: `lock.json` is read, and is ours only if it is a record that we have sent.

use std::sync::Arc;
use std::time::Duration;

use litestream_storage::ErrorKind;
use tokio_util::sync::CancellationToken;

use super::lock::{Found, Written};
use super::record::Record;
use super::{Acquired, Conditional, Hold, Inner, LeaseState};

/// A record that was sent, and when, by the monotonic clock, just before.
#[derive(Debug, Clone)]
struct Sent {
    record: Record,
    at: Duration,
}

/// A record of ours that is known to be in force.
#[derive(Debug)]
struct Held {
    sent: Sent,
    etag: String,
    number: u64,
    /// The last renewal was not answered: it may be in force or not.
    uncertain: bool,
}

/// See the module.
pub(super) struct Holder {
    lease: Arc<Inner>,
    acquired: Box<Acquired>,
    held: Option<Held>,
    /// Sent, not known to have failed, and possibly in force some time.
    pending: Vec<Sent>,
    number: u64,
    last_error: Option<String>,
}

impl Holder {
    pub(super) fn new(lease: Arc<Inner>, acquired: Box<Acquired>) -> Self {
        // Numbers go on over a release: a listing of an earlier hold must stay out of date.
        let number = lease.last_number();
        Self {
            lease,
            acquired,
            held: None,
            pending: Vec::new(),
            number,
            last_error: None,
        }
    }

    /// Acquires and renews until `stop`, or until it is certain that it cannot be.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Self {
        loop {
            let stepped = tokio::select! {
                // A write that is cut off stays pending.
                () = stop.cancelled() => return self,
                stepped = self.step() => stepped,
            };
            let Some(pause) = stepped else {
                stop.cancelled().await;
                return self;
            };
            tokio::select! {
                () = stop.cancelled() => return self,
                () = self.lease.clock.sleep(pause) => {}
            }
        }
    }

    /// One attempt at whatever is due. Answers how long to wait for the next; `None`: for ever.
    async fn step(&mut self) -> Option<Duration> {
        let Some(held) = &self.held else {
            return self.acquire().await;
        };
        let term = self.hold_of(&held.sent, held.number);
        if !self.lease.is_valid(term) {
            let why = self.last_error.as_deref().unwrap_or("no answer");
            self.lose(format!("not renewed in time: {why}"));
            return Some(Duration::ZERO);
        }
        let left = term.ends.saturating_sub(self.lease.clock.monotonic());
        let limit = self.limit().min(left);
        if held.uncertain {
            return Some(self.find_out(limit).await);
        }
        Some(self.renew(limit).await)
    }

    /// How long a request may take.
    fn limit(&self) -> Duration {
        self.lease.settings.margin()
    }

    /// Until the next attempt after one that brought nothing.
    fn again(&self) -> Duration {
        self.lease.settings.ttl / 15
    }

    /// Until the next renewal.
    fn due(&self) -> Duration {
        let held = self
            .held
            .as_ref()
            .map_or(Duration::ZERO, |held| held.sent.at);
        let due = held + self.lease.settings.interval();
        due.saturating_sub(self.lease.clock.monotonic())
    }

    fn hold_of(&self, sent: &Sent, number: u64) -> Hold {
        let settings = &self.lease.settings;
        let margin = i64::try_from(settings.margin().as_millis()).unwrap_or(i64::MAX);
        Hold {
            number,
            ends: (sent.at + settings.ttl).saturating_sub(settings.margin()),
            ends_wall: sent.record.until().as_millis().saturating_sub(margin),
        }
    }

    /// A new record, noted as sent.
    fn send(&mut self, generation: i64) -> Sent {
        let Inner {
            settings, clock, ..
        } = &*self.lease;
        let sent = Sent {
            at: clock.monotonic(),
            record: Record::new(generation, clock.now_ms(), settings.ttl, &settings.owner),
        };
        // What has ended may be taken by anybody, whoever wrote it.
        let life = settings.ttl + settings.margin() * 2;
        self.pending.retain(|old| old.at + life > sent.at);
        self.pending.push(sent.clone());
        sent
    }

    async fn renew(&mut self, limit: Duration) -> Duration {
        let Some(held) = &mut self.held else {
            return Duration::ZERO;
        };
        // If this call is cut off, nobody knows.
        held.uncertain = true;
        let (generation, etag) = (held.sent.record.generation, held.etag.clone());
        let sent = self.send(generation);
        match self
            .lease
            .lock
            .write(&sent.record, Some(&etag), limit)
            .await
        {
            Written::Done(etag) => {
                self.adopt(sent, etag);
                self.lease.settings.interval()
            }
            // The store is sure that the version is another; which, must be read.
            Written::Refused => Duration::ZERO,
            Written::Unsupported(error) => self.note(error),
            Written::Unknown(error) => self.note(error.to_string()),
        }
    }

    /// Reads what came of a renewal that was not answered.
    async fn find_out(&mut self, limit: Duration) -> Duration {
        match self.lease.lock.read(limit).await {
            Err(error) => self.note(error.to_string()),
            Ok(Found::Lease { record, etag }) => {
                if let Some(sent) = self.sent(&record) {
                    let same = self.held.as_ref().is_some_and(|held| held.etag == etag);
                    return self.adopt_read(sent, etag, same);
                }
                let owner = owner_of(&record);
                self.lose(format!(
                    "taken over by {}, generation {}",
                    owner.as_deref().unwrap_or("another"),
                    record.generation
                ));
                self.wait(&record)
            }
            Ok(Found::Nothing) => {
                self.lose("lock.json was removed".to_owned());
                Duration::ZERO
            }
            Ok(Found::Foreign(reason)) => {
                self.lose(reason);
                Duration::ZERO
            }
        }
    }

    /// Takes what was read as ours; `same` when it is what was in force before the renewal.
    fn adopt_read(&mut self, sent: Sent, etag: String, same: bool) -> Duration {
        if same {
            // The renewal may still arrive: it stays pending, and another one is sent.
            if let Some(held) = &mut self.held {
                held.uncertain = false;
            }
            return Duration::ZERO;
        }
        self.adopt(sent, etag);
        self.due()
    }

    async fn acquire(&mut self) -> Option<Duration> {
        match self.lease.support().await.cloned() {
            Ok(Conditional::Works) => {}
            Ok(Conditional::Missing(reason)) => {
                let state = LeaseState::Unsupported { reason };
                tracing::error!(replica = self.lease.lock.kind(), "{state}");
                self.lease.show(state, None);
                return None;
            }
            Err(error) => return Some(self.not_acquired(error.to_string())),
        }
        let (generation, etag) = match self.lease.lock.read(self.limit()).await {
            Err(error) => return Some(self.not_acquired(error.to_string())),
            Ok(Found::Foreign(reason)) => {
                self.not_acquired(reason);
                return Some(self.lease.settings.interval());
            }
            Ok(Found::Nothing) => (1, None),
            Ok(Found::Lease { record, etag }) => {
                if let Some(sent) = self.sent(&record)
                    && self.lease.is_valid(self.hold_of(&sent, 0))
                {
                    self.adopt(sent, etag);
                    return Some(self.due());
                }
                if self.sent(&record).is_none() && !self.has_ended(&record) {
                    return Some(self.wait(&record));
                }
                (record.generation.saturating_add(1), Some(etag))
            }
        };
        let sent = self.send(generation);
        let written = self
            .lease
            .lock
            .write(&sent.record, etag.as_deref(), self.limit());
        match written.await {
            Written::Done(etag) => {
                self.adopt(sent, etag);
                Some(self.lease.settings.interval())
            }
            // Whose it is now is read at once.
            Written::Refused => Some(self.refused().await),
            Written::Unsupported(error) => Some(self.not_acquired(error)),
            Written::Unknown(error) => Some(self.not_acquired(error.to_string())),
        }
    }

    /// Another was first: who?
    async fn refused(&mut self) -> Duration {
        match self.lease.lock.read(self.limit()).await {
            Ok(Found::Lease { record, .. }) if self.sent(&record).is_none() => self.wait(&record),
            // Ours after all, or free again: the next attempt sees to it.
            Ok(_) => Duration::ZERO,
            Err(error) => self.not_acquired(error.to_string()),
        }
    }

    /// Whether a record has ended for certain, as far as clocks agree.
    fn has_ended(&self, record: &Record) -> bool {
        self.until_free(record) == Some(Duration::ZERO)
    }

    /// How long until another's record has ended for certain; `None`: not in this world's time.
    fn until_free(&self, record: &Record) -> Option<Duration> {
        let margin = i64::try_from(self.lease.settings.margin().as_millis()).ok()?;
        // One more: the part of a millisecond that the record has beyond.
        let free = record
            .until()
            .as_millis()
            .checked_add(margin)?
            .checked_add(1)?;
        let left = free.saturating_sub(self.lease.clock.now_ms());
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    /// The record of ours that this is.
    fn sent(&self, record: &Record) -> Option<Sent> {
        let held = self.held.iter().map(|held| &held.sent);
        held.chain(&self.pending)
            .find(|sent| sent.record == *record)
            .cloned()
    }

    /// The record is in force and ours.
    fn adopt(&mut self, sent: Sent, etag: String) {
        self.pending.clear();
        self.last_error = None;
        let renewed = self.held.as_ref().map(|held| held.number);
        if renewed.is_none() {
            self.number += 1;
        }
        let (number, record) = (self.number, sent.record.clone());
        let hold = self.hold_of(&sent, number);
        self.held = Some(Held {
            sent,
            etag,
            number,
            uncertain: false,
        });
        if renewed.is_none() {
            tracing::info!(
                replica = self.lease.lock.kind(),
                owner = record.owner,
                generation = record.generation,
                until = %record.expires,
                "lease acquired"
            );
            (self.acquired)();
        }
        let state = LeaseState::Held {
            generation: record.generation,
            until: record.until(),
        };
        self.lease.show(state, Some(hold));
    }

    fn lose(&mut self, cause: String) {
        tracing::warn!(replica = self.lease.lock.kind(), cause, "lease lost");
        if let Some(held) = self.held.take() {
            // Still in force, maybe: then it is known as ours when it is read.
            self.pending.push(held.sent);
        }
        self.last_error = None;
        self.lease.show(LeaseState::Lost { cause }, None);
    }

    /// Another holds it: looks again after an interval, or when it ends.
    fn wait(&mut self, record: &Record) -> Duration {
        let state = LeaseState::Waiting {
            owner: owner_of(record),
            until: record.until(),
        };
        let was_waiting = matches!(self.lease.state(), LeaseState::Waiting { .. });
        if !was_waiting {
            tracing::info!(replica = self.lease.lock.kind(), "{state}");
        }
        self.lease.show(state, None);
        let interval = self.lease.settings.interval();
        self.until_free(record)
            .map_or(interval, |left| left.min(interval))
    }

    /// Nothing is known of the lease.
    fn not_acquired(&mut self, error: String) -> Duration {
        if self.last_error.as_ref() != Some(&error) {
            tracing::warn!(
                replica = self.lease.lock.kind(),
                error,
                "cannot acquire lease"
            );
            self.last_error = Some(error.clone());
        }
        let error = Some(error);
        self.lease.show(LeaseState::Acquiring { error }, None);
        self.again()
    }

    /// A renewal failed; the lease is held until its time.
    fn note(&mut self, error: String) -> Duration {
        tracing::warn!(
            replica = self.lease.lock.kind(),
            error,
            "lease not renewed, trying again"
        );
        self.last_error = Some(error);
        let left = self.held.as_ref().map_or(Duration::ZERO, |held| {
            let hold = self.hold_of(&held.sent, held.number);
            hold.ends.saturating_sub(self.lease.clock.monotonic())
        });
        self.again().min(left)
    }

    /// Gives the lease back.
    pub(super) async fn release(mut self) {
        self.lease.set_last_number(self.number);
        let etag = match &self.held {
            Some(held) if !held.uncertain => Some(held.etag.clone()),
            _ => self.etag_in_force().await,
        };
        let Some(etag) = etag else { return };
        let kind = self.lease.lock.kind();
        match self.lease.lock.delete(&etag, self.limit()).await {
            Ok(()) => tracing::info!(replica = kind, "lease released"),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => {
                    tracing::info!(replica = kind, "lease already released");
                }
                ErrorKind::PreconditionFailed => {
                    tracing::warn!(replica = kind, "lease was not ours any more");
                }
                ErrorKind::Unsupported => self.end_record(&etag).await,
                _ => {
                    tracing::warn!(replica = kind, %error, "lease not released, it ends by itself");
                }
            },
        }
    }

    /// The version of `lock.json`, if it is a record that we have sent.
    async fn etag_in_force(&self) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        match self.lease.lock.read(self.limit()).await {
            Ok(Found::Lease { record, etag }) if self.sent(&record).is_some() => Some(etag),
            _ => None,
        }
    }

    /// For stores that cannot delete under a condition: a record that ended long ago.
    async fn end_record(&mut self, etag: &str) {
        let Some(held) = self.held.take() else { return };
        let ended = held.sent.record.ended();
        let kind = self.lease.lock.kind();
        match self
            .lease
            .lock
            .write(&ended, Some(etag), self.limit())
            .await
        {
            Written::Done(_) => tracing::info!(replica = kind, "lease released"),
            other => {
                tracing::warn!(replica = kind, result = ?other, "lease not released, it ends by itself");
            }
        }
    }
}

fn owner_of(record: &Record) -> Option<String> {
    Some(record.owner.clone()).filter(|owner| !owner.is_empty())
}
