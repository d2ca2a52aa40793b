//! Errors about a schema or a table that is missing.

use bento_relay::store::RelayStore;
use bento_seaorm::migration::up_alone;
use bento_seaorm::{
    Error, OutboxConnection, OutboxStore, TablePrefix, bento_error, migrate, migrate_with,
    validate_stored, validate_stored_with,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use sea_orm_migration::MigratorTraitSelf;

use crate::service::{Service, Spliced, refusal_of_a_flush};
use crate::support::{TestDatabase, connect, in_database};

on_both_servers!(
    a_missing_schema_is_named_with_the_statement_to_create_it,
    a_session_without_a_schema_needs_the_tables_to_name_one,
    a_missing_table_is_named_with_the_place_that_was_searched,
);

async fn a_missing_schema_is_named_with_the_statement_to_create_it(database: &TestDatabase) {
    let missing = format!("{}-Gone", database.name());
    let prefix = TablePrefix::default().in_schema(&missing).unwrap();
    let create = match database.backend() {
        DbBackend::Postgres => format!("CREATE SCHEMA \"{missing}\""),
        _ => format!("CREATE DATABASE `{missing}`"),
    };
    let migrator = || Spliced(prefix.clone(), TablePrefix::default());
    let by_seaorm = migrator().up(&database.db, None).await.unwrap_err();
    assert!(
        matches!(bento_error(&by_seaorm), Some(Error::NoSchema { .. })),
        "{by_seaorm:?}"
    );
    let refused = [
        migrate_with(&database.db, prefix.clone())
            .await
            .unwrap_err(),
        up_alone(&database.db, migrator()).await.unwrap_err(),
    ];
    for error in refused {
        assert!(
            matches!(&error, Error::NoSchema { schema: Some(schema), .. } if *schema == missing),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(&format!("`{missing}`")) && text.contains(&create),
            "{text}"
        );
    }
    database.db.execute_unprepared(&create).await.unwrap();
    migrate_with(&database.db, prefix.clone()).await.unwrap();
    Service::of(database.db.clone(), prefix).place(1).await;
}

/// A pool of connections that look into no schema.
async fn without_a_schema(database: &TestDatabase) -> DatabaseConnection {
    match database.backend() {
        DbBackend::Postgres => {
            connect(
                &format!("{}?options=-csearch_path%3Dnowhere", database.url()),
                2,
            )
            .await
        }
        _ => connect(database.url().rsplit_once('/').unwrap().0, 2).await,
    }
}

async fn a_session_without_a_schema_needs_the_tables_to_name_one(database: &TestDatabase) {
    let db = without_a_schema(database).await;
    let refused = migrate(&db).await.unwrap_err();
    assert!(
        matches!(refused, Error::NoSchema { schema: None, .. }),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("`TablePrefix::in_schema`"),
        "{refused}"
    );
    let prefix = TablePrefix::default()
        .in_schema(database.create_schema("billing").await)
        .unwrap();
    migrate_with(&db, prefix.clone()).await.unwrap();
    let service = Service::of(db.clone(), prefix);
    service.place(30).await;
    assert_eq!(service.publish().await.len(), 30);
    db.close().await.unwrap();
}

async fn a_missing_table_is_named_with_the_place_that_was_searched(database: &TestDatabase) {
    let db = &database.db;
    let name = database.name();
    let is_postgres = database.is(DbBackend::Postgres);
    let place = if is_postgres {
        "in the `search_path`".to_owned()
    } else {
        format!("in database `{name}`")
    };
    let begins = format!("table `bento_outbox_meta` is missing {place}");
    let flushed = refusal_of_a_flush(&OutboxConnection::new(db.clone()))
        .await
        .to_string();
    assert!(
        flushed.starts_with(&begins) && flushed.contains("bento::migrate(&db)"),
        "{flushed}"
    );
    for way_out in ["`TablePrefix::in_schema`", "`SHOW search_path`"] {
        assert_eq!(flushed.contains(way_out), is_postgres, "{flushed}");
    }
    let opened = OutboxStore::new(db.clone())
        .open()
        .await
        .unwrap_err()
        .to_string();
    assert!(opened.starts_with(&begins), "{opened}");
    if is_postgres {
        let path = format!("`\"$user\", public` in database `{name}`");
        assert!(
            opened.contains(&path),
            "the relay tells the path of its sessions: {opened}"
        );
    }
    let validated = validate_stored(db).await.unwrap_err().to_string();
    assert!(validated.contains(&place), "{validated}");

    let schema = database.create_schema("empty").await;
    let prefix = TablePrefix::default().in_schema(&schema).unwrap();
    let place = format!(
        " is missing in {} `{schema}`; run",
        if is_postgres { "schema" } else { "database" }
    );
    let service = Service::of(db.clone(), prefix.clone());
    let flushed = refusal_of_a_flush(&service.db).await.to_string();
    assert!(
        flushed.starts_with(&format!("table `bento_outbox_meta`{place}")),
        "{flushed}"
    );
    let opened = service.store.open().await.unwrap_err().to_string();
    assert!(opened.contains(&place), "{opened}");
    let validated = validate_stored_with(db, prefix)
        .await
        .unwrap_err()
        .to_string();
    assert!(validated.contains(&place), "{validated}");
}

#[tokio::test]
async fn sqlite_refuses_a_schema_and_says_what_to_use_for_it() {
    in_database(DbBackend::Sqlite, async |database| {
        let prefix = TablePrefix::default().in_schema("billing").unwrap();
        let service = Service::of(database.db.clone(), prefix.clone());
        let refused = [
            migrate_with(&database.db, prefix.clone())
                .await
                .unwrap_err(),
            up_alone(
                &database.db,
                Spliced(TablePrefix::default(), prefix.clone()),
            )
            .await
            .unwrap_err(),
            validate_stored_with(&database.db, prefix)
                .await
                .unwrap_err(),
            refusal_of_a_flush(&service.db).await,
        ];
        for error in refused {
            assert!(
                matches!(&error, Error::NoSchemas { schema, .. } if schema == "billing"),
                "{error:?}"
            );
            assert!(
                error
                    .to_string()
                    .contains("TablePrefix::new(\"billing_bento_\")"),
                "{error}"
            );
        }
        let opened = bento_core::report::with_causes(&service.store.open().await.unwrap_err());
        assert!(
            opened.contains("TablePrefix::new(\"billing_bento_\")"),
            "{opened}"
        );
    })
    .await;
}
