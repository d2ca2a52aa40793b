//! Faults of projections, told when the set is built.

use bento_core::{PendingEvents, aggregate, domain_event};
use bento_handlers::{Batch, BuildFault, HandleError, Handlers, ProjectionSettings, projection};
use bento_seaorm::{OutboxConnection, OutboxTransaction};

use crate::scene::Credits;
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    events_of_an_aggregate_without_a_version_are_refused,
    a_projection_with_fields_has_to_be_given,
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
