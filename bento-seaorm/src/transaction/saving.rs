//! Saving aggregates that are SeaORM models: the row, its version and its events together.

use bento_core::aggregate::Versioned;
use bento_core::event_sourced::storage;
use bento_core::saving::{Saving, SavingError};
use bento_core::{Aggregate, EventSourced};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sea_orm::sea_query::FromValueTuple as _;
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    FromQueryResult, IntoActiveModel, Iterable, ModelTrait, PrimaryKeyToColumn, PrimaryKeyTrait,
    QueryFilter, Value,
};

use super::OutboxTransaction;
use crate::error::Error;
use crate::stream::Head;

/// An aggregate that is a SeaORM model: a `Model` with `#[aggregate]`, for which it is implemented
/// automatically.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a SeaORM model with `#[aggregate(…)]`",
    label = "`insert`, `update` and `save` cannot save this",
    note = "save the model itself, not its `ActiveModel`: that has no events",
    note = "put `#[aggregate(…)]` above `#[sea_orm::model]` on the model; for another struct \
            write its rows with SeaORM and hand its events over with `tx.collect(&mut aggregate)`"
)]
pub trait SavedModel:
    Aggregate
    + ModelTrait<Entity: EntityTrait<Model = Self, ActiveModel: Send>>
    + IntoActiveModel<ActiveModelOf<Self>>
    + FromQueryResult
    + Sync
{
}

#[diagnostic::do_not_recommend]
impl<M> SavedModel for M where
    M: Aggregate
        + ModelTrait<Entity: EntityTrait<Model = M, ActiveModel: Send>>
        + IntoActiveModel<ActiveModelOf<M>>
        + FromQueryResult
        + Sync
{
}

type ActiveModelOf<M> = <<M as ModelTrait>::Entity as EntityTrait>::ActiveModel;
type ColumnOf<M> = <<M as ModelTrait>::Entity as EntityTrait>::Column;
type PrimaryKeyOf<M> = <<M as ModelTrait>::Entity as EntityTrait>::PrimaryKey;

/// The way in which an aggregate is saved, by where its state is stored.
///
/// Implemented automatically.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{A}` cannot be saved with `save`",
    label = "this is neither a SeaORM model with a version nor event-sourced",
    note = "put `#[aggregate(…)]` on the model and mark a field `#[aggregate(version)]`, or \
            declare it `#[aggregate(event_sourced, …)]`"
)]
pub trait StorageOf<A: Aggregate> {
    /// Saves the aggregate.
    ///
    /// # Errors
    /// As [`OutboxTransaction::save`].
    ///
    /// # Cancel safety
    /// As [`OutboxTransaction::save`].
    fn save<'a>(
        tx: &'a OutboxTransaction,
        aggregate: &'a mut A,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

impl<M: SavedModel + Versioned> StorageOf<M> for storage::Row {
    fn save<'a>(
        tx: &'a OutboxTransaction,
        aggregate: &'a mut M,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move { tx.save_row(aggregate).await.map(drop) }.boxed()
    }
}

impl<M: SavedModel + EventSourced> StorageOf<M> for storage::RowAndEvents {
    fn save<'a>(
        tx: &'a OutboxTransaction,
        aggregate: &'a mut M,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let raised = tx.save_row(aggregate).await?;
            tx.keep_snapshot(aggregate, raised).await;
            Ok(())
        }
        .boxed()
    }
}

impl<A: EventSourced> StorageOf<A> for storage::Events {
    fn save<'a>(
        tx: &'a OutboxTransaction,
        aggregate: &'a mut A,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let raised = tx.save_events(aggregate).await?;
            tx.keep_snapshot(aggregate, raised).await;
            Ok(())
        }
        .boxed()
    }
}

/// The reason why a row was not written.
enum Failure {
    /// No row has the primary key, or not with this version.
    NoRow,
    Other(Error),
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        Self::Other(error.into())
    }
}

