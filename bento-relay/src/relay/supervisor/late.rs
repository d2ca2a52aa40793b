//! Waves whose worker has ended: their answers are left to the next worker of the shard.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::{Back, Report, Supervisor};
use crate::publish::Publisher;
use crate::relay::late::LateWaves;
use crate::store::{Lease, RelayStore};

impl<S: RelayStore, P: Publisher> Supervisor<S, P> {
    /// Waits for the next late wave of a shard to return.
    pub(super) fn listen(&mut self, lease: Lease, late: LateWaves) {
        let out = late.len();
        self.tasks.spawn(async move {
            let back = match AssertUnwindSafe(late.next()).catch_unwind().await {
                Ok(Some((sent, others))) => Back::One(Box::new(sent), others),
                Ok(None) => Back::None,
                Err(_) => Back::Broken(out),
            };
            Report::Late { lease, back }
        });
    }

    pub(super) fn came_back(&mut self, lease: Lease, back: Back) {
        match back {
            Back::One(sent, others) => {
                self.shards.heard(lease, *sent);
                self.listen(lease, others);
            }
            Back::None => {}
            Back::Broken(count) => self.shards.not_heard(lease, count),
        }
        self.take_up_returned();
    }

    /// Polls soon for the events held for a destination that answers again, also on shards whose
    /// running worker has not asked for those events.
    pub(super) fn take_up_returned(&mut self) {
        if self.shared.breakers.take_returned() {
            self.shards.look_again();
            self.poll_soon();
        }
    }
}
