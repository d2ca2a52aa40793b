//! The cost of a piece of work: its time, and the processor time of this process and of the
//! database's sessions.
//!
//! The time on the clock is what a user waits for. The processor time is what is left of it when
//! the disk is taken out, and the only one of the two that another program on the same machine
//! hardly disturbs. It is known where the database runs on this machine and the system is Linux.

use std::fs;
use std::ops::Div;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use sqlx::PgPool;

use crate::Result;

/// The cost of one piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// On the clock.
    pub elapsed: Duration,
    /// The processor time of this process and of the database; `None` if a session of the database
    /// has ended meanwhile.
    pub processor: Option<Duration>,
    /// The processor time of this process.
    pub client: Option<Duration>,
}

/// Knows which sessions of the database work for this process.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    sessions: Option<Vec<i32>>,
}

/// A measurement that has begun.
#[derive(Debug)]
pub struct Running<'a> {
    meter: &'a Meter,
    start: Instant,
    processor: Option<Duration>,
    client: Option<Duration>,
}

impl Meter {
    /// The meter of all sessions that are open in the pool's database now.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn of(pool: &PgPool) -> Result<Self> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()";
        let sessions: Vec<i32> = sqlx::query_scalar(sql).fetch_all(pool).await?;
        Ok(Self::of_sessions(sessions))
    }

    /// The meter of these processes or threads of a server; of none for a database that works in
    /// this process.
    pub fn of_sessions(sessions: Vec<i32>) -> Self {
        let here = sessions
            .iter()
            .all(|session| session_time(*session).is_some());
        Self {
            sessions: here.then_some(sessions),
        }
    }

    /// Begins to measure.
    pub fn start(&self) -> Running<'_> {
        Running {
            meter: self,
            processor: self.processor(),
            client: process_time(),
            start: Instant::now(),
        }
    }

    fn processor(&self) -> Option<Duration> {
        Some(sessions_time(self.sessions.as_ref()?)? + process_time()?)
    }
}

impl Running<'_> {
    /// The cost since the start.
    pub fn stop(self) -> Cost {
        let elapsed = self.start.elapsed();
        let since = |(now, then): (Duration, Duration)| now.saturating_sub(then);
        let client = process_time().zip(self.client).map(since);
        let processor = self.meter.processor().zip(self.processor).map(since);
        Cost {
            elapsed,
            processor,
            client,
        }
    }
}

impl Div<u32> for Cost {
    type Output = Self;

    fn div(self, parts: u32) -> Self {
        Self {
            elapsed: self.elapsed / parts,
            processor: self.processor.map(|time| time / parts),
            client: self.client.map(|time| time / parts),
        }
    }
}

/// The processor time of this process; `None` where the system does not tell.
pub fn process_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .ok()
        .map(Duration::from)
}

/// The processor time of processes or threads of a database server, together; `None` unless all of
/// them are on this machine.
pub fn sessions_time(sessions: &[i32]) -> Option<Duration> {
    sessions.iter().map(|session| session_time(*session)).sum()
}

/// The names that the processes and threads of servers go by.
const SERVERS: [&str; 4] = ["postgres", "mariadbd", "mysqld", "one_connection"];

/// The processor time of a server process: the scheduler's own count, in nanoseconds.
fn session_time(process: i32) -> Option<Duration> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    let text = fs::read_to_string(format!("/proc/{process}/schedstat")).ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    SERVERS
        .contains(&name.trim_end())
        .then_some(Duration::from_nanos(nanos))
}
