//! The sorting of what has arrived: what is stored, what was stored before, what is left out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bento_core::EventId;
use bento_core::envelope::Envelope;
use bento_relay::source::Unreadable;
use bento_relay::store::RecordedHandler;
use uuid::Uuid;

use super::known::Identity;
use super::{Arrival, Inbox};

/// An event that is to be stored, as a dead letter if it is refused.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) event: Envelope,
    pub(super) refusal: Option<Refusal>,
}

/// The reason for which an event becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Refusal {
    pub(super) cause: &'static str,
    pub(super) error: String,
}

/// The arrivals of a batch, sorted.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    pub(super) wanted: Vec<Wanted>,
    pub(super) unreadable: Vec<&'a Unreadable>,
    pub(super) ignored: usize,
    pub(super) repeated: usize,
}

impl<'a> Sorted<'a> {
    /// Sorts by what the handlers take. An event that comes twice is wanted once.
    pub(super) fn new(arrivals: &'a [Arrival], handlers: &[RecordedHandler]) -> Self {
        let mut sorted = Self::default();
        let mut taken: HashMap<&str, bool> = HashMap::new();
        for arrival in arrivals {
            let (event, refusal) = match arrival {
                Arrival::Event(event) => (event, None),
                Arrival::Refused {
                    event,
                    cause,
                    error,
                } => {
                    let error = error.clone();
                    (event, Some(Refusal { cause, error }))
                }
                Arrival::Unreadable(unreadable) => {
                    sorted.unreadable.push(unreadable);
                    continue;
                }
            };
            let event_type = &*event.event_type;
            let is_taken = *taken.entry(event_type).or_insert_with(|| {
                let mut handlers = handlers.iter();
                handlers.any(|handler| handler.takes(event_type))
            });
            if is_taken {
                let event = event.clone();
                sorted.wanted.push(Wanted { event, refusal });
            } else {
                sorted.ignored += 1;
            }
        }
        sorted
    }

    /// Takes out the events that came before, in an earlier batch or in this one. One with the id
    /// of another event gets an id of its own, and is refused.
    pub(super) fn leave_out(&mut self, known: HashMap<EventId, Identity>) {
        let mut known = known;
        let before = self.wanted.len();
        self.wanted
            .retain_mut(|wanted| match known.entry(wanted.event.event_id) {
                Entry::Vacant(new) => {
                    new.insert(Identity::of(&wanted.event));
                    true
                }
                Entry::Occupied(first) if first.get().is_of(&wanted.event) => false,
                Entry::Occupied(_) => {
                    wanted.take_another_id();
                    match known.entry(wanted.event.event_id) {
                        Entry::Vacant(new) => {
                            new.insert(Identity::of(&wanted.event));
                            true
                        }
                        Entry::Occupied(_) => false,
                    }
                }
            });
        self.repeated += before - self.wanted.len();
    }

    /// Takes out the events under ids of their own that came before.
    pub(super) fn leave_out_renamed(&mut self, known: &HashMap<EventId, Identity>) {
        let before = self.wanted.len();
        self.wanted
            .retain(|wanted| !(wanted.is_renamed() && known.contains_key(&wanted.event.event_id)));
        self.repeated += before - self.wanted.len();
    }

    /// The ids of the events that got one of their own because theirs was taken.
    pub(super) fn renamed(&self) -> Vec<EventId> {
        let renamed = self.wanted.iter().filter(|wanted| wanted.is_renamed());
        renamed.map(|wanted| wanted.event.event_id).collect()
    }

    /// The ids of the events.
    pub(super) fn ids(&self) -> Vec<EventId> {
        let wanted = self.wanted.iter();
        wanted.map(|wanted| wanted.event.event_id).collect()
    }
}

impl Wanted {
    fn is_renamed(&self) -> bool {
        let refusal = self.refusal.as_ref();
        refusal.is_some_and(|refusal| refusal.cause == Inbox::ID_TAKEN)
    }

    /// Gives the event an id that is the same each time it comes.
    fn take_another_id(&mut self) {
        let event = &mut self.event;
        let claimed = event.event_id;
        let own = [
            &*event.event_type,
            &*event.aggregate_type,
            &*event.aggregate_id,
        ];
        let id = own.iter().fold(*claimed.as_uuid(), |space, text| {
            Uuid::new_v5(&space, text.as_bytes())
        });
        event.event_id = id.into();
        let error = format!(
            "the message says that it is event {claimed}, which is another event here; if this one \
             is to be handled too, replay this dead letter: it has an id of its own now"
        );
        self.refusal = Some(Refusal {
            cause: Inbox::ID_TAKEN,
            error,
        });
    }
}
