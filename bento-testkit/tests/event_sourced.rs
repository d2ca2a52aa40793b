//! Given events, when something is done or a command is carried out, then these events follow.
#![allow(missing_docs)]

use bento_core::event_sourced::Decider;
use bento_core::{PendingEvents, aggregate, domain_event};
use bento_testkit::given;

#[domain_event(schema = "box.filled", version = 1)]
#[derive(Clone, Debug)]
pub struct Filled {
    pub pieces: u32,
}

#[domain_event(schema = "box.emptied", version = 1)]
#[derive(Clone, Debug)]
pub struct Emptied {}

#[aggregate(event_sourced, events(Filled, Emptied), name = "box")]
#[derive(Debug, Default)]
pub struct Crate {
    id: String,
    #[aggregate(version)]
    version: i64,
    pieces: u32,
    events: PendingEvents,
}

#[derive(Debug)]
pub enum Command {
    Fill(u32),
    Empty,
}

#[derive(Debug, PartialEq)]
pub enum Refusal {
    IsFull { room: u32 },
    IsEmpty,
}

impl Crate {
    const ROOM: u32 = 10;

    fn apply(&mut self, event: &CrateEvent) {
        // A test names no id, and an event that is written has one.
        self.id = "B-1".to_owned();
        match event {
            CrateEvent::Filled(filled) => self.pieces += filled.pieces,
            CrateEvent::Emptied(_) => self.pieces = 0,
        }
    }

    fn fill(&mut self, pieces: u32) -> Result<u32, Refusal> {
        let room = Self::ROOM - self.pieces;
        if pieces > room {
            return Err(Refusal::IsFull { room });
        }
        self.raise(Filled { pieces });
        Ok(room - pieces)
    }
}

impl Decider for Crate {
    type Command = Command;
    type Error = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<CrateEvent>, Refusal> {
        match command {
            Command::Fill(pieces) if self.pieces + pieces > Self::ROOM => Err(Refusal::IsFull {
                room: Self::ROOM - self.pieces,
            }),
            Command::Fill(pieces) => Ok(vec![Filled { pieces }.into()]),
            Command::Empty if self.pieces == 0 => Err(Refusal::IsEmpty),
            Command::Empty => Ok(vec![Emptied {}.into()]),
        }
    }
}

fn filled(pieces: u32) -> CrateEvent {
    Filled { pieces }.into()
}

#[test]
fn a_method_is_tested_by_events() {
    let then = given([filled(3), filled(2)])
        .when(|of| of.fill(4))
        .then_raised([Filled { pieces: 4 }]);
    assert_eq!(then.result, Ok(1));
    assert_eq!((then.aggregate.version, then.aggregate.pieces), (3, 9));
    assert_eq!(then.raised[0].sequence, Some(3));
    given(vec![filled(9)])
        .when(|of| of.fill(2))
        .then_error(Refusal::IsFull { room: 1 });
}

#[test]
fn a_command_is_tested_by_events() {
    given([filled(3)])
        .when(|of| {
            of.execute(Command::Empty)?;
            of.execute(Command::Fill(10))
        })
        .then_raised([CrateEvent::from(Emptied {}), filled(10)]);
    given(Vec::<CrateEvent>::new())
        .when(|of| of.execute(Command::Empty))
        .then_error(Refusal::IsEmpty);
    let three = Crate::from_events([filled(3)]);
    let decided = three.decide(Command::Empty).expect("it is not empty");
    assert!(matches!(decided[..], [CrateEvent::Emptied(_)]));
    assert_eq!(three.evolve(&decided[0]).pieces, 0);
}

#[test]
fn a_command_of_several_events_raises_each() {
    let then = given(Crate::default())
        .and(|of| of.execute(Command::Fill(1)).expect("there is room"))
        .when(|of| of.execute(Command::Fill(2)));
    assert_eq!(then.aggregate.pieces, 3);
    then.then_raised([filled(2)]);
}

#[test]
#[should_panic(expected = "`box.filled` v1 {\"pieces\":5} was expected")]
fn another_event_is_told() {
    given([filled(3)])
        .when(|of| of.fill(4))
        .then_raised([Filled { pieces: 5 }]);
}

#[test]
#[should_panic(expected = "nothing else was expected")]
fn a_further_event_is_told() {
    given([filled(3)])
        .when(|of| of.fill(4))
        .then_raised(Vec::<CrateEvent>::new());
}

#[test]
#[should_panic(expected = "the error IsEmpty was expected, but the result is Ok(6)")]
fn a_success_is_told() {
    given([filled(3)])
        .when(|of| of.fill(1))
        .then_error(Refusal::IsEmpty);
}
