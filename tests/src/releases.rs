//! The names and times that the processes of several releases share with the test that starts
//! them.

use std::time::Duration;

/// The handler that every release has.
pub const STOCK: &str = "release.stock";

/// The handler that only the newer release has.
pub const MAIL: &str = "release.mail";

/// The duration of a lease.
pub const LEASE: Duration = Duration::from_secs(1);

/// The time that a call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);
