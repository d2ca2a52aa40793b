//! A handler of a process, with the settings that it runs with.

use std::time::Duration;

use bento_core::Envelope;
use bento_relay::publish::HandlerRoute;
use bento_relay::retry::RetryPolicies;
use bento_relay::route::Filter;

use crate::descriptor::HandlerDescriptor;
use crate::settings::{HandlerSettings, SettingFault};

/// A handler, with its settings where they are set, else with what its attribute says.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) descriptor: &'static HandlerDescriptor,
    /// The time for one call; `None` for that of the relay.
    pub(crate) timeout: Option<Duration>,
    /// The most calls at once in a process; `None` for the default.
    pub(crate) concurrency: Option<u32>,
    retry: Option<RetryPolicies>,
    tenants: Option<Vec<String>>,
    when: Option<Filter>,
}

impl Configured {
    /// Applies the settings. What breaks a rule is added to the faults and left out.
    pub(crate) fn new(
        descriptor: &'static HandlerDescriptor,
        settings: &HandlerSettings,
        faults: &mut Vec<SettingFault>,
    ) -> Self {
        faults.extend(settings.faults_beside_when());
        if descriptor.is_batch && settings.concurrency.is_some() {
            let rule = "does not apply to a handler of batches, which has one call for all events \
                        that the relay hands over together; remove it";
            faults.push(SettingFault::new(["concurrency"], rule));
        }
        let when = settings.filter(descriptor.takes()).unwrap_or_else(|found| {
            faults.extend(found);
            None
        });
        let named = descriptor.retry.and_then(RetryPolicies::named);
        Self {
            descriptor,
            timeout: settings.timeout.or(descriptor.timeout),
            concurrency: settings.concurrency.or(descriptor.concurrency),
            retry: settings.retry.or(named),
            tenants: settings.tenants.clone(),
            when,
        }
    }

    /// True if the handler gets the event. One that it does not get is done for it.
    pub(crate) fn gets(&self, envelope: &Envelope) -> bool {
        let is_of_a_tenant = self.tenants.as_ref().is_none_or(|tenants| {
            let of = envelope.tenant_id.as_deref();
            of.is_some_and(|of| tenants.iter().any(|tenant| *tenant == *of))
        });
        is_of_a_tenant && self.when.as_ref().is_none_or(|when| when.holds(envelope))
    }

    /// The route that a relay records, with the policies by which it tries again.
    pub(crate) fn route(&self) -> HandlerRoute {
        self.descriptor.route().retry(self.retry)
    }
}
