//! The webhook publisher behaves as publishers do, on a receiver of the test's own. The receiver of
//! webhooks takes what it sends.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../support/certificates.rs"]
mod certificates;
mod harness;
mod own;
mod receiver;
#[path = "../support/mod.rs"]
mod support;
mod taking;
#[path = "../support/tls_server.rs"]
mod tls_server;

use self::harness::Hook;

bento_testkit::publisher_conformance!(http, Hook::new());
