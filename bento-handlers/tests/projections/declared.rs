//! Faults of projections, told when the set is built.

use bento_core::{Envelope, PendingEvents, aggregate, domain_event, integration_event};
use bento_handlers::{Batch, BuildFault, HandleError, Handlers, ProjectionSettings, projection};
use bento_seaorm::{OutboxConnection, OutboxTransaction};

use crate::scene::Credits;
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    events_of_an_aggregate_without_a_version_are_refused,
    a_projection_with_fields_has_to_be_given,
    events_of_one_number_are_refused,
    settings_that_fit_nothing_are_refused,
    settings_of_a_projection_that_is_left_out_are_passed_over,
);

#[domain_event(schema = "note.added", version = 1)]
#[derive(Debug)]
pub struct NoteAdded {}

#[aggregate(events(NoteAdded))]
#[derive(Debug)]
pub struct Note {
    pub id: i64,
    pub events: PendingEvents,
}

#[projection(name = "notes", version = 1)]
pub struct Notes;

impl Notes {
    async fn project(&self, _: Batch<NoteAdded>, _: &OutboxTransaction) -> Result<(), HandleError> {
        Ok(())
    }
}

#[domain_event(schema = "visit.ended", version = 1)]
#[derive(Debug)]
pub struct VisitEnded {}

#[integration_event(from = VisitEnded, schema = "public.visit.ended", version = 1)]
#[derive(Debug)]
pub struct PublicVisitEnded {}

impl From<&VisitEnded> for PublicVisitEnded {
    fn from(_: &VisitEnded) -> Self {
        Self {}
    }
}

#[integration_event(from = VisitEnded, schema = "public.visit", version = 1)]
#[derive(Debug)]
pub struct PublicVisit {}

impl From<&VisitEnded> for PublicVisit {
    fn from(_: &VisitEnded) -> Self {
        Self {}
    }
}

#[projection(name = "visits", version = 1, events = "*visit.ended")]
pub struct Visits;

#[projection(name = "public_visits", version = 1, events = "public.visit*")]
pub struct PublicVisits;

#[projection(name = "contract", version = 1)]
pub struct Contract;

impl Visits {
    async fn project(&self, _: Batch<Envelope>, _: &OutboxTransaction) -> Result<(), HandleError> {
        Ok(())
    }
}

impl PublicVisits {
    async fn project(&self, _: Batch<Envelope>, _: &OutboxTransaction) -> Result<(), HandleError> {
        Ok(())
    }
}

impl Contract {
    async fn project(
        &self,
        _: Batch<PublicVisitEnded>,
        _: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        Ok(())
    }
}

async fn events_of_one_number_are_refused(database: &TestDatabase) {
    let same_number = |projection, first, second| BuildFault::SameNumber {
        projection,
        first: (first, 1),
        second: (second, 1),
    };
    let found = faults(Handlers::new(()).projection(Visits), database);
    let expected = [same_number("visits", "visit.ended", "public.visit.ended")];
    assert_eq!(found, expected);
    let text = found[0].to_string();
    assert!(
        text.contains("`visit.ended` version 1 and `public.visit.ended` version 1"),
        "{text}"
    );
    let expected = [same_number(
        "public_visits",
        "public.visit",
        "public.visit.ended",
    )];
    assert_eq!(
        faults(Handlers::new(()).projection(PublicVisits), database),
        expected
    );
    let db = OutboxConnection::new(database.db.clone());
    Handlers::new(()).projection(Contract).build(&db).unwrap();
}

fn faults(handlers: Handlers, database: &TestDatabase) -> Vec<BuildFault> {
    let db = OutboxConnection::new(database.db.clone());
    handlers.build(&db).unwrap_err().faults().to_vec()
}

async fn events_of_an_aggregate_without_a_version_are_refused(database: &TestDatabase) {
    let faults = faults(Handlers::new(()).projection(Notes), database);
    let expected = BuildFault::NoSequence {
        projection: "notes",
        event_type: "note.added",
        aggregate: "Note",
    };
    assert_eq!(faults, [expected]);
    let text = faults[0].to_string();
    assert!(text.contains("give the aggregate a version"), "{text}");
}

async fn a_projection_with_fields_has_to_be_given(database: &TestDatabase) {
    let missing: Vec<_> = faults(Handlers::registered(), database)
        .iter()
        .filter_map(|fault| match fault {
            BuildFault::MissingProjection { projection, .. } => Some(projection.clone()),
            _ => None,
        })
        .collect();
    assert!(missing.contains(&"balances@1".to_owned()), "{missing:?}");
    assert!(!missing.contains(&"credits@1".to_owned()), "{missing:?}");
}

async fn settings_that_fit_nothing_are_refused(database: &TestDatabase) {
    let handlers = || Handlers::new(()).projection(Credits);
    let unknown = handlers().configure_projection("credit", ProjectionSettings::default());
    let text = faults(unknown, database)[0].to_string();
    assert!(
        text.contains("there are settings for the projection `credit`"),
        "{text}"
    );
    assert!(text.contains("did you mean `credits`?"), "{text}");
    let wrong = ProjectionSettings::default().page(0);
    let text = faults(handlers().configure_projection("credits", wrong), database)[0].to_string();
    let expected = "a setting of projection `credits` is invalid: `page`: must be 1 to 10,000";
    assert_eq!(text, expected);
}

async fn settings_of_a_projection_that_is_left_out_are_passed_over(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let handlers = Handlers::new(()).projection(Credits);
    let handlers = handlers.retain_projections(|_| false);
    let handlers = handlers.configure_projection("credits", ProjectionSettings::default());
    let dispatcher = handlers.build(&db).unwrap();
    assert_eq!(dispatcher.projections().count(), 0);
}
