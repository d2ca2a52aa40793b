//! The end of versions that were replaced.

use std::collections::HashSet;

use bento_seaorm::{OutboxStore, ProjectionKey, ProjectionStatus, Projections};

use crate::dispatcher::Dispatcher;
use crate::error::HandleError;
use crate::telemetry::TARGET_PROJECT;

/// The lower versions of a projection that are looked at.
#[derive(Debug, Default)]
pub(super) struct Retiring {
    /// Those that no relay served at the last look.
    unserved: HashSet<ProjectionKey>,
}

impl Retiring {
    /// Retires the versions below the live one that no relay serves, at two looks in a row: a
    /// relay that starts, or that comes back after an outage, has told that it lives by the second
    /// one. Those of this process are left.
    pub(super) async fn look(
        &mut self,
        dispatcher: &Dispatcher,
        live: &ProjectionKey,
    ) -> Result<(), HandleError> {
        let db = &dispatcher.shared.db;
        let mut unserved = HashSet::new();
        for (key, row) in db.projections().await? {
            let is_replaced = key.name == live.name && row.status == ProjectionStatus::Replaced;
            let is_own = dispatcher.shared.projections.contains_key(&key.route());
            if !is_replaced || is_own || !db.is_unserved(&key).await? {
                continue;
            }
            if self.unserved.contains(&key) {
                retire(dispatcher, &key).await?;
            } else {
                unserved.insert(key);
            }
        }
        self.unserved = unserved;
        Ok(())
    }
}

async fn retire(dispatcher: &Dispatcher, key: &ProjectionKey) -> Result<(), HandleError> {
    let db = &dispatcher.shared.db;
    // What it has raised while it was built needs none of its code.
    while db.release_projection(key).await? > 0 {}
    let store = OutboxStore::new(db.inner().clone());
    let projections = Projections::new(store.with_table_prefix(db.table_prefix().clone()));
    if projections.retire_unserved(key).await? {
        tracing::info!(
            target: TARGET_PROJECT, projection = key.route(),
            "a version is retired: a higher one is live, and no relay serves it; its tables are as \
             they were",
        );
    }
    Ok(())
}
