//! Projections: read models that are equal to what the stored events say, on every back end.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "projections/building.rs"]
mod building;
#[path = "projections/declared.rs"]
mod declared;
#[path = "projections/following.rs"]
mod following;
#[path = "projections/late.rs"]
mod late;
#[path = "projections/pooled.rs"]
mod pooled;
#[path = "projections/raising.rs"]
mod raising;
#[path = "projections/received.rs"]
mod received;
#[path = "projections/scene.rs"]
mod scene;
#[path = "projections/serving.rs"]
mod serving;
#[path = "projections/slow.rs"]
mod slow;
#[path = "projections/stopping.rs"]
mod stopping;
