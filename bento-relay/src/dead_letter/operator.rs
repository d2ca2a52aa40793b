//! Commands for dead letters, held events, tenants, handlers and stored events on behalf of an
//! actor; a policy is asked first.

mod events;

use bento_core::envelope::Envelope;
use bento_core::id::EventId;

use super::{
    Amendment, BlankReason, DeadLetter, DeadLetterFilter, DeadLetterQuery, DeadLetters,
    DiscardedDeadLetter, Discarding, ReplayMode, ReplayReport, Replayed,
};
use crate::event_store::EventStoreError;
use crate::handler_control::{HandledAgain, HandlerControl, HandlerState};
use crate::held::{HeldEvents, HeldFilter};
use crate::store::{Leftovers, StoreError};
use crate::tenant::{
    AllowAll, PausedTenant, Pauses, Refused, TenantAction, TenantPolicy, TenantRequest,
};

/// A store, of an outbox or of events, used by one person or system within the limits of a
/// [`TenantPolicy`].
///
/// A request for one tenant needs the right to that tenant. A filter without a tenant needs the
/// right to all of them; the policy is asked for tenant `None`.
///
/// ```
/// # use bento_relay::dead_letter::{DeadLetterFilter, Operator, OperatorError, ReplayMode};
/// # use bento_relay::MemoryStore;
/// # use bento_relay::tenant::{Refusal, TenantRequest};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), OperatorError> {
/// # let store = MemoryStore::default();
/// let acme_only = |request: &TenantRequest| match request.tenant.as_deref() {
///     Some("acme") => Ok(()),
///     _ => Err(Refusal::new("she looks after acme")),
/// };
/// let alice = Operator::new(&store, "alice").with_policy(acme_only);
/// let (acme, all) = (DeadLetterFilter::default().tenant("acme"), DeadLetterFilter::default());
/// alice.replay_all(&acme, ReplayMode::Replay).await?;
/// let refused = alice.replay_all(&all, ReplayMode::Replay).await;
/// assert!(matches!(refused, Err(OperatorError::Refused(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Operator<'a, S, P = AllowAll> {
    store: &'a S,
    actor: String,
    policy: P,
}

/// The error of an operator's command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The policy refused the request. Nothing was done.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The reason is blank. Nothing was done.
    #[error(transparent)]
    BlankReason(#[from] BlankReason),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store of events failed.
    #[error(transparent)]
    EventStore(#[from] EventStoreError),
}

impl<'a, S> Operator<'a, S> {
    /// An operator named `actor`, with the right to do everything.
    pub fn new(store: &'a S, actor: impl Into<String>) -> Self {
        Self {
            store,
            actor: actor.into(),
            policy: AllowAll,
        }
    }

    /// Sets the policy to ask first.
    pub fn with_policy<P: TenantPolicy>(self, policy: P) -> Operator<'a, S, P> {
        Operator {
            store: self.store,
            actor: self.actor,
            policy,
        }
    }
}

impl<S, P: TenantPolicy> Operator<'_, S, P> {
    /// The name of the operator.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    fn ask(&self, action: TenantAction, tenant: Option<&str>) -> Result<(), Refused> {
        self.policy
            .ask(TenantRequest::new(Some(&self.actor), tenant, action))
    }

    fn because(&self, reason: &str) -> Result<Discarding, BlankReason> {
        Ok(Discarding::because(reason)?.by(&*self.actor))
    }
}

