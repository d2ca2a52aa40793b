//! The log, as lines of text.

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tracing_subscriber::fmt::MakeWriter;

pub(crate) use self::each_time::ask_each_time;

#[path = "../../../bento-testkit/tests/logs/each_time.rs"]
mod each_time;

/// A line that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The log of this thread from `start` until its guard is dropped. Clones are the same log.
#[derive(Clone)]
pub struct Log(watch::Sender<Vec<String>>);

impl Log {
    /// Starts to collect, for tests on one thread: the relay's tasks must run on it as well.
    pub fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self(watch::Sender::default());
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines so far that contain all of this.
    pub fn lines(&self, parts: &[&str]) -> Vec<String> {
        let has_all = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.0.borrow().iter().filter(has_all).cloned().collect()
    }

    /// Waits for a line that contains all of this.
    pub async fn line(&self, parts: &[&str]) -> String {
        let mut changes = self.0.subscribe();
        loop {
            if let Some(line) = self.lines(parts).pop() {
                return line;
            }
            let changed = tokio::time::timeout(PATIENCE, changes.changed()).await;
            changed
                .unwrap_or_else(|_| panic!("{parts:?} is not in {:#?}", self.lines(&[])))
                .unwrap();
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .send_modify(|lines| lines.push(String::from_utf8_lossy(line).into_owned()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
