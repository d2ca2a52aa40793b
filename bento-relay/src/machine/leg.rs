//! One row on one of its routes.

use std::sync::Arc;

use bento_core::envelope::Envelope;
use smallvec::SmallVec;

use crate::publish::{Destination, PublishError};
use crate::route::{HeadOfLine, Route, Target};
use crate::store::{Outcome, Place, Settlement};

/// One row on one of its routes.
#[derive(Debug)]
pub(super) struct Leg {
    /// The position of the row.
    pub(super) position: i64,
    /// The index of a pending row in its batch; `None` for a held row.
    pub(super) row: Option<usize>,
    /// The name of the route, under which progress is kept.
    pub(super) name: Arc<str>,
    pub(super) route: Arc<Route>,
    pub(super) envelope: Arc<Envelope>,
    pub(super) attempts: u32,
    /// True if it may be the event that made a call break off, so that it is sent alone.
    pub(super) is_suspect: bool,
    /// True if it keeps its place in its stream: if it fails, later ones wait.
    pub(super) holds: bool,
    /// True if it may be sent together with the one before it.
    pub(super) is_chained: bool,
    /// The outlets of the batch that it goes to, one for each destination without a confirmation.
    pub(super) outlets: SmallVec<[usize; 1]>,
    /// The number of them that have not answered.
    pub(super) open: usize,
    /// The destinations of the waves that are out with it.
    pub(super) out: SmallVec<[Arc<str>; 1]>,
    /// The destinations of several that have confirmed it.
    pub(super) delivered: Vec<Arc<str>>,
    /// True if one of them did in this batch.
    pub(super) is_partial: bool,
    /// The destinations that refused it in this batch, each with its error.
    pub(super) faults: Vec<(Arc<str>, PublishError)>,
    /// The next leg of its stream.
    pub(super) next: Option<usize>,
    pub(super) state: LegState,
}

/// The progress of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegState {
    /// An earlier one of its stream is not answered.
    Waiting,
    /// It is on its way, or would be if its destination took it.
    Sent,
    /// Published, dead, held out of order, or a held row that stays.
    Settled,
    /// A pending one that is held, in the order of its stream.
    Held,
}

impl Leg {
    /// A row on the route of a target.
    pub(super) fn new(position: i64, row: Option<usize>, name: Arc<str>, target: &Target) -> Self {
        let (route, envelope) = (Arc::clone(&target.route), Arc::clone(&target.envelope));
        let holds = envelope.is_ordered() && route.head_of_line == HeadOfLine::Hold;
        Self {
            position,
            row,
            name,
            route,
            envelope,
            attempts: 0,
            is_suspect: false,
            holds,
            is_chained: false,
            outlets: SmallVec::new(),
            open: 0,
            out: SmallVec::new(),
            delivered: Vec::new(),
            is_partial: false,
            faults: Vec::new(),
            next: None,
            state: LegState::Waiting,
        }
    }

    /// A row under a name that this relay has no route for.
    pub(super) fn without_route(
        position: i64,
        row: Option<usize>,
        name: Arc<str>,
        envelope: Arc<Envelope>,
    ) -> Self {
        let route = Arc::new(Route::to(Destination::new(Arc::clone(&name))));
        Self::new(position, row, name, &Target::new(route, envelope))
    }

    pub(super) fn is_held_row(&self) -> bool {
        self.row.is_none()
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, LegState::Waiting | LegState::Sent)
    }

    /// Notes that the wave to a destination is back.
    pub(super) fn came_back(&mut self, destination: &Arc<str>) {
        self.out.retain(|out| out != destination);
    }

    /// The outcome of its row on its route, to be recorded.
    pub(super) fn settlement(&self, outcome: Outcome) -> Settlement {
        Settlement {
            position: self.position,
            place: match self.row {
                Some(_) => Place::Pending,
                None => Place::Held,
            },
            route: Arc::clone(&self.name),
            ordered: self.holds,
            outcome,
        }
    }

    /// Takes the answer of a late wave; `None` tells nothing of the event.
    pub(super) fn take_late_answer(
        &mut self,
        destination: &Arc<str>,
        answer: Option<Result<(), PublishError>>,
    ) {
        match answer {
            Some(Ok(())) => {
                self.delivered.push(Arc::clone(destination));
                self.is_partial = true;
            }
            Some(Err(error)) => self.faults.push((Arc::clone(destination), error)),
            None => {}
        }
        self.came_back(destination);
        self.open -= 1;
    }

    /// True if every destination of the route has confirmed it.
    pub(super) fn is_delivered(&self) -> bool {
        let destinations = &self.route.destinations;
        self.faults.is_empty()
            && destinations
                .iter()
                .all(|to| self.delivered.contains(&to.name))
    }
}