impl<S: DeadLetters, P: TenantPolicy> Operator<'_, S, P> {
    /// Lists dead letters, see [`DeadLetters::list`].
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    pub async fn list(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, OperatorError> {
        self.ask(TenantAction::List, query.filter.tenant_id.as_deref())?;
        Ok(self.store.list(query).await?)
    }

    /// Lists discarded dead letters, see [`DeadLetters::discarded`].
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    pub async fn discarded(
        &self,
        query: &DeadLetterQuery,
    ) -> Result<Vec<DiscardedDeadLetter>, OperatorError> {
        self.ask(TenantAction::List, query.filter.tenant_id.as_deref())?;
        Ok(self.store.discarded(query).await?)
    }

    /// Changes the headers of a dead letter, see [`DeadLetters::amend`]. The policy is asked for
    /// the tenant of the event, or for all tenants if the dead letter does not exist.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn amend(
        &self,
        event_id: EventId,
        route: &str,
        amendment: &Amendment,
    ) -> Result<(), OperatorError> {
        self.ask_for_letter(TenantAction::Amend, event_id, route)
            .await?;
        Ok(self.store.amend(event_id, route, amendment).await?)
    }

    /// Replays a dead letter, see [`DeadLetters::replay`]. The policy is asked for the tenant of
    /// the event, or for all tenants if the dead letter does not exist.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn replay(&self, event_id: EventId, route: &str) -> Result<Replayed, OperatorError> {
        self.ask_for_letter(TenantAction::Replay, event_id, route)
            .await?;
        Ok(self.store.replay(event_id, route).await?)
    }

    /// Replays all matching dead letters, or reports the problems of a replay, see
    /// [`DeadLetters::replay_all`].
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// Some of the dead letters may be done. Calling it again goes on with the others.
    pub async fn replay_all(
        &self,
        filter: &DeadLetterFilter,
        mode: ReplayMode,
    ) -> Result<ReplayReport, OperatorError> {
        let action = match mode {
            ReplayMode::DryRun => TenantAction::List,
            ReplayMode::Replay => TenantAction::Replay,
        };
        self.ask(action, filter.tenant_id.as_deref())?;
        Ok(self.store.replay_all(filter, mode).await?)
    }

    /// Deletes a dead letter for good, see [`DeadLetters::discard`]. The policy is asked for the
    /// tenant of the event, or for all tenants if the dead letter does not exist; the name of the
    /// operator is stored with the reason.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn discard(
        &self,
        event_id: EventId,
        route: &str,
        reason: &str,
    ) -> Result<bool, OperatorError> {
        let discarding = self.because(reason)?;
        self.ask_for_letter(TenantAction::Discard, event_id, route)
            .await?;
        Ok(self.store.discard(event_id, route, &discarding).await?)
    }

    /// Deletes all matching dead letters for good, see [`DeadLetters::discard_all`]. Returns their
    /// number.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// Some of the dead letters may be done. Calling it again goes on with the others.
    pub async fn discard_all(
        &self,
        filter: &DeadLetterFilter,
        reason: &str,
    ) -> Result<u64, OperatorError> {
        let discarding = self.because(reason)?;
        self.ask(TenantAction::Discard, filter.tenant_id.as_deref())?;
        Ok(self.store.discard_all(filter, &discarding).await?)
    }

    /// Asks the policy for the tenant of a dead letter. A missing dead letter may have been of any
    /// tenant, so the policy is asked for all of them: an actor without that right does not learn
    /// that the dead letter is missing.
    async fn ask_for_letter(
        &self,
        action: TenantAction,
        event_id: EventId,
        route: &str,
    ) -> Result<(), OperatorError> {
        let dead_letter = self.store.find(event_id, route).await?;
        Ok(self.ask(
            action,
            dead_letter
                .as_ref()
                .and_then(|dead_letter| dead_letter.envelope.tenant_id.as_deref()),
        )?)
    }
}

