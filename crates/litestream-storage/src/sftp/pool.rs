//! Connecting when needed, and hanging up when not.
//!
//! Invariant: a connection that nobody uses is closed after the idle time; one in use never is.
//! At most [`CALLS`] calls share one, so that a server never has more open files of ours than its
//! handles can name: the SFTP library takes handles for text, and those of OpenSSH stop being text
//! at the 128th.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::connection::Connection;
use super::{KIND, SftpSettings};
use crate::{Clock, Error, ErrorKind, Operation, Result};

/// Calls at the same time on one connection. Each has at most two files open.
const CALLS: usize = 48;
/// Connections at the same time. Servers refuse many.
const CONNECTIONS: usize = 8;

pub(super) struct Pool {
    settings: SftpSettings,
    clock: Arc<dyn Clock>,
    members: Arc<Mutex<Vec<Arc<Member>>>>,
}

struct Member {
    connection: Connection,
    calls: Arc<Semaphore>,
    /// When the last call ended, in milliseconds of the clock's monotonic time.
    used: AtomicU64,
}

/// The right to use a connection for one call.
pub(super) struct Lease {
    member: Arc<Member>,
    clock: Arc<dyn Clock>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(settings: SftpSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            clock,
            members: Arc::default(),
        }
    }

    pub(super) fn settings(&self) -> &SftpSettings {
        &self.settings
    }

    pub(super) async fn len(&self) -> usize {
        let members = self.members.lock().await;
        members
            .iter()
            .filter(|member| member.connection.is_usable())
            .count()
    }

    /// A connection for one call; a new one when there is none. Callers that come meanwhile wait
    /// for it instead of connecting as well.
    pub(super) async fn lease(&self, operation: Operation) -> Result<Lease> {
        let mut members = self.members.lock().await;
        members.retain(|member| member.connection.is_usable());
        for member in members.iter() {
            if let Ok(permit) = Arc::clone(&member.calls).try_acquire_owned() {
                return Ok(self.give(member, permit));
            }
        }
        if members.len() >= CONNECTIONS {
            let most = CONNECTIONS * CALLS;
            return Err(
                Error::new(ErrorKind::Unavailable { retry_after: None }, operation)
                    .with_backend(KIND)
                    .with_detail(format!("{most} calls are open already")),
            );
        }
        let connection = Connection::open(&self.settings, &*self.clock, operation).await?;
        let member = Arc::new(Member {
            connection,
            calls: Arc::new(Semaphore::new(CALLS)),
            used: AtomicU64::new(now(&*self.clock)),
        });
        let permit = Arc::clone(&member.calls).try_acquire_owned();
        let permit = permit.expect("all of a new connection's permits are there");
        let idle = Idle {
            member: Arc::downgrade(&member),
            members: Arc::downgrade(&self.members),
            clock: Arc::clone(&self.clock),
            limit: self.settings.idle,
        };
        tokio::spawn(idle.watch());
        let lease = self.give(&member, permit);
        members.push(member);
        Ok(lease)
    }

    fn give(&self, member: &Arc<Member>, permit: OwnedSemaphorePermit) -> Lease {
        Lease {
            member: Arc::clone(member),
            clock: Arc::clone(&self.clock),
            _permit: permit,
        }
    }
}

impl Deref for Lease {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.member.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.used.store(now(&*self.clock), Ordering::Relaxed);
    }
}

fn now(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}

/// Waits for a connection to be idle, and closes it then.
struct Idle {
    member: Weak<Member>,
    members: Weak<Mutex<Vec<Arc<Member>>>>,
    clock: Arc<dyn Clock>,
    limit: Duration,
}

impl Idle {
    async fn watch(self) {
        let mut wait = self.limit;
        loop {
            self.clock.sleep(wait).await;
            let (Some(member), Some(members)) = (self.member.upgrade(), self.members.upgrade())
            else {
                return;
            };
            if !member.connection.is_usable() {
                return;
            }
            // Nobody can begin a call while the list is held.
            let mut members = members.lock().await;
            let since = now(&*self.clock).saturating_sub(member.used.load(Ordering::Relaxed));
            let since = Duration::from_millis(since);
            let busy = member.calls.available_permits() < CALLS;
            if !busy && since >= self.limit {
                members.retain(|other| !Arc::ptr_eq(other, &member));
                drop(members);
                member.connection.close().await;
                tracing::debug!("sftp connection closed: idle");
                return;
            }
            wait = if busy {
                self.limit
            } else {
                self.limit.saturating_sub(since)
            };
        }
    }
}