// The futures are boxed, so that they do not name the type of the aggregate: of a type that cannot
// be saved the compiler tells once, and not at the call and at `.await` again.
impl OutboxTransaction {
    /// Inserts an aggregate: every column, and its events. A primary key that the database
    /// generates is left out while it is 0.
    ///
    /// Afterwards the model holds its columns as the database has stored them, with the key, and
    /// its events belong to this transaction. The hooks of `ActiveModelBehavior` are called as
    /// SeaORM calls them. With `#[aggregate(version)]` the version becomes the number of its
    /// events, at least 1, and they are numbered.
    ///
    /// After a rollback the events are back with the aggregate. Its columns stay as they are, a
    /// generated key too: make or load it anew.
    ///
    /// ```
    /// # use bento_core::{PendingEvents, aggregate, domain_event};
    /// # use sea_orm::entity::prelude::*;
    /// # #[domain_event(schema = "order.placed", version = 1)]
    /// # #[derive(Debug)]
    /// # pub struct OrderPlaced {}
    /// # #[aggregate(events(OrderPlaced), name = "order")]
    /// # #[sea_orm::model]
    /// # #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    /// # #[sea_orm(table_name = "orders")]
    /// # pub struct Model {
    /// #     #[sea_orm(primary_key)]
    /// #     pub id: i64,
    /// #     #[sea_orm(ignore)]
    /// #     pub events: PendingEvents,
    /// # }
    /// # impl ActiveModelBehavior for ActiveModel {}
    /// # async fn example(db: bento_seaorm::OutboxConnection) -> Result<(), bento_seaorm::Error> {
    /// let tx = db.begin().await?;
    /// let mut order = Model { id: 0, events: PendingEvents::default() };
    /// order.raise(OrderPlaced {});
    /// tx.insert(&mut order).await?;
    /// assert_ne!(order.id, 0);
    /// tx.commit().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Database`] if the database refuses the row; [`Error::Frame`] while a nested
    /// transaction is open; [`Error::VersionTooLarge`]; [`Error::NoEvents`] of an event-sourced
    /// aggregate. The aggregate and its events are as they were.
    ///
    /// # Cancel safety
    /// If the future is dropped, the row may be written. The aggregate is as it was, and its events
    /// are doubtful: the commit is refused.
    pub fn insert<'a, M: SavedModel>(
        &'a self,
        aggregate: &'a mut M,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.write(aggregate, true).boxed()
    }

    /// Updates an aggregate: every column of the row with its primary key, and its events.
    ///
    /// Afterwards the model holds its columns as the database has stored them, and its events
    /// belong to this transaction. The hooks of `ActiveModelBehavior` are called as SeaORM calls
    /// them. With `#[aggregate(version)]` this is [`save`](Self::save), also for a row whose
    /// version is 0: one that was there before the column was.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no such row, [`Error::Conflict`] if it has another version;
    /// either counts as a failed statement. [`Error::Database`] if the database refuses the row;
    /// [`Error::Frame`] while a nested transaction is open; [`Error::VersionTooLarge`]. The
    /// aggregate and its events are as they were.
    ///
    /// # Cancel safety
    /// If the future is dropped, the row may be written. The aggregate is as it was, and its events
    /// are doubtful: the commit is refused.
    pub fn update<'a, M: SavedModel>(
        &'a self,
        aggregate: &'a mut M,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.write(aggregate, false).boxed()
    }

    /// Saves an aggregate with a version.
    ///
    /// A SeaORM model is inserted if its version is 0, else its row is updated, provided that the
    /// row has the version that the aggregate was loaded with. The events of an event-sourced
    /// aggregate are appended to the stored ones and written to the outbox at once, provided that
    /// no other event was stored since it was loaded; without a new event nothing is written. A
    /// model that is event-sourced has both.
    ///
    /// The version rises by the number of the events that are saved with it, at least by 1. They
    /// are numbered from the version before, and that is their `sequence`: the first event of an
    /// aggregate has 1, and a save without events leaves a number out. The version of an
    /// event-sourced aggregate rises by its events alone. Every event must be saved:
    /// one that is raised later in the transaction needs another `save`, or the commit is refused.
    ///
    /// With `snapshots` in `#[aggregate(…)]`, a save after which one is due makes the aggregate
    /// anew of the stored events and keeps its state, in this transaction, under a savepoint. If
    /// that fails, it is logged and counted, and the save succeeds. [`insert`](Self::insert) and
    /// [`update`](Self::update) keep none, since they take models that are not event-sourced too:
    /// the next [`load`](Self::load) meets more events than it should, and the `save` after it
    /// keeps one.
    ///
    /// After a rollback, of a nested transaction too, the events are back with the aggregate and
    /// have no numbers, and a repeated `save` goes by the version in the database. The columns in
    /// memory stay as they are, the version too: better load the aggregate anew.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another transaction has changed the row or stored an event,
    /// [`Error::Gone`] if the row is not there any more; either counts as a failed statement.
    /// [`Error::Database`] if the database refuses the row; [`Error::Frame`] while a nested
    /// transaction is open; [`Error::VersionTooLarge`]. Of event-sourced aggregates also
    /// [`Error::Flush`], [`Error::AlreadyStored`], [`Error::NoKey`] and [`Error::NoEvents`]. The
    /// aggregate and its events are as they were.
    ///
    /// # Cancel safety
    /// If the future is dropped, the row and the events may be written. The aggregate is as it was,
    /// and its events are doubtful: the commit is refused. If it is dropped while it keeps a
    /// snapshot, the save is done, with or without the snapshot.
    pub fn save<'a, A: Aggregate<Storage: StorageOf<A>>>(
        &'a self,
        aggregate: &'a mut A,
    ) -> BoxFuture<'a, Result<(), Error>> {
        <A::Storage as StorageOf<A>>::save(self, aggregate)
    }

    async fn save_row<M: SavedModel>(&self, aggregate: &mut M) -> Result<Option<Head>, Error> {
        let saving = self.unit_of_work().save(self.frame, aggregate)?;
        let is_new = saving.version_before() == Some(0);
        if M::IS_EVENT_SOURCED && !is_new && saving.events() == 0 {
            saving.done(aggregate)?;
            return Ok(None);
        }
        self.write_row(aggregate, is_new, saving).await
    }

    async fn write<M: SavedModel>(&self, aggregate: &mut M, is_new: bool) -> Result<(), Error> {
        let saving = self.unit_of_work().save(self.frame, aggregate)?;
        self.write_row(aggregate, is_new, saving).await.map(drop)
    }

    async fn write_row<M: SavedModel>(
        &self,
        aggregate: &mut M,
        is_new: bool,
        saving: Saving,
    ) -> Result<Option<Head>, Error> {
        if M::IS_EVENT_SOURCED && is_new && saving.events() == 0 {
            saving.failed();
            return Err(Error::NoEvents {
                aggregate_type: M::TYPE,
                id: key_text(aggregate),
            });
        }
        match self.try_row(aggregate, is_new, &saving).await {
            Ok(mut stored) => {
                let before = Columns::of_events(aggregate, &saving);
                for column in ColumnOf::<M>::iter() {
                    aggregate.try_set(column, stored.get(column))?;
                }
                let finished = self.finish_with_events(aggregate, saving).await;
                let raised = finished.inspect_err(|_| before.restore(aggregate))?;
                // What a hook has raised on the model that it was given.
                aggregate
                    .pending_events_mut()
                    .absorb(stored.pending_events_mut());
                Ok(raised)
            }
            Err(failure) => {
                let error = self.explain(aggregate, failure, &saving).await;
                saving.failed();
                Err(error)
            }
        }
    }

    /// Writes the row, and answers with it as the database has it.
    async fn try_row<M: SavedModel>(
        &self,
        aggregate: &M,
        is_new: bool,
        saving: &Saving,
    ) -> Result<M, Failure> {
        // A clone has no events.
        let mut next = aggregate.clone();
        if let Some(version) = saving.version_after()
            && !next.set_version(version)
        {
            return Err(Failure::Other(
                SavingError::VersionTooLarge {
                    aggregate_type: M::TYPE,
                    version,
                }
                .into(),
            ));
        }
        let expected = saving
            .version_before()
            .map(|before| expected_version(&next, before))
            .transpose()?;
        let active = next.into_active_model().reset_all();
        let stored = if is_new {
            self.insert_row::<M>(leave_generated_key(active)).await?
        } else {
            self.update_row::<M>(active, expected).await?
        };
        Ok(ActiveModelOf::<M>::after_save(stored, self, is_new).await?)
    }

    async fn insert_row<M: SavedModel>(&self, active: ActiveModelOf<M>) -> Result<M, Failure> {
        let active = active.before_save(self, true).await?;
        let key = active
            .get_primary_key_value()
            .filter(|_| !self.support_returning());
        let insert = M::Entity::insert(active);
        let Some(key) = key else {
            return Ok(insert.exec_with_returning(self).await?);
        };
        // Without RETURNING SeaORM asks for the last generated key, although this one is known.
        insert.exec_without_returning(self).await?;
        let key = <PrimaryKeyOf<M> as PrimaryKeyTrait>::ValueType::from_value_tuple(key);
        let stored = M::Entity::find_by_id(key).one(self).await?;
        Ok(stored
            .ok_or_else(|| DbErr::RecordNotFound("the row that was just inserted".to_owned()))?)
    }

    async fn update_row<M: SavedModel>(
        &self,
        active: ActiveModelOf<M>,
        expected: Option<(ColumnOf<M>, Value)>,
    ) -> Result<M, Failure> {
        let active = active.before_save(self, false).await?;
        let mut update = M::Entity::update(active).validate()?;
        if let Some((version, expected)) = expected {
            update = update.filter(version.eq(expected));
        }
        update.exec(self).await.map_err(|error| match error {
            DbErr::RecordNotUpdated | DbErr::RecordNotFound(_) => Failure::NoRow,
            error => error.into(),
        })
    }

    /// The error for the caller about a row that was not found: it is gone, or has another version.
    async fn explain<M: SavedModel>(
        &self,
        aggregate: &M,
        failure: Failure,
        saving: &Saving,
    ) -> Error {
        let aggregate_type = M::TYPE;
        match failure {
            Failure::Other(error) => return error,
            Failure::NoRow => self.unit_of_work().statement_failed(),
        }
        let id = key_text(aggregate);
        let Some(expected) = saving.version_before() else {
            return Error::Gone { aggregate_type, id };
        };
        let key = <PrimaryKeyOf<M> as PrimaryKeyTrait>::ValueType::from_value_tuple(
            aggregate.get_primary_key_value(),
        );
        match M::Entity::find_by_id(key).one(self).await {
            Ok(None) => Error::Gone { aggregate_type, id },
            Ok(Some(stored)) => {
                self.physical.note_conflict();
                Error::Conflict {
                    aggregate_type,
                    id,
                    expected,
                    actual: stored.version(),
                    source: None,
                }
            }
            Err(error) => error.into(),
        }
    }
}

