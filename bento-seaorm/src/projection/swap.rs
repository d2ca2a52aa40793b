//! The swap: a version whose build has read everything becomes the live one.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionOptions};

use super::{ProjectionKey, ProjectionStatus};
use crate::backend;
use crate::connection::OutboxConnection;
use crate::dialect::{self, Bind, Dialect, Sql, binds};
use crate::error::Error;
use crate::session::{Session, begin, to_the_end};
use crate::transaction::OutboxTransaction;

/// The end of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Swapped {
    /// The status: live, or replaced if a higher version is live.
    pub status: ProjectionStatus,
    /// The version that was live before.
    pub before: Option<u32>,
    /// The events that were raised during the build, and are in the outbox now.
    pub released: u64,
}

impl OutboxTransaction {
    /// Makes a version live that is built, in place of the one that is; unless that one is higher.
    /// The views show its tables then, where DDL is part of a transaction.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn swap_projection(
        &self,
        key: &ProjectionKey,
        views: &[&str],
    ) -> Result<Swapped, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        self.lock_name(dialect, key).await?;
        let before = self.live_version(dialect, key).await?;
        let is_live = before.is_none_or(|before| before < key.version);
        if let Some(before) = before.filter(|_| is_live) {
            self.set_status(
                dialect,
                "UPDATE {projection} SET status = ? WHERE name = ? AND version = ?",
                binds![
                    ProjectionStatus::Replaced.as_str(),
                    &*key.name,
                    before.cast_signed()
                ],
            )
            .await?;
        }
        let (status, live_at) = match is_live {
            true => (ProjectionStatus::Live, "{now}"),
            false => (ProjectionStatus::Replaced, "live_at"),
        };
        let update = format!(
            "UPDATE {{projection}} SET status = ?, live_at = {live_at}, builder = NULL, \
             builder_expires_at = NULL WHERE name = ? AND version = ?"
        );
        let key_of = binds![status.as_str(), &*key.name, key.number()];
        self.set_status(dialect, &update, key_of).await?;
        let released = self.release_effects(key).await?;
        if is_live && !ddl_commits(dialect) {
            self.show(dialect, key, views).await?;
        }
        Ok(Swapped {
            status,
            before: before.filter(|&before| before != key.version),
            released,
        })
    }

    /// Shows the tables of a version in its views. Last in the swap, so that readers
    /// wait for a view only while the swap commits.
    async fn show(
        &self,
        dialect: &'static dyn Dialect,
        key: &ProjectionKey,
        views: &[&str],
    ) -> Result<(), Error> {
        for view in views {
            let limit = dialect.before_view().map(str::to_owned);
            let replace = dialect.replace_view(view, &table_of(key, view));
            let statements = limit.into_iter().chain(replace);
            let replaced = self.run_own(move |session| async move {
                for statement in statements {
                    session.execute_unprepared(&statement).await?;
                }
                Ok(())
            });
            replaced
                .await
                .map_err(|error| in_use(dialect, view, error))?;
        }
        Ok(())
    }

    /// Locks the row of the lowest version, so that one version of a projection is swapped at a
    /// time: of two that end at once the second has to see what the first did.
    async fn lock_name(
        &self,
        dialect: &'static dyn Dialect,
        key: &ProjectionKey,
    ) -> Result<(), Error> {
        let lowest = "SELECT version FROM {projection} WHERE name = ? ORDER BY version LIMIT 1 \
                      {lock_rows}";
        let lowest = Sql::new(dialect, self.tables(), lowest, binds![&*key.name]).build();
        self.run_own(move |session| async move { session.query_one_raw(lowest).await })
            .await?;
        Ok(())
    }

    /// The version that is live, by a query after the lock.
    async fn live_version(
        &self,
        dialect: &'static dyn Dialect,
        key: &ProjectionKey,
    ) -> Result<Option<u32>, Error> {
        let select = Sql::new(
            dialect,
            self.tables(),
            "SELECT MAX(version) FROM {projection} WHERE name = ? AND status = ?",
            binds![&*key.name, ProjectionStatus::Live.as_str()],
        )
        .build();
        let row = self
            .run_own(move |session| async move { session.query_one_raw(select).await })
            .await?;
        let version = row.map_or(Ok(None), |row| row.try_get_by_index::<Option<i32>>(0));
        Ok(version.map_err(Error::Database)?.map(i32::unsigned_abs))
    }

    async fn set_status(
        &self,
        dialect: &'static dyn Dialect,
        update: &str,
        binds: impl IntoIterator<Item = Bind>,
    ) -> Result<(), Error> {
        let update = Sql::new(dialect, self.tables(), update, binds).build();
        self.run_own(move |session| async move { session.execute_raw(update).await })
            .await?;
        Ok(())
    }
}

