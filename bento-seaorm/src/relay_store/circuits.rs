//! Destinations that are away: when they are tried again, and by whom.
//!
//! Each statement stands for itself, in no transaction. Two relays that claim at once read the same count; only one of them finds it
//! unchanged.

use std::time::Duration;

use bento_core::relay::store::{Opening, RelayId, StoreError, TrialClaim};
use sea_orm::{ConnectionTrait, DbErr};

use super::OutboxStore;
use super::errors::{StoreFailure, Tries};
use crate::dialect::{Dialect, Sql};

pub(super) async fn open(store: &OutboxStore, opening: &Opening) -> Result<(), StoreError> {
    let mut tries = Tries::new(store.db.get_database_backend());
    loop {
        match open_once(store, opening).await {
            Ok(()) => return Ok(()),
            Err(failure) => tries.again(failure)?,
        }
    }
}

async fn open_once(store: &OutboxStore, opening: &Opening) -> Result<(), StoreFailure> {
    let dialect = store.dialect()?;
    if postpone(store, dialect, opening).await? {
        return Ok(());
    }
    let circuit = store.tables.circuit();
    let insert = Sql::new(dialect, &format!("INSERT INTO {circuit} (destination, trials, next_trial_at) VALUES ("))
        .bind(&*opening.destination)
        .push(", ")
        .bind(count(opening.trials))
        .push(", ")
        .after(opening.pause)
        .push(")")
        .push(&dialect.or_leave(circuit, &["destination"]));
    store.db.execute_raw(insert.build()).await?;
    Ok(())
}

/// False if there is no such circuit, or one that pauses for longer.
async fn postpone(store: &OutboxStore, dialect: &'static dyn Dialect, opening: &Opening) -> Result<bool, DbErr> {
    let (circuit, by_key) = (store.tables.circuit(), dialect.by_key());
    // MySQL sets the columns one after another: the count has to be judged by the time before.
    let update = Sql::new(dialect, &format!("UPDATE {circuit}{by_key} SET trials = CASE WHEN next_trial_at < "))
        .before(opening.stale)
        .push(" THEN ")
        .bind(count(opening.trials))
        .push(" ELSE trials END, owner = NULL, next_trial_at = ")
        .after(opening.pause)
        .push(" WHERE destination = ")
        .bind(&*opening.destination)
        .push(" AND (owner = ")
        .bind(opening.relay.0)
        .push(" OR next_trial_at < ")
        .after(opening.pause)
        .push(")");
    Ok(store.db.execute_raw(update.build()).await?.rows_affected() > 0)
}

pub(super) async fn claim(
    store: &OutboxStore,
    relay: RelayId,
    destination: &str,
    hold: Duration,
) -> Result<TrialClaim, StoreError> {
    let mut tries = Tries::new(store.db.get_database_backend());
    loop {
        match claim_once(store, relay, destination, hold).await {
            Ok(Some(claim)) => return Ok(claim),
            // Somebody was quicker, and what they did says how long to wait.
            Ok(None) => {}
            Err(failure) => tries.again(failure)?,
        }
    }
}

async fn claim_once(
    store: &OutboxStore,
    relay: RelayId,
    destination: &str,
    hold: Duration,
) -> Result<Option<TrialClaim>, StoreFailure> {
    let dialect = store.dialect()?;
    let (circuit, by_key, now) = (store.tables.circuit(), dialect.by_key(), dialect.now());
    let until = dialect.micros_until("next_trial_at");
    let is_due = format!("CASE WHEN next_trial_at <= {now} THEN 1 ELSE 0 END");
    let select = Sql::new(dialect, &format!("SELECT trials, {is_due}, {until} FROM {circuit} WHERE destination = "));
    let Some(row) = store.db.query_one_raw(select.bind(destination).build()).await? else {
        return Ok(Some(TrialClaim::Closed));
    };
    if row.try_get_by_index::<i32>(1)? == 0 {
        let micros: i64 = row.try_get_by_index(2)?;
        return Ok(Some(TrialClaim::Later(Duration::from_micros(micros.max(0).cast_unsigned()))));
    }
    let before: i32 = row.try_get_by_index(0)?;
    let trials = before.saturating_add(1);
    let update = Sql::new(dialect, &format!("UPDATE {circuit}{by_key} SET trials = "))
        .bind(trials)
        .push(", owner = ")
        .bind(relay.0)
        .push(", next_trial_at = ")
        .after(hold)
        .push(" WHERE destination = ")
        .bind(destination)
        .push(" AND trials = ")
        .bind(before)
        .push(&format!(" AND next_trial_at <= {now}"));
    let is_granted = store.db.execute_raw(update.build()).await?.rows_affected() > 0;
    Ok(is_granted.then_some(TrialClaim::Granted { trials: trials.cast_unsigned() }))
}

pub(super) async fn close(store: &OutboxStore, destination: &str) -> Result<(), StoreError> {
    let mut tries = Tries::new(store.db.get_database_backend());
    loop {
        match close_once(store, destination).await {
            Ok(()) => return Ok(()),
            Err(failure) => tries.again(failure)?,
        }
    }
}

async fn close_once(store: &OutboxStore, destination: &str) -> Result<(), StoreFailure> {
    let delete = Sql::new(store.dialect()?, &format!("DELETE FROM {} WHERE destination = ", store.tables.circuit()));
    store.db.execute_raw(delete.bind(destination).build()).await?;
    Ok(())
}

fn count(trials: u32) -> i32 {
    i32::try_from(trials).unwrap_or(i32::MAX)
}
