//! The outbox of a database behaves as the relay's seam says, on each back end.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "store/harness.rs"]
mod harness;
mod support;

use sea_orm::DbBackend;

use self::harness::Harness;

bento_testkit::relay_store_conformance!(sqlite, Harness::on(DbBackend::Sqlite));
bento_testkit::relay_store_conformance!(postgres, Harness::on(DbBackend::Postgres));
bento_testkit::relay_store_conformance!(mysql, Harness::on(DbBackend::MySql));

/// Every statement names the schema.
mod in_schema {
    use super::*;

    bento_testkit::relay_store_conformance!(postgres, Harness::in_schema(DbBackend::Postgres));
    bento_testkit::relay_store_conformance!(mysql, Harness::in_schema(DbBackend::MySql));
}

/// The inbox is an outbox under other names; a sequence of positions is PostgreSQL's alone.
mod in_inbox {
    use super::*;

    bento_testkit::relay_store_conformance!(sqlite, Harness::in_inbox(DbBackend::Sqlite));
    bento_testkit::relay_store_conformance!(postgres, Harness::in_inbox(DbBackend::Postgres));
}
