//! Migrations of outboxes in schemas.

use bento_seaorm::migration::{PrefixedMigrator, migrations, up_alone};
use bento_seaorm::{Error, TablePrefix, Tables, migrate, migrate_with, validate_stored_with};
use sea_orm::ConnectionTrait;
use sea_orm_migration::MigratorTraitSelf;

use crate::service::{Service, Spliced};
use crate::support::TestDatabase;

on_both_servers!(
    a_schema_is_migrated_once_however_many_processes_start,
    tables_migrated_without_a_schema_are_known_when_it_is_named,
    schemas_splice_into_one_migrator,
);

async fn a_schema_is_migrated_once_however_many_processes_start(database: &TestDatabase) {
    let prefix = TablePrefix::default()
        .in_schema(database.create_schema("billing").await)
        .unwrap();
    let pools = futures_util::future::join_all((0..6).map(|_| database.connect(1))).await;
    for _ in 0..2 {
        let all = pools.iter().map(|db| migrate_with(db, prefix.clone()));
        for migrated in futures_util::future::join_all(all).await {
            migrated.unwrap();
        }
    }
    let service = Service::of(database.db.clone(), prefix.clone());
    assert_eq!(
        service.number("SELECT count(*)", "bento_migration").await,
        migrations().len() as i64
    );
    // The tables without a schema are others.
    migrate(&database.db).await.unwrap();
    let dropped = Tables::new(prefix.clone()).on(database.backend());
    database
        .db
        .execute_unprepared(&format!("DROP TABLE {}", dropped.paused_tenant()))
        .await
        .unwrap();
    migrate_with(&database.db, prefix).await.unwrap();
    service.place(1).await;
    assert_eq!(service.publish().await.len(), 1);

    let newer = service.number("SELECT count(*)", "bento_migration").await;
    let record = dropped.outbox().replace("bento_outbox", "bento_migration");
    let insert = format!(
        "INSERT INTO {record} (version, applied_at) VALUES ('m2030_of_a_newer_version', 0)"
    );
    database.db.execute_unprepared(&insert).await.unwrap();
    let refused = migrate_with(&database.db, service.prefix.clone())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        newer == migrations().len() as i64 && refused.contains("`m2030_of_a_newer_version`"),
        "{refused}"
    );
}

async fn tables_migrated_without_a_schema_are_known_when_it_is_named(database: &TestDatabase) {
    let schema = database.create_schema("billing").await;
    let prefix = TablePrefix::default().in_schema(&schema).unwrap();
    let led = database.connect_to_schema(&schema).await;
    migrate(&led).await.unwrap();
    let service = Service::of(database.db.clone(), prefix.clone());
    service.place(1).await;
    for _ in 0..2 {
        migrate_with(&database.db, prefix.clone()).await.unwrap();
        migrate(&led).await.unwrap();
    }
    assert_eq!(
        service.number("SELECT count(*)", "bento_migration").await,
        migrations().len() as i64
    );
    assert_eq!(service.publish().await.len(), 1);
    led.close().await.unwrap();

    let other = database.create_schema("Sales").await;
    let prefix = TablePrefix::default().in_schema(&other).unwrap();
    let led = database.connect_to_schema(&other).await;
    MigratorTraitSelf::up(&PrefixedMigrator(prefix.clone()), &led, None)
        .await
        .unwrap();
    migrate_with(&database.db, prefix.clone()).await.unwrap();
    let service = Service::of(database.db.clone(), prefix);
    assert_eq!(
        service.number("SELECT count(*)", "bento_migration").await,
        migrations().len() as i64
    );
    service.place(1).await;
    led.close().await.unwrap();
}

async fn schemas_splice_into_one_migrator(database: &TestDatabase) {
    let of = async |name| {
        TablePrefix::default()
            .in_schema(database.create_schema(name).await)
            .unwrap()
    };
    let (billing, sales) = (of("billing").await, of("Sales").await);
    let migrator = Spliced(billing.clone(), sales.clone());
    migrator.up(&database.db, None).await.unwrap();
    up_alone(&database.db, Spliced(billing.clone(), sales.clone()))
        .await
        .unwrap();
    for prefix in [billing.clone(), sales.clone()] {
        let service = Service::of(database.db.clone(), prefix);
        service.place(1).await;
        assert_eq!(service.publish().await.len(), 1);
    }
    // Every table of the last one goes, and the other is left alone.
    let steps = u32::try_from(migrations().len()).unwrap();
    migrator.down(&database.db, Some(steps)).await.unwrap();
    let gone = validate_stored_with(&database.db, sales).await.unwrap_err();
    assert!(matches!(gone, Error::NotMigrated { .. }), "{gone:?}");
    assert!(
        validate_stored_with(&database.db, billing)
            .await
            .unwrap()
            .is_complete()
    );
}
