//! The events that wait for a handler, aggregate by aggregate.

use std::collections::VecDeque;
use std::sync::Arc;

use bento_core::Envelope;
use bento_handlers::HandlerDescriptor;

/// An event that waits for a handler.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// The number in which the event appeared, from 1.
    pub(super) number: usize,
    pub(super) event: Arc<Envelope>,
    pub(super) attempts: u32,
    /// The times that it was cut off, or its answer was lost.
    pub(super) faults: u32,
    /// The times that the handler could not work at all.
    pub(super) refusals: u32,
}

/// The events of one aggregate that wait for a handler, or one event without an order.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) handler: &'static HandlerDescriptor,
    /// The type and id of the aggregate; `None` for an event without an order.
    aggregate: Option<(String, String)>,
    pub(super) events: VecDeque<Waiting>,
    /// True if an event of it ended without being handled: the rest waits behind it.
    pub(super) is_parked: bool,
}

/// A place of an event: its stream, and its place there.
pub(super) type Place = (usize, usize);

/// The streams, in the order of their first events. That order does not depend on ids, which differ
/// from one course to the next.
#[derive(Debug, Default)]
pub(super) struct Streams(pub(super) Vec<Stream>);

impl Streams {
    /// Adds an event for a handler behind those of its aggregate.
    pub(super) fn add(
        &mut self,
        handler: &'static HandlerDescriptor,
        number: usize,
        event: &Arc<Envelope>,
    ) {
        let waiting = Waiting {
            number,
            event: Arc::clone(event),
            attempts: 0,
            faults: 0,
            refusals: 0,
        };
        let is_ordered = handler.is_ordered && event.is_ordered();
        let aggregate = is_ordered.then(|| {
            let aggregate_type = event.aggregate_type.clone().into_owned();
            (aggregate_type, event.aggregate_id.clone())
        });
        let mut streams = self.0.iter_mut();
        let known = streams.find(|stream| {
            stream.aggregate.is_some()
                && stream.aggregate == aggregate
                && stream.handler.name == handler.name
        });
        match known {
            Some(stream) => stream.events.push_back(waiting),
            None => self.0.push(Stream {
                handler,
                aggregate,
                events: VecDeque::from([waiting]),
                is_parked: false,
            }),
        }
    }

    /// The streams with an event that can be delivered.
    pub(super) fn ready(&self) -> Vec<usize> {
        let streams = self.0.iter().enumerate();
        let ready = streams.filter(|(_, stream)| !stream.is_parked && !stream.events.is_empty());
        ready.map(|(at, _)| at).collect()
    }

    /// The stream whose first event appeared first.
    pub(super) fn first(&self, ready: &[usize]) -> usize {
        let number = |at: &&usize| self.0[**at].events[0].number;
        *ready.iter().min_by_key(number).expect("one is ready")
    }

    /// Up to `most` events for the handler of a stream, in the order of each aggregate: those of
    /// this stream first, or in the order in which they appeared.
    pub(super) fn batch(&self, at: usize, most: usize, in_order: bool) -> Vec<Place> {
        let handler = self.0[at].handler;
        let mut ready = self.ready();
        ready.retain(|&other| self.0[other].handler.name == handler.name);
        ready.sort_by_key(|&other| other != at);
        let places = ready.iter().flat_map(|&stream| {
            let events = 0..self.0[stream].events.len();
            events.map(move |event| (stream, event))
        });
        let mut places: Vec<Place> = places.collect();
        if in_order {
            places.sort_by_key(|&place| self.at(place).number);
        }
        places.truncate(most);
        places
    }

    pub(super) fn at(&self, (stream, event): Place) -> &Waiting {
        &self.0[stream].events[event]
    }

    pub(super) fn at_mut(&mut self, (stream, event): Place) -> &mut Waiting {
        &mut self.0[stream].events[event]
    }
}
