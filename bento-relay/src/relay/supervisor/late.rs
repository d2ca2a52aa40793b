//! Waves whose worker has ended: their answers are left to the next worker of the shard.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::{Back, Report, Supervisor};
use crate::publish::Publisher;
use crate::relay::in_flight::InFlight;
use crate::store::{Lease, RelayStore};

impl<S: RelayStore, P: Publisher> Supervisor<S, P> {
    /// Waits for the next late wave of a shard to return, if one is left.
    pub(super) fn listen(&mut self, lease: Lease, mut late: InFlight) {
        let count = late.len();
        if count == 0 {
            return;
        }
        self.tasks.spawn(async move {
            let returned = AssertUnwindSafe(late.next()).catch_unwind().await;
            let back = match returned {
                Ok(sent) => Back::One(Box::new(sent), late),
                Err(_) => Back::Broken(count),
            };
            Report::Late { lease, back }
        });
    }

    pub(super) fn take_late(&mut self, lease: Lease, back: Back) {
        match back {
            Back::One(sent, others) => {
                self.shards.take_late(lease, *sent);
                self.listen(lease, others);
            }
            Back::Broken(count) => self.shards.drop_late(lease, count),
        }
        self.take_up_returned();
    }

    /// Polls soon for the events held for a destination that answers again, also on shards whose
    /// running worker has not asked for those events.
    pub(super) fn take_up_returned(&mut self) {
        if self.shared.breakers.take_returned() {
            self.look_for_returned();
        }
    }

    /// Polls soon for events that were left in the store for a destination that takes events again.
    pub(super) fn look_for_returned(&mut self) {
        self.shards.look_again();
        self.poll_soon();
    }
}
