//! A process with a consumer, and what it tells.

use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use bento_tests::consuming::Point;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

/// Longer than any step takes; what does not end has failed.
pub const LIMIT: Duration = Duration::from_secs(180);

/// The counts that the processes of a test told, added up.
#[derive(Debug, Default)]
pub struct Tally {
    pub received: AtomicI64,
    pub stored: AtomicI64,
    pub repeated: AtomicI64,
    pub ignored: AtomicI64,
    pub refused: AtomicI64,
    /// The processes that ended before they reached their point.
    pub ended: AtomicU32,
}

/// The counts that one process told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub has_started: bool,
    pub received: i64,
    pub is_at_its_point: bool,
    pub has_ended: bool,
}

pub struct Process {
    child: Child,
    told: watch::Receiver<Told>,
}

impl Process {
    pub fn start(arguments: &[&str], log: File, tally: &Arc<Tally>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_consumer_worker"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the process starts");
        let (sender, told) = watch::channel(Told::default());
        let output = child.stdout.take().expect("it is piped");
        tokio::spawn(listen(output, sender, Arc::clone(tally)));
        Self { child, told }
    }

    pub fn told(&self) -> Told {
        *self.told.borrow()
    }

    /// Waits until the process told what is waited for. False if it has ended.
    pub async fn until(&mut self, what: &str, is_so: impl Fn(&Told) -> bool) -> bool {
        let wait = self.told.wait_for(|told| is_so(told) || told.has_ended);
        let waited = tokio::time::timeout(LIMIT, wait).await;
        let told = *waited.unwrap_or_else(|_| panic!("{what} in time")).unwrap();
        is_so(&told)
    }

    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Lets a process that is stopped go on.
    pub async fn go_on(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-CONT", &id]).status().await;
        assert!(status.unwrap().success());
    }

    /// Ends it as a platform does that gives it time.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
    }
}

async fn listen(output: ChildStdout, told: watch::Sender<Told>, tally: Arc<Tally>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (what, count) = line.split_once(' ').unwrap_or((&line, "0"));
        let count: i64 = count.parse().unwrap();
        match what {
            "received" => tally.received.fetch_add(count, Ordering::SeqCst),
            "stored" => tally.stored.fetch_add(count, Ordering::SeqCst),
            "repeated" => tally.repeated.fetch_add(count, Ordering::SeqCst),
            "ignored" => tally.ignored.fetch_add(count, Ordering::SeqCst),
            "refused" => tally.refused.fetch_add(count, Ordering::SeqCst),
            _ => 0,
        };
        told.send_modify(|told| match what {
            "started" => told.has_started = true,
            "received" => told.received += count,
            "here" => told.is_at_its_point = true,
            _ => {}
        });
    }
    told.send_modify(|told| told.has_ended = true);
}

/// A random call at a point: the first few messages or events of a process.
pub fn call(random: &mut fastrand::Rng, point: Point) -> u32 {
    match point {
        _ if point.is_of_source() => random.u32(1..=4),
        _ => random.u32(1..=30),
    }
}
