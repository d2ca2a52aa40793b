//! Several events of one aggregate in one round trip.
//!
//! The events of an aggregate for one stream make a run, which travels as one transaction. Redis
//! refuses a command of a transaction either when it is queued, and then executes none of them, or
//! for the sake of its key, which all of them share: so no event of a run is added behind one that
//! was refused. What an aggregate has for another stream waits for the next round trip.

use std::collections::{HashMap, HashSet};
use std::mem;

use bento_relay::publish::{Delivery, PublishError};
use redis::{Cmd, Pipeline, RedisError, Value};

use super::failure;

type Answer = Result<(), PublishError>;
/// The type and the id of an aggregate.
type Aggregate<'a> = (&'a str, &'a str);
/// A reply of Redis to one command.
pub(super) type Reply = Result<Value, RedisError>;

/// The answers to a batch, which is sent in one round trip or several.
pub(super) struct Chains<'a> {
    batch: &'a [Delivery],
    answers: Vec<Option<Answer>>,
    /// The deliveries that are still to be sent, in the order of the batch.
    left: Vec<usize>,
    /// The aggregates of which nothing more is sent.
    failed: HashSet<Aggregate<'a>>,
}

/// The commands of one round trip.
pub(super) struct Round {
    pub(super) commands: Pipeline,
    runs: Vec<Vec<usize>>,
}

impl<'a> Chains<'a> {
    pub(super) fn new(batch: &'a [Delivery]) -> Self {
        let answers = batch.iter().map(|_| None).collect();
        Self {
            batch,
            answers,
            left: (0..batch.len()).collect(),
            failed: HashSet::new(),
        }
    }

    /// Takes what can go next; `None` once everything has an answer. Without transactions a run has
    /// one event.
    pub(super) fn next_round(
        &mut self,
        has_transactions: bool,
        command: impl Fn(&Delivery) -> Result<Cmd, PublishError>,
    ) -> Option<Round> {
        let mut runs: Vec<Vec<(usize, Cmd)>> = Vec::new();
        // The run that an aggregate may go on with; none once something of it has to wait.
        let mut open: HashMap<Aggregate<'a>, Option<usize>> = HashMap::new();
        for index in mem::take(&mut self.left) {
            let aggregate = self.aggregate(index);
            if aggregate.is_some_and(|aggregate| self.failed.contains(&aggregate)) {
                self.answer(index, Err(not_sent()));
                continue;
            }
            let run = aggregate.and_then(|aggregate| open.get(&aggregate).copied());
            let may_go = run.is_none_or(|run| {
                has_transactions
                    && run.is_some_and(|run| self.is_same_stream(runs[run][0].0, index))
            });
            if !may_go {
                self.left.push(index);
                open.extend(aggregate.map(|aggregate| (aggregate, None)));
                continue;
            }
            match (command(&self.batch[index]), run.flatten()) {
                (Ok(command), Some(run)) => runs[run].push((index, command)),
                (Ok(command), None) => {
                    open.extend(aggregate.map(|aggregate| (aggregate, Some(runs.len()))));
                    runs.push(vec![(index, command)]);
                }
                (Err(error), _) => self.fail(index, error),
            }
        }
        if runs.is_empty() {
            return None;
        }
        let mut commands = Pipeline::with_capacity(self.batch.len());
        commands.ignore_errors();
        let runs = runs
            .into_iter()
            .map(|run| append(&mut commands, run))
            .collect();
        Some(Round { commands, runs })
    }