/// The columns of an aggregate whose events are still to be appended, which may fail.
struct Columns<M: SavedModel>(Vec<(ColumnOf<M>, Value)>);

impl<M: SavedModel> Columns<M> {
    /// The columns as they are; none of an aggregate without events to append.
    fn of_events(aggregate: &M, saving: &Saving) -> Self {
        if !M::IS_EVENT_SOURCED || saving.events() == 0 {
            return Self(Vec::new());
        }
        let columns = ColumnOf::<M>::iter();
        Self(
            columns
                .map(|column| (column, aggregate.get(column)))
                .collect(),
        )
    }

    fn restore(self, aggregate: &mut M) {
        for (column, value) in self.0 {
            // It has had the value.
            let _ = aggregate.try_set(column, value);
        }
    }
}

/// Leaves out a key that the database generates while it is 0.
fn leave_generated_key<A: ActiveModelTrait>(mut active: A) -> A {
    if <<A::Entity as EntityTrait>::PrimaryKey as PrimaryKeyTrait>::auto_increment() {
        for key in <A::Entity as EntityTrait>::PrimaryKey::iter() {
            let column = key.into_column();
            if active
                .get(column)
                .into_value()
                .is_some_and(|value| is_zero(&value))
            {
                active.not_set(column);
            }
        }
    }
    active
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::TinyInt(Some(number)) => *number == 0,
        Value::SmallInt(Some(number)) => *number == 0,
        Value::Int(Some(number)) => *number == 0,
        Value::BigInt(Some(number)) => *number == 0,
        Value::TinyUnsigned(Some(number)) => *number == 0,
        Value::SmallUnsigned(Some(number)) => *number == 0,
        Value::Unsigned(Some(number)) => *number == 0,
        Value::BigUnsigned(Some(number)) => *number == 0,
        _ => false,
    }
}

