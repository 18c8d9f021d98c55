//! The leases of a database's replicas: taken when it starts, given back when it stops.

use std::sync::Arc;

use futures_util::future::join_all;

use super::Inner;
use crate::lease::{Lease, LeaseState};
use crate::replica::Replica;
use crate::status::Trouble;

impl Inner {
    pub(super) fn start_leases(self: &Arc<Self>) {
        for (at, replica) in self.replicas.iter().enumerate() {
            let Some(lease) = replica.lease() else {
                continue;
            };
            let database = Arc::downgrade(self);
            lease.start(move || {
                let database = database.upgrade();
                if let Some((database, replica)) = database
                    .as_ref()
                    .and_then(|database| Some((database, database.replicas.get(at)?)))
                {
                    database.begin_hold(replica);
                }
            });
        }
    }

    /// Others may have written to the replica since we last did: as at a start, nothing is known
    /// of it but what is found out anew.
    fn begin_hold(&self, replica: &Replica) {
        replica.reset();
        // An upload loop that has nothing to do must find out what the replica has, too.
        self.position.send_modify(|_| {});
        replica.hurry.notify_one();
    }

    pub(super) async fn release_leases(&self) {
        let leases = self.replicas.iter().filter_map(|replica| replica.lease());
        join_all(leases.map(Lease::release)).await;
    }

    /// Why nothing can be written to the replica, if it is for want of the lease.
    pub(super) fn lease_trouble(replica: &Replica) -> Option<Trouble> {
        let lease = replica.lease()?;
        let lasts = lease.not_held_for()?;
        let state = lease.state();
        (!state.is_held()).then(|| Trouble {
            text: state.to_string(),
            lasts,
            permanent: matches!(state, LeaseState::Unsupported { .. }),
        })
    }
}
