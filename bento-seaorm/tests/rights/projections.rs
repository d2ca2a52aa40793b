//! The work of a dispatcher and of an operator on projections.

use std::time::Duration;

use bento_core::{EventId, raise};
use bento_relay::event_store::{Cursor, Selection};
use bento_relay::publish::{HandlerRoute, StartFrom};
use bento_relay::store::RelayStore as _;
use bento_seaorm::{
    Built, Checkpoint, Gap, OutboxConnection, ProjectionKey, ProjectionStatus, Projections, Swapped,
};
use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use uuid::Uuid;

use crate::{AccountOpened, Outbox, Roles};

/// The statements that only a projector may run.
pub(crate) const REFUSED_TO_OTHERS: [&str; 2] = [
    "DELETE FROM bento_projection_checkpoint",
    "DELETE FROM bento_projection_effect",
];

/// The name under which readers find the read model.
const VIEW: &str = "balance";

/// The tables of the read model, with what the migration of a service grants on them. Views are in
/// the place to which the connection leads, which in a schema of its own is none of the service's.
pub(crate) async fn create_read_model(roles: &Roles<'_>) -> &'static [&'static str] {
    if roles.outbox.0.schema().is_some() {
        return &[];
    }
    let db = &roles.database.db;
    for version in [1, 2] {
        let create = format!("CREATE TABLE balance_v{version} (cents BIGINT NOT NULL)");
        db.execute_unprepared(&create).await.unwrap();
        let grant = format!(
            "GRANT SELECT, INSERT ON balance_v{version} TO {}projector",
            roles.prefix
        );
        db.execute_unprepared(&grant).await.unwrap();
    }
    &[VIEW]
}

/// Everything that a dispatcher does with two versions: the second replaces the first, which is
/// ended and forgotten.
pub(crate) async fn project(outbox: &Outbox, db: DatabaseConnection, views: &[&str]) {
    let projections = Projections::new(outbox.store(db.clone()));
    let db = outbox.connection(db).application("shop").build();
    let keys = [1, 2].map(|version| ProjectionKey::new("balances", version));
    for key in &keys {
        let route = HandlerRoute::new(key.route(), ["ledger.credited".to_owned()]);
        let route = route.from(StartFrom::Beginning);
        let store = outbox.store(db.inner().clone());
        store.record_handlers(&[route]).await.unwrap();
        let swapped = build(&db, key, views).await;
        assert_eq!(swapped.status, ProjectionStatus::Live);
        assert_eq!(swapped.released, 1, "the event that the build has raised");
        db.show_projection(key, views).await.unwrap();
    }
    for view in views {
        let select = format!("SELECT * FROM {view}");
        db.execute_unprepared(&select).await.unwrap();
    }
    assert!(db.is_unserved(&keys[1]).await.unwrap());
    let reason = "a bad event";
    let stopped = db.note_projection_failure(&keys[1], Some(EventId::new()), reason, true);
    assert!(stopped.await.unwrap().is_some());
    assert!(projections.retire_unserved(&keys[0]).await.unwrap());
    projections.retire(&keys[0]).await.unwrap();
    projections.forget(&keys[0]).await.unwrap();
}

/// One build: a page, what it raises, its checkpoints, and the swap.
async fn build(db: &OutboxConnection, key: &ProjectionKey, views: &[&str]) -> Swapped {
    let recorded = db.record_projection(key, ProjectionStatus::Building).await;
    recorded.unwrap();
    db.begin_build(key, &Selection::All).await.unwrap();
    db.order_events().await.unwrap();
    assert_eq!(db.projection_route(key).await.unwrap(), Some(false));
    let missing = db.missing_projection_table(key, views).await.unwrap();
    assert_eq!(missing, None);
    let tx = db.begin().await.unwrap();
    let wait = Duration::from_secs(1);
    let row = tx.lock_projection_within(key, wait).await;
    assert!(row.unwrap().is_some());
    let page = tx.build_page(&Selection::All, &Cursor::START, 100);
    let page = page.await.unwrap();
    let ids: Vec<_> = page
        .events
        .iter()
        .map(|one| one.envelope.event_id)
        .collect();
    assert_eq!(tx.stored_among(&ids).await.unwrap().len(), ids.len());
    assert!(tx.skipped_among(key, &ids).await.unwrap().is_empty());
    let of = || ("ledger".to_owned(), "A".to_owned());
    let (aggregate_type, aggregate_id) = of();
    let gap = Gap {
        aggregate_type,
        aggregate_id,
        after: 0,
        before: 3,
    };
    assert_eq!(tx.events_in(&[gap], None, 10).await.unwrap().len(), 2);
    tx.note_events();
    tx.scope(async { raise(AccountOpened {}) }).await.unwrap();
    // The second writes into a row that is there.
    for sequence in [31, 32] {
        let (aggregate_type, aggregate_id) = of();
        let checkpoint = Checkpoint {
            aggregate_type,
            aggregate_id,
            sequence,
        };
        let written = tx.write_checkpoints(key, vec![checkpoint]).await;
        written.unwrap();
    }
    assert_eq!(
        tx.checkpoints(key, [("ledger", "A")]).await.unwrap().len(),
        1
    );
    assert_eq!(tx.hold_effects(key).await.unwrap(), 1);
    let built = Built {
        place: page.next,
        read: ids.len() as u64,
        worked: Duration::from_millis(1),
        builder: Uuid::now_v7(),
        lease: Duration::from_secs(1),
    };
    tx.note_built(key, &built).await.unwrap();
    tx.forget_failures(key).await.unwrap();
    assert!(tx.has_stored(key).await.unwrap());
    assert!(tx.is_routed(key).await.unwrap());
    let swapped = tx.swap_projection(key, views).await.unwrap();
    tx.commit().await.unwrap();
    assert!(db.checkpoints_ahead(key, 1).await.unwrap().is_empty());
    swapped
}

/// The commands of an operator, on the version that [`project`] has left behind, which has stopped.
pub(crate) async fn operate(outbox: &Outbox, db: DatabaseConnection) {
    let projections = Projections::new(outbox.store(db));
    let key = ProjectionKey::new("balances", 2);
    let states = projections.list().await.unwrap();
    let stop = states[0].stop.as_ref().expect("it has stopped");
    let event = stop.event_id.unwrap();
    let skipped = projections.skip(&key, event, "a test", Some("alice")).await;
    skipped.unwrap();
    assert!(projections.pause(&key, "a test", None).await.unwrap());
    assert!(projections.resume(&key).await.unwrap());
    let live = projections.build(&key).await.unwrap_err().to_string();
    assert!(live.contains("is live"), "{live}");
}