    /// Takes the replies to a round.
    pub(super) fn reply(
        &mut self,
        round: Round,
        replies: Vec<Reply>,
        unconfirmed: impl Fn() -> PublishError,
    ) {
        let mut replies = replies.into_iter();
        // The reply to EXEC is a list, in which each command of the transaction may have an error
        // of its own.
        let outcome = |reply: Reply| {
            reply
                .and_then(Value::extract_error)
                .map(drop)
                .map_err(failure)
        };
        let mut next = || replies.next().map_or_else(|| Err(unconfirmed()), outcome);
        for run in round.runs {
            if let [index] = run[..] {
                self.answer(index, next());
                continue;
            }
            let begun = next();
            let queued: Vec<_> = run.iter().map(|_| next()).collect();
            let executed = next();
            // Outside of a transaction each command was executed by itself.
            let mut answers = if begun.is_err() {
                queued
            } else {
                match queued.into_iter().chain([executed]).collect() {
                    Ok(()) => run.iter().map(|_| Ok(())).collect(),
                    Err(error) => vec![Err(error)],
                }
            };
            let sent = answers
                .iter()
                .position(Answer::is_err)
                .map_or(run.len(), |first| first + 1);
            answers.truncate(sent);
            answers.extend(run[sent..].iter().map(|_| Err(not_sent())));
            run.into_iter()
                .zip(answers)
                .for_each(|(index, answer)| self.answer(index, answer));
        }
    }

    /// The answers, once every round is over. An event without one failed with `error`.
    pub(super) fn into_answers(self, error: Option<&PublishError>) -> Vec<Answer> {
        let text = error.map_or_else(|| "it was not sent".to_owned(), PublishError::chain);
        let unsent = || Err(PublishError::unavailable(text.clone()));
        self.answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(unsent))
            .collect()
    }

    fn answer(&mut self, index: usize, answer: Answer) {
        match answer {
            Ok(()) => self.answers[index] = Some(Ok(())),
            Err(error) => self.fail(index, error),
        }
    }

    fn fail(&mut self, index: usize, error: PublishError) {
        self.failed.extend(self.aggregate(index));
        self.answers[index] = Some(Err(error));
    }

    /// The aggregate whose order holds for a delivery.
    fn aggregate(&self, index: usize) -> Option<Aggregate<'a>> {
        let envelope = &self.batch[index].envelope;
        envelope
            .is_ordered()
            .then(|| (&*envelope.aggregate_type, &*envelope.aggregate_id))
    }

    fn is_same_stream(&self, one: usize, other: usize) -> bool {
        self.batch[one].topic() == self.batch[other].topic()
    }
}

/// Adds a run to the commands of a round trip.
fn append(commands: &mut Pipeline, run: Vec<(usize, Cmd)>) -> Vec<usize> {
    let is_transaction = run.len() > 1;
    if is_transaction {
        commands.cmd("MULTI");
    }
    let mut indexes = Vec::with_capacity(run.len());
    for (index, command) in run {
        commands.add_command(command);
        indexes.push(index);
    }
    if is_transaction {
        commands.cmd("EXEC");
    }
    indexes
}