impl<S: Pauses, P: TenantPolicy> Operator<'_, S, P> {
    /// Stops the delivery of a tenant's events, see [`Pauses::pause`]; the name of the operator is
    /// stored with the reason.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn pause(&self, tenant_id: &str, reason: &str) -> Result<bool, OperatorError> {
        let because = self.because(reason)?;
        self.ask(TenantAction::Pause, Some(tenant_id))?;
        Ok(self
            .store
            .pause(tenant_id, because.reason(), because.actor())
            .await?)
    }

    /// Resumes the delivery of a tenant's events, see [`Pauses::resume`].
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn resume(&self, tenant_id: &str) -> Result<bool, OperatorError> {
        self.ask(TenantAction::Resume, Some(tenant_id))?;
        Ok(self.store.resume(tenant_id).await?)
    }

    /// Returns the paused tenants, see [`Pauses::paused`]. The policy is asked for all tenants.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    pub async fn paused(&self) -> Result<Vec<PausedTenant>, OperatorError> {
        self.ask(TenantAction::List, None)?;
        Ok(self.store.paused().await?)
    }
}

impl<S: HeldEvents, P: TenantPolicy> Operator<'_, S, P> {
    /// Ends the wait of held events, see [`HeldEvents::retry_now`]. Returns the number of events
    /// whose wait it ended.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn retry_now(&self, filter: &HeldFilter) -> Result<u64, OperatorError> {
        self.ask(TenantAction::RetryNow, filter.tenant_id.as_deref())?;
        Ok(self.store.retry_now(filter).await?)
    }
}

impl<S: HandlerControl, P: TenantPolicy> Operator<'_, S, P> {
    /// Returns the recorded handlers, see [`HandlerControl::handlers`]. The policy is asked for all
    /// tenants, as by every command for handlers.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    pub async fn handlers(&self) -> Result<Vec<HandlerState>, OperatorError> {
        self.ask(TenantAction::List, None)?;
        Ok(self.store.handlers().await?)
    }

    /// Stops the calls of a handler, see [`HandlerControl::pause_handler`]; the name of the
    /// operator is stored with the reason.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn pause_handler(&self, name: &str, reason: &str) -> Result<bool, OperatorError> {
        let because = self.because(reason)?;
        self.ask(TenantAction::PauseHandler, None)?;
        let (reason, actor) = (because.reason(), because.actor());
        Ok(self.store.pause_handler(name, reason, actor).await?)
    }

    /// Resumes the calls of a handler, see [`HandlerControl::resume_handler`].
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn resume_handler(&self, name: &str) -> Result<bool, OperatorError> {
        self.ask(TenantAction::ResumeHandler, None)?;
        Ok(self.store.resume_handler(name).await?)
    }

    /// Removes the record of a handler that no release has any more, see
    /// [`HandlerControl::retire_handler`]. Returns what waits for it, `None` if it is not recorded.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all.
    pub async fn retire_handler(&self, name: &str) -> Result<Option<Leftovers>, OperatorError> {
        self.ask(TenantAction::RetireHandler, None)?;
        Ok(self.store.retire_handler(name).await?)
    }
}

impl<S: HandlerControl + DeadLetters, P: TenantPolicy> Operator<'_, S, P> {
    /// Lets a handler handle an event once more, see [`HandlerControl::handle_again`]. The policy
    /// is asked for the tenant of the event if it is a dead letter of the handler, else for all
    /// tenants.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more
    /// while the event waits.
    pub async fn handle_again(
        &self,
        handler: &str,
        event_id: EventId,
    ) -> Result<HandledAgain, OperatorError> {
        self.ask_for_letter(TenantAction::HandleAgain, event_id, handler)
            .await?;
        Ok(self.store.handle_again(handler, event_id).await?)
    }

    /// Lets a handler handle an event once more that the operator has, see
    /// [`HandlerControl::handle_envelope_again`]. The policy is asked for the tenant in the
    /// envelope, and for all tenants without one.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// As [`handle_again`](Self::handle_again).
    pub async fn handle_envelope_again(
        &self,
        handler: &str,
        envelope: &Envelope,
    ) -> Result<HandledAgain, OperatorError> {
        self.ask(TenantAction::HandleAgain, envelope.tenant_id.as_deref())?;
        Ok(self.store.handle_envelope_again(handler, envelope).await?)
    }
}
