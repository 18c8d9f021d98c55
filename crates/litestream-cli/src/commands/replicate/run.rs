//! Doing what the options of `replicate` say.

use super::{ReplicateError, ReplicateOptions};

/// Replicates as the options say and returns when it is over.
pub fn execute(_options: ReplicateOptions) -> Result<(), ReplicateError> {
    Err(ReplicateError::NoEngine)
}