/// The column of the version, and what the row has in it: of the columns the one that changes with
/// the version.
fn expected_version<M: SavedModel>(next: &M, before: i64) -> Result<(ColumnOf<M>, Value), Failure> {
    let (mut stored, mut other) = (next.clone(), next.clone());
    stored.set_version(before);
    if next.version() == Some(before) {
        // Without an event an event-sourced aggregate keeps its version: any other one will do.
        other.set_version(i64::from(before == 0));
    }
    let differs = |column: &ColumnOf<M>| {
        is_integer(&other.get(*column)) && other.get(*column) != stored.get(*column)
    };
    let column = ColumnOf::<M>::iter().find(differs);
    let column = column.ok_or(Failure::Other(Error::VersionTooLarge {
        aggregate_type: M::TYPE,
        version: before,
    }))?;
    Ok((column, stored.get(column)))
}

fn is_integer(value: &Value) -> bool {
    matches!(
        value,
        Value::SmallInt(_)
            | Value::Int(_)
            | Value::BigInt(_)
            | Value::SmallUnsigned(_)
            | Value::Unsigned(_)
            | Value::BigUnsigned(_)
    )
}

/// The primary key as a text, for an error.
fn key_text<M: SavedModel>(aggregate: &M) -> String {
    let text = |key: PrimaryKeyOf<M>| match aggregate.get(key.into_column()) {
        Value::String(Some(text)) => text.to_string(),
        value => value.to_string().trim_matches('\'').to_owned(),
    };
    PrimaryKeyOf::<M>::iter()
        .map(text)
        .collect::<Vec<_>>()
        .join(":")
}