fn not_sent() -> PublishError {
    PublishError::unavailable("an earlier event of its aggregate failed, so it was not sent")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bento_core::Envelope;
    use bento_relay::publish::{Destination, FailureClass};
    use redis::{ErrorKind, ServerErrorKind};

    use super::*;

    /// `a1:x` is an event of the aggregate `a1` for the stream `x`; `:x` is one without an
    /// aggregate.
    fn batch(events: &[&str]) -> Vec<Delivery> {
        let delivery = |event: &&str| {
            let (aggregate, topic) = event.split_once(':').unwrap();
            let mut envelope = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
            (envelope.aggregate_type, envelope.aggregate_id) =
                ("thing".into(), aggregate.to_owned());
            Delivery::new(Arc::new(envelope), Destination::default().with_topic(topic))
        };
        events.iter().map(delivery).collect()
    }

    fn command(delivery: &Delivery) -> Result<Cmd, PublishError> {
        match &*delivery.topic() {
            "large" => Err(PublishError::permanent("it is too large")),
            topic => Ok(redis::cmd("XADD").arg(topic).take()),
        }
    }

    fn refused() -> Reply {
        Err(RedisError::from((
            ErrorKind::Server(ServerErrorKind::ExecAbort),
            "refused",
        )))
    }

    fn done() -> Reply {
        Ok(Value::Okay)
    }

    fn commands(round: &Round) -> Vec<String> {
        let word = |argument: redis::Arg<&[u8]>| match argument {
            redis::Arg::Simple(word) => String::from_utf8_lossy(word).into_owned(),
            _ => "?".to_owned(),
        };
        let text = |command: &Cmd| command.args_iter().map(word).collect::<Vec<_>>().join(" ");
        round.commands.cmd_iter().map(text).collect()
    }

    /// Sends a batch, with these replies to each of its round trips. Returns the commands of each,
    /// and how each event ended.
    fn send(
        events: &[&str],
        has_transactions: bool,
        replies: impl IntoIterator<Item = Vec<Reply>>,
    ) -> (Vec<Vec<String>>, Vec<Option<FailureClass>>) {
        let batch = batch(events);
        let (mut chains, mut sent) = (Chains::new(&batch), Vec::new());
        let mut replies = replies.into_iter();
        while let Some(round) = chains.next_round(has_transactions, command) {
            sent.push(commands(&round));
            let replies = replies
                .next()
                .unwrap_or_else(|| round.commands.cmd_iter().map(|_| done()).collect());
            chains.reply(round, replies, || {
                PublishError::unavailable("Redis sent no answer")
            });
        }
        let answers = chains.into_answers(None).into_iter();
        (
            sent,
            answers
                .map(|answer| answer.err().map(|error| error.class()))
                .collect(),
        )
    }

    const UNSENT: Option<FailureClass> = Some(FailureClass::Unavailable);

    #[test]
    fn a_run_is_one_transaction_and_an_event_alone_is_none() {
        let (sent, answers) = send(&["a:x", "b:x", "a:x", ":x", ":x"], true, []);
        assert_eq!(
            sent,
            [[
                "MULTI", "XADD x", "XADD x", "EXEC", "XADD x", "XADD x", "XADD x"
            ]]
        );
        assert_eq!(answers, [None; 5]);
    }

    #[test]
    fn an_aggregate_waits_before_its_next_stream() {
        let (sent, answers) = send(&["a:x", "a:y", "a:x", "b:x"], true, []);
        assert_eq!(
            sent,
            [vec!["XADD x", "XADD x"], vec!["XADD y"], vec!["XADD x"]]
        );
        assert_eq!(answers, [None; 4]);
        let (sent, answers) = send(&["a:x", "a:x", "b:x"], false, []);
        assert_eq!(sent, [vec!["XADD x", "XADD x"], vec!["XADD x"]]);
        assert_eq!(answers, [None; 3]);
    }

    #[test]
    fn an_event_that_is_too_large_stops_its_aggregate() {
        let (sent, answers) = send(&["a:x", "a:x", "a:large", "a:x", "b:x"], true, []);
        assert_eq!(sent, [["MULTI", "XADD x", "XADD x", "EXEC", "XADD x"]]);
        assert_eq!(
            answers,
            [None, None, Some(FailureClass::Permanent), UNSENT, None]
        );
    }

    #[test]
    fn a_refused_transaction_fails_its_run_and_the_rest() {
        for replies in [
            vec![done(), done(), done(), refused(), done()],
            vec![done(), done(), refused(), done(), done()],
            vec![done(), done()],
        ] {
            let is_answered = replies.len() > 2;
            let (sent, answers) = send(&["a:x", "a:x", "a:y", "b:x"], true, [replies]);
            assert_eq!(sent.len(), 1, "{sent:?}");
            assert_eq!(
                answers,
                [
                    UNSENT,
                    UNSENT,
                    UNSENT,
                    if is_answered { None } else { UNSENT }
                ]
            );
        }
    }

    #[test]
    fn a_transaction_that_was_executed_with_errors_confirms_nothing() {
        let executed =
            redis::parse_redis_value(b"*2\r\n-WRONGTYPE no stream\r\n-WRONGTYPE no stream\r\n");
        assert!(executed.is_ok(), "{executed:?}");
        let replies = vec![done(), done(), done(), executed, done()];
        let (_, answers) = send(&["a:x", "a:x", "b:x"], true, [replies]);
        assert_eq!(answers, [UNSENT, UNSENT, None]);
    }

    #[test]
    fn commands_outside_of_a_transaction_are_answered_by_themselves() {
        let replies = vec![refused(), done(), refused(), done(), refused()];
        let (_, answers) = send(&["a:x", "a:x", "a:x"], true, [replies]);
        assert_eq!(answers, [None, UNSENT, UNSENT]);
    }
}
