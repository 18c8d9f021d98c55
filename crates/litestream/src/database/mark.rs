//! Gives level 0 of a replica the newest transaction when only a snapshot holds it.
//!
//! The base image goes to the snapshot level, and so does what a replica catches up with. Litestream
//! v0.5 looks for the position of a replica in level 0 alone: if it took over a replica whose newest
//! transaction is in a snapshot only, without the meta directory, it would begin at a transaction
//! that the snapshot holds already, and its restores would put that chain on our snapshot. So, soon
//! after a snapshot became the newest, one is captured that changes nothing, unless a real one waits.

use std::sync::Arc;

use super::maintain::chores::is_bare;
use super::{Inner, uploader};
use crate::error::Result;
use crate::replica::Replica;

/// Captures and uploads a transaction that changes nothing, unless a real one waits.
pub(super) async fn mark(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<()> {
    inner.capture_all().await?;
    // What is captured already may be all that is needed.
    if inner.position() <= replica.acknowledged() {
        write(inner).await?;
    }
    if let Some(position) = inner.position() {
        uploader::upload_up_to(inner, replica, position).await?;
    }
    Ok(())
}

/// Before the end: the last upload takes what is captured here with it.
pub(super) async fn mark_if_bare(inner: &Arc<Inner>) {
    let position = inner.position();
    let is_needed = |replica: &Arc<Replica>| {
        replica.acknowledged() == position && replica.with_index(is_bare).unwrap_or(false)
    };
    if !inner.replicas.iter().any(is_needed) {
        return;
    }
    if let Err(error) = write(inner).await {
        tracing::warn!(
            system = "store", db = inner.name, %error, hint = error.hint(),
            "cannot mark position in level 0"
        );
    }
}

async fn write(inner: &Arc<Inner>) -> Result<()> {
    let owner = Arc::clone(inner);
    let written = inner.shared.pool.run(move || {
        if let Some(capture) = owner.capture().as_mut() {
            capture.mark()?;
            owner.publish(capture.position());
        }
        Ok(())
    });
    written.await
}
