//! Put and delete.

use russh_sftp::protocol::FileAttributes;

use super::connection::{is_failure, is_missing};
use super::pool::Lease;
use super::temp::{Temp, taken};
use super::{KIND, Shared, object_meta};
use crate::calls::delete_each;
use crate::remote_path as path;
use crate::{Body, Condition, Error, ErrorKind, Key, ObjectMeta, Operation, PutOptions, Result};

/// Removals in flight.
const WINDOW: usize = 16;

pub(super) async fn put(
    shared: &Shared,
    key: Key,
    body: Body,
    options: PutOptions,
) -> Result<ObjectMeta> {
    let target = path::object(&shared.root, key.as_str(), Operation::Put)?;
    let unsupported =
        |why: &'static str| Error::new(ErrorKind::Unsupported, Operation::Put).with_detail(why);
    let create_only = match options.condition {
        Condition::None => false,
        Condition::IfAbsent => true,
        Condition::IfMatch(_) => return Err(unsupported("the protocol knows no versions")),
    };
    let lease = shared.lease(Operation::Put).await?;
    if create_only {
        if !lease.extensions.hardlink {
            return Err(unsupported("the server offers no hardlink@openssh.com"));
        }
        let found = lease.stat(&target).await;
        if lease
            .done(Operation::Put, || format!("look at {target}"), found)?
            .is_some()
        {
            return Err(taken(shared, &lease, &target).await);
        }
    }
    let time = options.timestamp.unwrap_or_else(|| shared.clock.now_ms());
    let mut temp = Temp::create(shared, lease, target).await?;
    let size = temp.write(body.into_stream(), shared.window).await?;
    let written = temp.finish(seconds(time), size).await?;
    if create_only {
        temp.link(shared).await?;
    } else {
        temp.replace(shared).await?;
    }
    Ok(object_meta(key, &written))
}

/// Whole seconds of Unix milliseconds, as the protocol keeps them.
fn seconds(ms: i64) -> u32 {
    u32::try_from(ms.div_euclid(1000)).unwrap_or(if ms < 0 { 0 } else { u32::MAX })
}

pub(super) async fn delete(shared: &Shared, keys: Vec<Key>) -> Result<Vec<(Key, Error)>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let lease = shared.lease(Operation::Delete).await;
    let lease = &lease.map_err(|error| error.with_backend(KIND))?;
    let delete = |key: Key| async move { remove(shared, lease, &key).await };
    Ok(delete_each(KIND, keys, WINDOW, delete).await)
}

async fn remove(shared: &Shared, lease: &Lease, key: &Key) -> Result<()> {
    let target = path::object(&shared.root, key.as_str(), Operation::Delete)?;
    let error = match lease.ask(lease.sftp.remove(target.as_str())).await {
        Err(error) if !is_missing(&error) => error,
        _ => {
            shared.leftovers.replaced(&target);
            return Ok(());
        }
    };
    // Some servers have no word for what is missing.
    if is_failure(&error) && matches!(lease.stat(&target).await, Ok(None)) {
        return Ok(());
    }
    let failed: Result<FileAttributes> =
        lease.done(Operation::Delete, || format!("remove {target}"), Err(error));
    failed.map(drop)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_outside_of_the_protocol_are_cut_off() {
        assert_eq!(seconds(1_763_785_727_999), 1_763_785_727);
        assert_eq!(seconds(999), 0);
        assert_eq!(seconds(-1), 0);
        assert_eq!(seconds(i64::MAX), u32::MAX);
    }
}
