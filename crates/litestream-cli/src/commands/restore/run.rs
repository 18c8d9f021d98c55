//! Doing what the options of `restore` say.

use super::{RestoreError, RestoreOptions};

/// Restores as the options say and prints the result.
pub fn execute(_options: RestoreOptions) -> Result<(), RestoreError> {
    Err(RestoreError::NoEngine)
}
