//! Looks from time to time whether the levels of a replica are what they must be.

use std::sync::Arc;

use ltx::Level;

use super::Inner;
use crate::compact::{Finding, check_level};
use crate::error::{ErrorKind, Result};
use crate::replica::{RemoteIndex, Replica};

/// Lists and checks once an interval, for ever; without an interval it only waits.
pub(super) async fn validate_loop(inner: &Arc<Inner>, replica: &Arc<Replica>) {
    let Some(interval) = inner.shared.retention.validation_interval else {
        return std::future::pending().await;
    };
    tracing::info!(
        system = "store",
        db = inner.name,
        ?interval,
        replica = inner.one_of_several(replica),
        "starting validation monitor"
    );
    loop {
        tokio::time::sleep(interval).await;
        match validate(inner, replica).await {
            Ok(findings) => findings
                .iter()
                .for_each(|finding| tell(inner, replica, finding)),
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            Err(error) => tracing::error!(
                system = "store", db = inner.name, replica = replica.kind(), %error,
                hint = error.hint(), "validation check failed"
            ),
        }
    }
}

fn tell(inner: &Inner, replica: &Replica, finding: &Finding) {
    tracing::warn!(
        system = "store", db = inner.name, level = finding.level.get(),
        replica = inner.one_of_several(replica), r#type = finding.kind(), detail = %finding,
        "validation error detected"
    );
}

/// Checks all levels but that of the snapshots. What is found must be there twice: a listing that
/// is taken while files are deleted may see some of them.
///
/// # Cost
/// One listing of the whole replica, two when something is found.
pub(super) async fn validate(inner: &Inner, replica: &Replica) -> Result<Vec<Finding>> {
    let mut found = look(inner, replica).await?;
    if !found.is_empty() {
        let again = look(inner, replica).await?;
        found.retain(|finding| again.contains(finding));
    }
    Ok(found)
}

async fn look(inner: &Inner, replica: &Replica) -> Result<Vec<Finding>> {
    let index = RemoteIndex::load(&**replica.store(), replica.layout(), false).await?;
    let levels = inner.shared.retention.levels.len() + 1;
    let found = Level::ALL
        .into_iter()
        .take(levels)
        .flat_map(|level| check_level(&index, level, index.level(level)));
    Ok(found.collect())
}
