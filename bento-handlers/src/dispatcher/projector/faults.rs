//! Faults of projections that are known before their first event.

use bento_seaorm::{Error, ProjectionRow};

use super::Projected;
use crate::dispatcher::Dispatcher;
use crate::error::ProjectionFault;

/// The most aggregates that are named.
const AGGREGATES: u64 = 1;

impl Dispatcher {
    /// Checks the projections of this process against the database: tables that their views show,
    /// checkpoints that are ahead of the event store, versions below the live one, and versions of
    /// the database that nobody serves. Each fault stops its projection, or is logged, when a relay
    /// starts; call this before to refuse the start.
    ///
    /// ```no_run
    /// # use bento_handlers::Dispatcher;
    /// # async fn example(dispatcher: &Dispatcher) -> Result<(), bento_seaorm::Error> {
    /// let faults = dispatcher.projection_faults().await?;
    /// assert!(faults.is_empty(), "{faults:?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The database cannot be read.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn projection_faults(&self) -> Result<Vec<ProjectionFault>, Error> {
        let rows = self.shared.db.projections().await?;
        let mut faults = Vec::new();
        for projected in self.shared.projections.values() {
            match rows.iter().find(|(key, _)| *key == projected.key) {
                Some((_, row)) => faults.extend(self.faults_of(projected, row).await?),
                None => faults.extend(self.missing_table(projected).await?),
            }
        }
        faults.extend(self.unserved().await?);
        Ok(faults)
    }

    /// The versions of the database whose name this process does not have, and that no relay
    /// serves.
    pub(super) async fn unserved(&self) -> Result<Vec<ProjectionFault>, Error> {
        let mut faults = Vec::new();
        for (key, _) in self.shared.db.projections().await? {
            let mut own = self.shared.projections.values();
            if !own.any(|projected| projected.key.name == key.name)
                && self.shared.db.is_unserved(&key).await?
            {
                faults.push(ProjectionFault::Unserved { key });
            }
        }
        Ok(faults)
    }

    /// The faults of one version.
    pub(super) async fn faults_of(
        &self,
        projected: &Projected,
        row: &ProjectionRow,
    ) -> Result<Vec<ProjectionFault>, Error> {
        let (db, key) = (&self.shared.db, &projected.key);
        let mut faults: Vec<_> = self.missing_table(projected).await?.into_iter().collect();
        let ahead = match row.status.is_before_live() && row.place.is_none() {
            true => Vec::new(),
            false => db.checkpoints_ahead(key, AGGREGATES).await?,
        };
        faults.extend(ahead.into_iter().map(|(aggregate_id, checkpoint, stored)| {
            ProjectionFault::AheadOfStore {
                key: key.clone(),
                aggregate_id,
                checkpoint,
                stored,
            }
        }));
        let live = db.live_version(&key.name).await?;
        faults.extend(live.filter(|&live| live > key.version).map(|live| {
            ProjectionFault::LowerVersion {
                key: key.clone(),
                live,
            }
        }));
        Ok(faults)
    }

    async fn missing_table(&self, projected: &Projected) -> Result<Option<ProjectionFault>, Error> {
        let (key, views) = (&projected.key, projected.descriptor.views);
        let missing = self.shared.db.missing_projection_table(key, views).await?;
        Ok(missing.map(|table| ProjectionFault::MissingTable {
            key: key.clone(),
            table,
        }))
    }
}
