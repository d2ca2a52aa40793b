//! Tenants: the policy for their actors, and the tenants whose delivery is paused.

mod pauses;
mod policy;

pub use self::pauses::{PausedTenant, Pauses};
pub use self::policy::{AllowAll, Refusal, Refused, TenantAction, TenantPolicy, TenantRequest};
