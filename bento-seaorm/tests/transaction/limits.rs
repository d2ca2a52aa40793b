//! The limits of columns: the commit refuses values that a table cannot hold later, the same on
//! every back end.

use bento_core::limits::Unstorable;
use bento_core::unit_of_work::FlushError;
use bento_core::{Metadata, raise_with};
use bento_seaorm::{Error, OutboxConnection, TransactionError};
use chrono::{DateTime, Utc};
use sea_orm::DbErr;

use crate::shop::{self, Order, ShopOpened, is_untouched};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    what_a_table_could_not_hold_is_refused,
    a_header_that_a_broker_could_not_carry_is_refused
);

type Change = fn(Metadata) -> Metadata;

async fn what_a_table_could_not_hold_is_refused(database: &TestDatabase) {
    shop::create_tables(&database.db).await;
    let db = OutboxConnection::new(database.db.clone());
    let changes: [(&str, Change); 7] = [
        ("tenant_id", |metadata| {
            metadata.with_tenant("ä".repeat(4_000))
        }),
        ("topic", |metadata| metadata.with_topic("no\0such")),
        ("routing_key", |metadata| {
            metadata.with_routing_key("ä".repeat(256))
        }),
        ("destinations", |metadata| {
            metadata.with_destinations(["no\0such"])
        }),
        ("destinations", |metadata| {
            metadata.with_destinations(["d".repeat(3_000)])
        }),
        ("occurred_at", |metadata| {
            metadata.with_occurred_at(DateTime::<Utc>::MAX_UTC)
        }),
        ("occurred_at", |metadata| {
            metadata.with_occurred_at(DateTime::<Utc>::MIN_UTC)
        }),
    ];
    for (expected, change) in changes {
        let work = async |tx: &bento_seaorm::OutboxTransaction| {
            Order::place(1).insert(tx).await?;
            raise_with(
                ShopOpened {
                    name: "corner".into(),
                },
                change,
            )
            .map_err(|error| DbErr::Custom(error.to_string()))
        };
        let refused = db.transaction_async(work).await.unwrap_err();
        let TransactionError::Connection(Error::Flush(FlushError::Unstorable { rule, .. })) =
            &refused
        else {
            panic!("{expected}: {refused:?}")
        };
        let (Unstorable::TooLong { column, .. }
        | Unstorable::Nul { column, .. }
        | Unstorable::OutOfTime { column, .. }) = rule
        else {
            panic!("{expected}: {rule:?}")
        };
        assert_eq!(*column, expected);
        assert!(is_untouched(database).await, "{expected}");
    }
    let long = db
        .transaction_async(async |tx| tx.enqueue("audit", &"k".repeat(4_000), "{}"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            long,
            TransactionError::Connection(Error::Flush(FlushError::Unstorable { .. }))
        ),
        "{long:?}"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM bento_outbox").await,
        0
    );
}

async fn a_header_that_a_broker_could_not_carry_is_refused(database: &TestDatabase) {
    shop::create_tables(&database.db).await;
    let db = OutboxConnection::new(database.db.clone());
    let raise = async |name: &str, value: &str| {
        let work = async |tx: &bento_seaorm::OutboxTransaction| {
            Order::place(1).insert(tx).await?;
            raise_with(
                ShopOpened {
                    name: "corner".into(),
                },
                |metadata| metadata.with_header(name, value),
            )
            .map_err(|error| DbErr::Custom(error.to_string()))
        };
        db.transaction_async(work).await
    };
    for (name, value) in [
        ("x-note", "line\nbreak"),
        ("Content-Type", "text/plain"),
        ("authorization", "Bearer token"),
    ] {
        let refused = raise(name, value).await.unwrap_err();
        let TransactionError::Connection(Error::Flush(FlushError::Unsendable { header, .. })) =
            &refused
        else {
            panic!("{name}: {refused:?}")
        };
        assert_eq!(header.name, name);
        assert!(is_untouched(database).await, "{name}");
    }
    raise("x-user-name", "Zoë").await.unwrap();
}
