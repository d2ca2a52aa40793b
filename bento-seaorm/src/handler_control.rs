//! Commands for the recorded handlers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bento_relay::handler_control::{HandledAgain, HandlerControl, HandlerPause, HandlerState};
use bento_relay::store::{Leftovers, RelayId, ServedHandler, StoreError};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use self::again::Wanted;
use crate::dialect::{Sql, binds};
use crate::relay_store::{
    OutboxStore, RECORDED, Recording, StoreFailure, forget_publishers, leftovers, living_relays,
    recorded_at, retrying, store_error,
};

mod again;

impl HandlerControl for OutboxStore {
    async fn forget_publishers(&self) -> Result<(), StoreError> {
        forget_publishers(self).await
    }

    async fn handlers(&self) -> Result<Vec<HandlerState>, StoreError> {
        let dialect = self.dialect()?;
        let columns = "recorded_at, paused_at, pause_reason, pause_actor";
        let select = format!("SELECT {RECORDED}, {columns} FROM {{handler}}");
        let select = Sql::new(dialect, self.tables(), &select, []);
        let read = async {
            let rows = self.db().query_all_raw(select.build()).await?;
            let relays = living_relays(self.db(), dialect, self.tables()).await?;
            Ok((rows, relays))
        };
        let failed = |error| store_error(dialect.backend(), error);
        let (rows, relays) = read.await.map_err(failed)?;
        let mut left = leftovers(self).await?;
        let state = |row| state_at(row, &relays, &mut left);
        let states: Result<Vec<_>, _> = rows.iter().map(state).collect();
        let mut states = states.map_err(failed)?;
        // Not every back end orders text by its bytes.
        states.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(states)
    }

    async fn pause_handler(
        &self,
        name: &str,
        reason: &str,
        actor: Option<&str>,
    ) -> Result<bool, StoreError> {
        HandlerPause::check(reason, actor)?;
        let change = Change::Pause(reason, actor);
        applied(self, name, change).await
    }

    async fn resume_handler(&self, name: &str) -> Result<bool, StoreError> {
        applied(self, name, Change::Resume).await
    }

    async fn retire_handler(&self, name: &str) -> Result<Option<Leftovers>, StoreError> {
        match applied(self, name, Change::Retire).await {
            Ok(_) => Ok(Some(
                leftovers(self).await?.remove(name).unwrap_or_default(),
            )),
            Err(StoreError::UnknownHandler { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn handle_again(
        &self,
        handler: &str,
        event_id: EventId,
    ) -> Result<HandledAgain, StoreError> {
        again::handle_again(self, handler, Wanted::Stored(event_id)).await
    }

    async fn handle_envelope_again(
        &self,
        handler: &str,
        envelope: &Envelope,
    ) -> Result<HandledAgain, StoreError> {
        again::handle_again(self, handler, Wanted::Given(envelope)).await
    }
}

fn state_at(
    row: &QueryResult,
    relays: &[(RelayId, Vec<ServedHandler>)],
    left: &mut BTreeMap<Arc<str>, Leftovers>,
) -> Result<HandlerState, DbErr> {
    let handler = recorded_at(row)?;
    let serving = relays
        .iter()
        .filter(|(_, served)| handler.is_served_by(served));
    let served_by = serving.map(|(relay, _)| *relay).collect();
    let waiting = left.remove(&handler.name).unwrap_or_default();
    let mut state = HandlerState::new(
        handler.name,
        handler.takes,
        handler.ordered,
        row.try_get_by_index(6)?,
    );
    let paused_at: Option<DateTime<Utc>> = row.try_get_by_index(7)?;
    let reason: Option<String> = row.try_get_by_index(8)?;
    let actor: Option<String> = row.try_get_by_index(9)?;
    state.pause = paused_at.map(|at| HandlerPause::new(reason.unwrap_or_default(), actor, at));
    (state.waiting, state.served_by) = (waiting, served_by);
    Ok(state)
}

/// A change of the record of a handler.
#[derive(Clone, Copy)]
enum Change<'a> {
    /// With the reason and the actor.
    Pause(&'a str, Option<&'a str>),
    Resume,
    Retire,
}

/// Makes a change. Returns false if there is nothing to change.
async fn applied(store: &OutboxStore, name: &str, change: Change<'_>) -> Result<bool, StoreError> {
    retrying(store.db().get_database_backend(), || {
        apply_once(store, name, change)
    })
    .await
}

async fn apply_once(
    store: &OutboxStore,
    name: &str,
    change: Change<'_>,
) -> Result<bool, StoreFailure> {
    let recording = Recording::begin(store).await?;
    let statement = match change {
        Change::Pause(reason, actor) => recording.sql(
            "UPDATE {handler} SET paused_at = {now}, pause_reason = ?, pause_actor = ? \
             WHERE name = ? AND paused_at IS NULL",
            binds![reason, actor.map(str::to_owned), name],
        ),
        Change::Resume => recording.sql(
            "UPDATE {handler} SET paused_at = NULL, pause_reason = NULL, pause_actor = NULL \
             WHERE name = ? AND paused_at IS NOT NULL",
            binds![name],
        ),
        Change::Retire => recording.sql("DELETE FROM {handler} WHERE name = ?", binds![name]),
    };
    if recording
        .tx
        .execute_raw(statement.build())
        .await?
        .rows_affected()
        > 0
    {
        recording.commit().await?;
        return Ok(true);
    }
    let known = recording.sql("SELECT 1 FROM {handler} WHERE name = ?", binds![name]);
    let is_known = recording.tx.query_one_raw(known.build()).await?.is_some();
    recording.tx.rollback().await?;
    if is_known {
        return Ok(false);
    }
    Err(StoreError::UnknownHandler {
        name: name.to_owned(),
    }
    .into())
}
