//! Keys as paths in a tree of directories: which key can be one, and which a listing wants.
//!
//! Invariant: a key that passes is, part by part, a path below wherever it is put.

use crate::{Error, ErrorKind, Key, ListOptions, Operation, Result};

/// Ending of the names of files that are being written.
pub(crate) const TEMP_SUFFIX: &str = ".tmp";

/// Refuses a key that cannot be the path of an object.
pub(crate) fn check_object(key: &str, operation: Operation) -> Result<()> {
    if key.ends_with(TEMP_SUFFIX) {
        return refuse(
            operation,
            "keys that end in .tmp are for files being written",
        );
    }
    check(key, operation)
}

/// Refuses a key that leaves the tree, or is another name of something in it.
pub(crate) fn check(key: &str, operation: Operation) -> Result<()> {
    for part in key.split('/') {
        match part {
            "" => return refuse(operation, "empty part in the key"),
            "." | ".." => return refuse(operation, "key has a part . or .."),
            part if part.contains('\0') => return refuse(operation, "NUL in the key"),
            _ => {}
        }
    }
    Ok(())
}

fn refuse(operation: Operation, why: &'static str) -> Result<()> {
    Err(Error::new(ErrorKind::Invalid, operation).with_detail(why))
}

/// What a listing wants.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) prefix: String,
    after: Option<Key>,
}

impl Wanted {
    pub(crate) fn new(prefix: String, options: ListOptions) -> Self {
        Self {
            prefix,
            after: options.start_after,
        }
    }

    /// Whether the object `key` is wanted.
    pub(crate) fn object(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
            && !key.ends_with(TEMP_SUFFIX)
            && self.after.as_ref().is_none_or(|after| key > after.as_str())
    }

    /// Whether there may be wanted objects below the directory `key`, which ends in `/`.
    pub(crate) fn directory(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
            && self
                .after
                .as_ref()
                .is_none_or(|after| key > after.as_str() || after.as_str().starts_with(key))
    }
}
