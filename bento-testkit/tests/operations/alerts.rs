//! A person is told of every dead letter, whatever the hook does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_relay::dead_letter::{AlertError, AlertHook, AlertSettings, Alerts, DeadLetter};
use bento_relay::publish::MemoryPublisher;
use bento_relay::telemetry::{ALERTED_EVENTS, FAILED_ALERTS};
use bento_relay::{MemoryStore, Relay};
use bento_testkit::Counters;
use tokio::sync::watch;

use crate::scene::{append, append_dead, event};

/// The answer of the hook to each call; the last answer is repeated.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Tells,
    Fails,
    Panics,
    Hangs,
}

#[derive(Clone, Debug)]
struct Hook {
    answers: Arc<Mutex<Vec<Answer>>>,
    calls: watch::Sender<Vec<String>>,
}

impl Hook {
    fn new(answers: &[Answer]) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.to_vec())),
            calls: watch::Sender::default(),
        }
    }

    async fn called(&self, times: usize) -> Vec<String> {
        let mut calls = self.calls.subscribe();
        let calls = tokio::time::timeout(
            Duration::from_secs(600),
            calls.wait_for(|calls| calls.len() >= times),
        )
        .await;
        calls.expect("the hook is called").unwrap().clone()
    }
}

impl AlertHook for Hook {
    async fn alert(&self, letters: &[DeadLetter]) -> Result<(), AlertError> {
        let tenants: Vec<_> = letters
            .iter()
            .filter_map(|letter| letter.envelope.tenant_id.as_deref())
            .collect();
        self.calls
            .send_modify(|calls| calls.push(tenants.join(" ")));
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            if answers.len() > 1 {
                answers.remove(0)
            } else {
                answers[0]
            }
        };
        // As one that sends something: others run meanwhile.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match answer {
            Answer::Tells => Ok(()),
            Answer::Fails => {
                Err(AlertError::new("the pager cannot be reached").because("no route to host"))
            }
            Answer::Panics => panic!("the pager panics"),
            Answer::Hangs => std::future::pending().await,
        }
    }
}

fn letter(tenant: &str) -> bento_core::Envelope {
    event(tenant, "thing.happened", 1, "{}")
}

#[tokio::test(start_paused = true)]
async fn every_letter_is_told_once_if_the_hook_answers() {
    let store = MemoryStore::default();
    append_dead(&store, [letter("a")]).await;
    let hook = Hook::new(&[Answer::Tells]);
    let alerts = Alerts::start(store.clone(), hook.clone(), AlertSettings::default());
    hook.called(1).await;
    append_dead(&store, [letter("b")]).await;
    assert_eq!(hook.called(2).await, ["a", "b"]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(hook.called(2).await.len(), 2);
    assert!(alerts.is_running());
    alerts.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_panics_or_hangs_is_called_again() {
    let counters = Counters::default();
    let recording = counters.record();
    let store = MemoryStore::default();
    append_dead(&store, [letter("a")]).await;
    let hook = Hook::new(&[Answer::Fails, Answer::Panics, Answer::Hangs, Answer::Tells]);
    let alerts = Alerts::start(store, hook.clone(), AlertSettings::default());
    assert_eq!(hook.called(4).await, ["a"; 4]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(hook.called(4).await.len(), 4);
    alerts.stop().await;
    drop(recording);
    assert_eq!(
        (counters.get(ALERTED_EVENTS), counters.get(FAILED_ALERTS)),
        (1, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn several_processes_tell_of_a_letter_once() {
    let store = MemoryStore::default();
    append_dead(
        &store,
        (0..120).map(|number| letter(&format!("t{number:03}"))),
    )
    .await;
    let hook = Hook::new(&[Answer::Tells]);
    let start = || Alerts::start(store.clone(), hook.clone(), AlertSettings::default());
    let (first, second) = (start(), start());
    hook.called(3).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let mut told: Vec<_> = hook
        .called(3)
        .await
        .iter()
        .flat_map(|call| call.split(' '))
        .map(str::to_owned)
        .collect();
    told.sort();
    assert_eq!(
        told,
        (0..120)
            .map(|number| format!("t{number:03}"))
            .collect::<Vec<_>>()
    );
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_hook_delays_no_relay_and_no_stop_for_long() {
    let store = MemoryStore::default();
    append_dead(&store, [letter("a")]).await;
    let hook = Hook::new(&[Answer::Hangs]);
    let alerts = Alerts::start(store.clone(), hook.clone(), AlertSettings::default());
    hook.called(1).await;
    let broker = MemoryPublisher::new();
    let relay = Relay::builder(store.clone(), broker.clone())
        .start()
        .unwrap();
    let before = tokio::time::Instant::now();
    append(&store, [letter("b")]);
    broker.wait_for(1).await;
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
    relay.stop().await.unwrap();
    alerts.stop().await;
    assert!(
        before.elapsed() < Duration::from_secs(40),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_ends_the_task() {
    let store = MemoryStore::default();
    let hook = Hook::new(&[Answer::Tells]);
    drop(Alerts::start(
        store.clone(),
        hook.clone(),
        AlertSettings::default(),
    ));
    append_dead(&store, [letter("a")]).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(*hook.calls.borrow(), Vec::<String>::new());
}