impl OutboxConnection {
    /// Shows the tables of a live version in its views, where DDL is not part of a transaction:
    /// after the swap, and again whenever a process starts, because one may have died between.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background; each view shows one version or the other.
    #[doc(hidden)]
    pub async fn show_projection(&self, key: &ProjectionKey, views: &[&str]) -> Result<(), Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        if !ddl_commits(dialect) {
            return Ok(());
        }
        let mut shown = None;
        // Another version may have become live, and have shown its tables, just before this does.
        while let Some(live) = self.live_version(&key.name).await? {
            if shown == Some(live) || shown.is_none() && live != key.version {
                break;
            }
            let live_key = ProjectionKey::new(&*key.name, live);
            for view in views {
                let replace = dialect.replace_view(view, &table_of(&live_key, view));
                let replaced = to_the_end(replace_view(self.inner().clone(), dialect, replace));
                replaced.await.map_err(|error| {
                    in_use(dialect, view, Error::from_statement(backend, error))
                })?;
            }
            shown = Some(live);
        }
        Ok(())
    }

    /// Returns the error of a table that the views of a version are to show, and that is missing.
    ///
    /// # Errors
    /// The error of the database for anything else.
    ///
    /// # Cancel safety
    /// It only reads.
    #[doc(hidden)]
    pub async fn missing_projection_table(
        &self,
        key: &ProjectionKey,
        views: &[&str],
    ) -> Result<Option<String>, Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        for view in views {
            let table = table_of(key, view);
            let select = format!("SELECT 1 FROM {} WHERE 1 = 0", dialect.quoted(&table));
            match self.shielded().execute_unprepared(&select).await {
                Ok(_) => {}
                Err(error) if backend::missing_table(backend, &error).is_some() => {
                    return Ok(Some(table));
                }
                Err(error) => return Err(Error::from_statement(backend, error)),
            }
        }
        Ok(None)
    }
}

/// The table of a version that a view shows.
fn table_of(key: &ProjectionKey, view: &str) -> String {
    format!("{view}_v{}", key.version)
}

/// Replaces a view outside of a transaction of the caller. One session runs all statements, and has
/// the limit that it had before when it goes back to the pool.
async fn replace_view(
    db: DatabaseConnection,
    dialect: &'static dyn Dialect,
    replace: Vec<String>,
) -> Result<(), DbErr> {
    let limit = dialect.before_view().map(Into::into);
    let session = Session::new(begin(&db, TransactionOptions::default(), limit).await?);
    let mut replaced = Ok(());
    for statement in replace {
        if replaced.is_ok() {
            replaced = session.execute_unprepared(&statement).await.map(|_| ());
        }
    }
    if let Some(after) = dialect.after_view()
        && session.execute_unprepared(after).await.is_err()
    {
        session.give_up();
    }
    // Each statement has committed by itself.
    let _ = session.roll_back().await;
    replaced
}

/// The error of a view that could not be replaced.
fn in_use(dialect: &dyn Dialect, view: &str, error: Error) -> Error {
    match error {
        Error::Database(source) if backend::is_transient(dialect.backend(), &source) => {
            Error::ViewInUse {
                view: view.to_owned(),
                source,
            }
        }
        error => error,
    }
}

/// True if DDL commits the transaction around it.
fn ddl_commits(dialect: &dyn Dialect) -> bool {
    dialect.commits_before().contains(&"CREATE")
}
