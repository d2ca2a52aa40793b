//! Projecting: what is in the outbox and in the event store comes to every projection.

use std::time::Duration;

use bento_handlers::Dispatcher;
use bento_relay::Relay;
use bento_relay::inspect::Inspect as _;
use bento_seaorm::{OutboxConnection, OutboxStore};
use bento_seaorm::{ProjectionKey, ProjectionState, ProjectionStatus, Projections};
use tokio::time::{Instant, sleep};

/// The longest wait without any progress.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks. The tables tell of a build, and nothing else does.
const LOOK: Duration = Duration::from_millis(5);

/// Brings every event of the outbox and of the event store to the projections of a dispatcher, and
/// to its handlers, and returns when each projection has all that it takes: the read models may be
/// compared then.
///
/// It relays in this call, and only in it. A version that waits until it is told to be built
/// (`ProjectionSettings::manual`) is left waiting.
///
/// ```
/// use bento_core::domain_event;
/// use bento_handlers::{Batch, HandleError, Handlers, projection};
/// use bento_seaorm::OutboxTransaction;
/// use sea_orm::ConnectionTrait as _;
/// # use bento_core::{PendingEvents, aggregate};
/// # #[domain_event(schema = "account.deposited", version = 1)]
/// # #[derive(Clone, Debug)]
/// # pub struct Deposited { pub cents: i64 }
/// # #[aggregate(event_sourced, name = "account", events(Deposited))]
/// # #[derive(Debug, Default)]
/// # pub struct Account { id: String, #[aggregate(version)] version: i64, events: PendingEvents }
/// # impl Account { fn apply(&mut self, _: &AccountEvent) {} }
/// #[projection(name = "total", version = 1, views = "total")]
/// pub struct Total;
///
/// impl Total {
///     async fn project(
///         &self,
///         events: Batch<Deposited>,
///         tx: &OutboxTransaction,
///     ) -> Result<(), HandleError> {
///         let cents: i64 = events.iter().map(|event| event.cents).sum();
///         tx.execute_unprepared(&format!("UPDATE total_v1 SET cents = cents + {cents}")).await?;
///         Ok(())
///     }
/// }
///
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use bento_core::Aggregate as _;
/// let db = bento_testkit::database_in_memory().await;
/// db.execute_unprepared("CREATE TABLE total_v1 AS SELECT 0 AS cents").await?;
/// let mut account = Account { id: "A-1".to_owned(), ..Account::default() };
/// account.raise(Deposited { cents: 540 });
/// db.transaction_async(async |tx| tx.save(&mut account).await).await?;
///
/// let dispatcher = Handlers::registered().build(&db)?;
/// bento_testkit::project_all(&dispatcher, &db).await;
/// let row = db.query_one_raw(sea_orm::Statement::from_string(
///     db.get_database_backend(),
///     "SELECT cents FROM total",
/// ));
/// assert_eq!(row.await?.expect("one row").try_get_by_index::<i64>(0)?, 540);
/// # Ok(()) }
/// ```
///
/// # Panics
/// If a version stops, with its reason; if the relay cannot go on; and if nothing moves for 30
/// seconds, with the state of each version.
///
/// # Cancel safety
/// Events that are on their way come again with the next call.
pub async fn project_all(dispatcher: &Dispatcher, db: &OutboxConnection) {
    let prefix = db.table_prefix().clone();
    let store = OutboxStore::new(db.inner().clone()).with_table_prefix(prefix);
    let keys: Vec<ProjectionKey> = dispatcher
        .projections()
        .map(|projection| ProjectionKey::new(projection.name, projection.version))
        .collect();
    let projections = Projections::new(store.clone());
    let mut seen = (Vec::new(), Instant::now());
    loop {
        let relay = Relay::builder(store.clone(), dispatcher.clone());
        let relayed = relay.run_until_empty().await;
        relayed.unwrap_or_else(|error| panic!("the relay cannot go on: {error}"));
        let states = projections.list().await;
        let mut states =
            states.unwrap_or_else(|error| panic!("the versions are not read: {error}"));
        states.retain(|state| keys.contains(&state.key));
        if let Some((key, stop)) = states.iter().find_map(stop_of) {
            let at = stop.event_id;
            let at = at.map_or(String::new(), |event| format!(" at the event {event}"));
            panic!("{key} has stopped{at}: {}", stop.reason);
        }
        let pending = store.counts().await.map(|counts| counts.pending);
        let pending = pending.unwrap_or_else(|error| panic!("the outbox is not read: {error}"));
        if pending == 0 && states.len() == keys.len() && states.iter().all(has_all) {
            return;
        }
        if states != seen.0 {
            seen = (states, Instant::now());
        } else if seen.1.elapsed() > PATIENCE {
            panic!("nothing moves, with {pending} events in the outbox: {states:#?}");
        }
        sleep(LOOK).await;
    }
}

fn stop_of(state: &ProjectionState) -> Option<(&ProjectionKey, &bento_seaorm::ProjectionStop)> {
    Some((&state.key, state.stop.as_ref()?))
}

/// True if nothing waits for the version, or it waits for an operator.
fn has_all(state: &ProjectionState) -> bool {
    match state.status {
        ProjectionStatus::Waiting => true,
        status => !status.is_before_live() && state.held == 0,
    }
}
