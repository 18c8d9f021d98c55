//! From a configured replica to the object store that holds it: one arm per type.
//!
//! Invariant: a type is available here or refused by name before anything starts; every store
//! leaves this module wrapped in the same layers.

mod file;

use std::sync::Arc;

use litestream::{Layout, Ownership};
use litestream_storage::ObjectStore;

use crate::config::{BuildError, Replica, Target};

/// What is to be told of the mode and owner of the database.
pub(crate) type Adopt = Box<dyn Fn(&Ownership) + Send + Sync>;

/// An object store, ready for use. Nothing was connected or requested yet.
pub(crate) struct Backend {
    /// The store, with its layers.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// How keys are built in stores of this type.
    pub(crate) layout: Layout,
    /// Set for stores on this machine, whose files belong to whom the database belongs to.
    pub(crate) adopt: Option<Adopt>,
}

/// Opens the store of a replica. Makes no request.
pub(crate) fn open(replica: &Replica) -> Result<Backend, BuildError> {
    match &replica.target {
        Target::File(target) => Ok(file::open(target)),
        other => Err(BuildError::NotAvailable(other.kind())),
    }
}
