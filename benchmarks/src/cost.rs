//! What a piece of work costs: the time it takes, and the processor time of this process and of the database's sessions.
//!
//! The time on the clock is what a user waits for. The processor time is what is left of it when the disk is taken out, and the
//! only one of the two that another program on the same machine hardly disturbs. It is known where the database runs on this
//! machine and the system is Linux.

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
    /// Of the processor, here and in the database.
    pub processor: Option<Duration>,
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
}

impl Meter {
    /// Of all sessions that are open in the pool's database now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of(pool: &PgPool) -> Result<Self> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()";
        let sessions: Vec<i32> = sqlx::query_scalar(sql).fetch_all(pool).await?;
        let here = sessions.iter().all(|session| session_time(*session).is_some());
        Ok(Self { sessions: here.then_some(sessions) })
    }

    /// Begins to measure.
    pub fn start(&self) -> Running<'_> {
        Running { meter: self, processor: self.processor(), start: Instant::now() }
    }

    fn processor(&self) -> Option<Duration> {
        let sessions = self.sessions.as_ref()?.iter().map(|session| session_time(*session));
        let sessions: Duration = sessions.sum::<Option<Duration>>()?;
        let own = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok()?;
        Some(sessions + Duration::from(own))
    }
}

impl Running<'_> {
    /// The cost since the start.
    pub fn stop(self) -> Cost {
        let elapsed = self.start.elapsed();
        let processor = self.meter.processor().zip(self.processor).map(|(now, then)| now.saturating_sub(then));
        Cost { elapsed, processor }
    }
}

impl Div<u32> for Cost {
    type Output = Self;

    fn div(self, parts: u32) -> Self {
        Self { elapsed: self.elapsed / parts, processor: self.processor.map(|time| time / parts) }
    }
}

/// The processor time of a server process: the scheduler's own count, in nanoseconds.
fn session_time(process: i32) -> Option<Duration> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    let text = fs::read_to_string(format!("/proc/{process}/schedstat")).ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    (name.trim_end() == "postgres").then_some(Duration::from_nanos(nanos))
}
