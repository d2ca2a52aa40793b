//! Tenants: whose delivery is paused.

mod pauses;

pub use self::pauses::{PausedTenant, Pauses};
