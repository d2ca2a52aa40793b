//! The destinations of a test.

use super::*;

/// The publisher of a test.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) chains: bool,
    pub(super) away: HashSet<&'static str>,
    pub(super) on_trial: HashSet<&'static str>,
    pub(super) unserved: HashSet<&'static str>,
    pub(super) one_by_one: HashSet<&'static str>,
    pub(super) busy: HashSet<&'static str>,
}

impl World {
    pub(super) fn reach(&self) -> impl FnMut(&Destination) -> Reach {
        |destination| Reach {
            is_served: !self.unserved.contains(&*destination.name),
            chains: self.chains,
            answering: if self.one_by_one.contains(&*destination.name) {
                Answering::one_by_one(4)
            } else {
                Answering::Together
            },
            admission: match &*destination.name {
                name if self.busy.contains(name) => Admission::Busy,
                name if self.away.contains(name) => Admission::Away,
                name if self.on_trial.contains(name) => Admission::Trial,
                _ => Admission::Open,
            },
        }
    }
}
