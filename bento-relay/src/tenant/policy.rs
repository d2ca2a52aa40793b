//! The policy for actions on tenants.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bento_core::metadata::Metadata;

/// A request of an actor for a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TenantRequest {
    /// The actor: that of the ambient [`Metadata`], or the name of the operator; `None` if unknown.
    pub actor: Option<String>,
    /// The tenant; `None` for all tenants at once, and for events without one.
    pub tenant: Option<String>,
    /// The action.
    pub action: TenantAction,
}

/// The actions that a policy decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TenantAction {
    /// Begin a transaction that writes events.
    Write,
    /// List dead letters, discarded ones, paused tenants and handlers.
    List,
    /// Change the headers of dead letters.
    Amend,
    /// Make dead letters due again.
    Replay,
    /// Delete dead letters for good.
    Discard,
    /// Stop the delivery of a tenant's events.
    Pause,
    /// Resume the delivery of a tenant's events.
    Resume,
    /// End the wait of held events, so that they are tried now.
    RetryNow,
    /// Stop the calls of a handler, for all tenants.
    PauseHandler,
    /// Resume the calls of a handler, for all tenants.
    ResumeHandler,
    /// Remove the record of a handler, for all tenants.
    RetireHandler,
    /// Let a handler handle an event once more.
    HandleAgain,
    /// Read the stored events of an aggregate.
    ReadEvents,
}

impl TenantRequest {
    /// A request.
    pub fn new(actor: Option<&str>, tenant: Option<&str>, action: TenantAction) -> Self {
        Self {
            actor: actor.map(str::to_owned),
            tenant: tenant.map(str::to_owned),
            action,
        }
    }

    /// The request of the actor of the ambient [`Metadata`] for its tenant.
    pub fn ambient(action: TenantAction) -> Self {
        let metadata = Metadata::current();
        Self::new(
            metadata.actor.as_deref(),
            metadata.tenant_id.as_deref(),
            action,
        )
    }
}

/// Decides which actor may do what for which tenant.
///
/// The policy is asked before a transaction begins and before an operator lists, amends, replays,
/// discards, pauses, resumes, ends the wait of held events or reads stored ones. A refused action
/// is not begun. The answer must come at once: load the data for the decision beforehand.
///
/// ```
/// use bento_relay::tenant::{Refusal, TenantAction, TenantPolicy, TenantRequest};
///
/// let own_tenant_only = |request: &TenantRequest| match (&request.actor, &request.tenant) {
///     (Some(actor), Some(tenant)) if actor.ends_with(&format!("@{tenant}")) => Ok(()),
///     _ => Err(Refusal::new("the actor is of another tenant")),
/// };
/// let ask = |tenant| TenantRequest::new(Some("alice@acme"), tenant, TenantAction::Replay);
/// assert!(own_tenant_only.ask(ask(Some("acme"))).is_ok());
/// let refused = own_tenant_only.ask(ask(None)).unwrap_err();
/// let expected = "`alice@acme` may not replay for all tenants: the actor is of another tenant";
/// assert_eq!(refused.to_string(), expected);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tenant policy",
    label = "this cannot decide who may do what",
    note = "implement `TenantPolicy`, or give a closure `|request: &TenantRequest| -> Result<(), \
            Refusal>`"
)]
pub trait TenantPolicy: Send + Sync + 'static {
    /// Decides about a request.
    ///
    /// # Errors
    /// [`Refusal`] with the reason.
    fn check(&self, request: &TenantRequest) -> Result<(), Refusal>;

    /// Decides, and returns the request together with the refusal.
    ///
    /// # Errors
    /// [`Refused`].
    fn ask(&self, request: TenantRequest) -> Result<(), Refused> {
        self.check(&request)
            .map_err(|refusal| Refused { request, refusal })
    }
}

impl<F> TenantPolicy for F
where
    F: Fn(&TenantRequest) -> Result<(), Refusal> + Send + Sync + 'static,
{
    fn check(&self, request: &TenantRequest) -> Result<(), Refusal> {
        self(request)
    }
}

impl TenantPolicy for Arc<dyn TenantPolicy> {
    fn check(&self, request: &TenantRequest) -> Result<(), Refusal> {
        (**self).check(request)
    }
}

impl fmt::Debug for dyn TenantPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantPolicy")
    }
}

/// The policy that allows every request.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl TenantPolicy for AllowAll {
    fn check(&self, _request: &TenantRequest) -> Result<(), Refusal> {
        Ok(())
    }
}

/// The reason why a policy refused a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    reason: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a reason that the actor may read.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// The error of a request that a policy refused. Nothing was begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{request}: {refusal}")]
pub struct Refused {
    /// The request.
    pub request: TenantRequest,
    /// The reason.
    pub refusal: Refusal,
}

impl fmt::Display for TenantRequest {
    /// Writes the request as part of a refusal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.actor {
            Some(actor) => write!(f, "`{actor}` may not ")?,
            None => f.write_str("an unnamed actor may not ")?,
        }
        f.write_str(self.action.as_str())?;
        match &self.tenant {
            Some(tenant) => write!(f, " for tenant `{tenant}`"),
            None => f.write_str(" for all tenants"),
        }
    }
}

impl TenantAction {
    /// The name in messages and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::List => "list",
            Self::Amend => "amend",
            Self::Replay => "replay",
            Self::Discard => "discard",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::RetryNow => "retry held events",
            Self::PauseHandler => "pause handlers",
            Self::ResumeHandler => "resume handlers",
            Self::RetireHandler => "retire handlers",
            Self::HandleAgain => "have events handled again",
            Self::ReadEvents => "read stored events",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_what_and_for_whom() {
        let nobody = |_: &TenantRequest| Err(Refusal::new("closed"));
        let metadata = Metadata::default().with_actor("alice").with_tenant("acme");
        let request = metadata.scope_sync(|| TenantRequest::ambient(TenantAction::Write));
        let refused = nobody.ask(request.clone()).expect_err("nobody may");
        assert_eq!(
            (&refused.request, refused.refusal.reason()),
            (&request, "closed")
        );
        assert_eq!(
            refused.to_string(),
            "`alice` may not write for tenant `acme`: closed"
        );
        let unknown = nobody
            .ask(TenantRequest::ambient(TenantAction::Pause))
            .expect_err("nobody may");
        assert_eq!(
            unknown.to_string(),
            "an unnamed actor may not pause for all tenants: closed"
        );
        assert_eq!(AllowAll.check(&request), Ok(()));
    }
}
