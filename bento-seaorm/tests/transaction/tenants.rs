//! A tenant policy is asked before a transaction begins, and several lanes need the tenant of an
//! aggregate.

use bento_core::Metadata;
use bento_core::outbox::Sharding;
use bento_core::unit_of_work::{FlushError, TenantOfAggregate};
use bento_relay::tenant::{Refusal, TenantAction, TenantRequest};
use bento_seaorm::{Error, OutboxConnection, TransactionError, bento_error};
use sea_orm::{DbErr, TransactionTrait};

use crate::shop::{self, Order, is_untouched};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_refused_transaction_does_not_begin,
    the_policy_is_asked_for_the_tenant_of_the_scope,
    with_several_lanes_an_aggregate_keeps_its_tenant
);

async fn guarded(database: &TestDatabase) -> OutboxConnection {
    shop::open(database).await;
    let alice_for_acme =
        |request: &TenantRequest| match (request.actor.as_deref(), request.tenant.as_deref()) {
            (Some("alice"), Some("acme")) => Ok(()),
            _ => Err(Refusal::new("not hers")),
        };
    OutboxConnection::builder(database.db.clone())
        .tenant_policy(alice_for_acme)
        .build()
}

async fn place(db: &OutboxConnection) -> Result<(), TransactionError<DbErr>> {
    db.transaction_async(async |tx| Order::place(1).insert(tx).await)
        .await
}

async fn a_refused_transaction_does_not_begin(database: &TestDatabase) {
    let db = guarded(database).await;
    let bob = Metadata::default().with_actor("bob").with_tenant("acme");
    let refused = bob.scope(place(&db)).await.unwrap_err();
    let TransactionError::Connection(Error::Refused(refused)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        refused.request,
        TenantRequest::new(Some("bob"), Some("acme"), TenantAction::Write)
    );
    assert_eq!(
        refused.to_string(),
        "`bob` may not write for tenant `acme`: not hers"
    );
    assert!(is_untouched(database).await);

    assert!(
        matches!(db.begin().await, Err(Error::Refused(_))),
        "nobody in particular"
    );
    let through_seaorm = TransactionTrait::begin(&db).await.unwrap_err();
    assert!(
        matches!(bento_error(&through_seaorm), Some(Error::Refused(_))),
        "{through_seaorm:?}"
    );
}

async fn the_policy_is_asked_for_the_tenant_of_the_scope(database: &TestDatabase) {
    let db = guarded(database).await;
    let alice = Metadata::default().with_actor("alice").with_tenant("acme");
    alice.clone().scope(place(&db)).await.unwrap();
    assert_eq!(
        database.outbox().await[0].tenant_id.as_deref(),
        Some("acme")
    );
    let elsewhere = alice.with_tenant("evil").scope(place(&db)).await;
    assert!(
        matches!(
            elsewhere,
            Err(TransactionError::Connection(Error::Refused(_)))
        ),
        "{elsewhere:?}"
    );
}

/// The rule that kept a transaction from its commit.
fn rule_of(refused: &TransactionError<DbErr>) -> &TenantOfAggregate {
    match refused {
        TransactionError::Connection(Error::Flush(FlushError::TenantOfAggregate {
            rule, ..
        })) => rule,
        other => panic!("{other:?}"),
    }
}

async fn with_several_lanes_an_aggregate_keeps_its_tenant(database: &TestDatabase) {
    shop::open(database).await;
    let sharding = Sharding {
        lanes: 4.try_into().unwrap(),
        ..Sharding::default()
    };
    let db = OutboxConnection::builder(database.db.clone())
        .sharding(sharding)
        .build();
    let refused = place(&db).await.unwrap_err();
    assert!(
        matches!(rule_of(&refused), TenantOfAggregate::Missing { .. }),
        "{refused}"
    );
    assert!(
        is_untouched(database).await,
        "the row is rolled back with its event"
    );
    Metadata::default()
        .with_tenant("acme")
        .scope(place(&db))
        .await
        .unwrap();
    assert_eq!(
        database.outbox().await[0].tenant_id.as_deref(),
        Some("acme")
    );
}
