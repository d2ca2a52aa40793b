//! The decider style: a command is decided on by a function of the state.

use super::EventSourced;
use crate::aggregate::{self, AggregateEvents as _};

/// An event-sourced aggregate whose commands are values.
///
/// `decide` reads the state and answers with the events that follow from a command; `apply`, which
/// others call *evolve*, changes the state by each of them. Neither has an effect of its own, so
/// both are tested by values alone.
///
/// ```
/// use bento_core::event_sourced::Decider;
/// # use bento_core::{PendingEvents, aggregate, domain_event};
/// # #[domain_event(schema = "account.withdrawn", version = 1)]
/// # #[derive(Debug)]
/// # pub struct Withdrawn { pub cents: i64 }
/// # #[domain_event(schema = "account.credited", version = 1)]
/// # #[derive(Debug)]
/// # pub struct Credited { pub cents: i64 }
/// # #[aggregate(event_sourced, events(Credited, Withdrawn))]
/// # #[derive(Default)]
/// # pub struct Account {
/// #     id: String,
/// #     #[aggregate(version)]
/// #     version: i64,
/// #     balance: i64,
/// #     events: PendingEvents,
/// # }
/// # impl Account {
/// #     fn apply(&mut self, event: &AccountEvent) {
/// #         match event {
/// #             AccountEvent::Credited(credited) => self.balance += credited.cents,
/// #             AccountEvent::Withdrawn(withdrawn) => self.balance -= withdrawn.cents,
/// #         }
/// #     }
/// # }
///
/// pub enum Command {
///     Withdraw { cents: i64 },
/// }
///
/// #[derive(Debug, PartialEq)]
/// pub struct Overdrawn {
///     pub missing: i64,
/// }
///
/// impl Decider for Account {
///     type Command = Command;
///     type Error = Overdrawn;
///
///     fn decide(&self, command: Command) -> Result<Vec<AccountEvent>, Overdrawn> {
///         let Command::Withdraw { cents } = command;
///         let missing = cents - self.balance;
///         match missing > 0 {
///             true => Err(Overdrawn { missing }),
///             false => Ok(vec![Withdrawn { cents }.into()]),
///         }
///     }
/// }
///
/// let mut account = Account::from_events([Credited { cents: 100 }]);
/// account.execute(Command::Withdraw { cents: 30 })?;
/// assert_eq!(account.balance, 70);
/// let refused = account.execute(Command::Withdraw { cents: 80 });
/// assert_eq!(refused, Err(Overdrawn { missing: 10 }));
/// # account.discard();
/// # Ok::<_, Overdrawn>(())
/// ```
pub trait Decider: EventSourced {
    /// The commands.
    type Command;

    /// The refusal of a command.
    type Error;

    /// The events that follow from a command in this state, in their order.
    ///
    /// # Errors
    /// The refusal, if the command cannot be carried out in this state.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Decides on a command and raises the events that follow from it.
    ///
    /// # Errors
    /// The refusal; nothing was raised.
    #[track_caller]
    fn execute(&mut self, command: Self::Command) -> Result<(), Self::Error> {
        for event in self.decide(command)? {
            aggregate::raise(self, event.into_any());
        }
        Ok(())
    }

    /// The state after an event.
    #[must_use]
    fn evolve(mut self, event: &Self::Event) -> Self {
        self.apply_event(event);
        self
    }
}
