//! The build of a version: stored events in pages, and the swap behind the last one.
//!
//! Each page is one transaction, which holds the row of the version: it reads the place, projects
//! the events behind it and moves the place. So a build that is killed goes on, in whatever process
//! takes it up, and two processes cannot build twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bento_core::{EventId, Registry};
use bento_relay::event_store::{Cursor, EventStoreError, Page};
use bento_seaorm::{
    BuildProgress, Built, OutboxTransaction, ProjectionKey, ProjectionRow, ProjectionStatus,
    Swapped,
};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::apply::{Applied, Event, Gaps, from_store};
use super::live::is_of_one_event;
use super::retiring::Retiring;
use super::{Projected, of_the_swap, rolled_back};
use crate::dispatcher::batch::in_time;
use crate::dispatcher::{Dispatcher, Shared, undone};
use crate::error::{Class, HandleError};
use crate::telemetry::{self, TARGET_PROJECT};

/// The time between two looks at a version that has nothing to build.
const LOOK: Duration = Duration::from_secs(1);

/// The time between two looks for versions that no relay serves any more.
const RETIRE: Duration = Duration::from_secs(10);

/// The pages after one that failed before a page is larger again.
const STEADY: u32 = 8;

/// The time between two words about the progress of a build.
const TELL: Duration = Duration::from_secs(10);

/// The longest wait after a failure of the database.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The time for which no other process builds after a page.
const LEASE: Duration = Duration::from_secs(15);

/// The tasks that build the projections of a process. They end with the dispatcher.
#[derive(Debug)]
pub(crate) struct Builds {
    builder: Uuid,
    have_started: AtomicBool,
    stop: CancellationToken,
    _stops: DropGuard,
}

impl Default for Builds {
    fn default() -> Self {
        let stop = CancellationToken::new();
        Self {
            builder: Uuid::now_v7(),
            have_started: AtomicBool::new(false),
            _stops: stop.clone().drop_guard(),
            stop,
        }
    }
}

impl Builds {
    /// Starts the tasks, once.
    pub(crate) fn start(&self, shared: &Arc<Shared>) {
        if self.have_started.swap(true, Ordering::Relaxed) {
            return;
        }
        for projected in shared.projections.values() {
            let building = Building {
                projected: Arc::clone(projected),
                shared: Arc::downgrade(shared),
                limit: projected.settings.largest_page(),
                steady: 0,
                wait: LOOK,
                is_checked: false,
                is_shown: false,
                is_counted: false,
                told: Instant::now(),
                told_of: None,
                retiring: Retiring::default(),
            };
            let stop = self.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(building.run()).await });
        }
    }
}

/// The task of one version.
struct Building {
    projected: Arc<Projected>,
    shared: Weak<Shared>,
    /// The events of the next page: fewer, once one of them has failed.
    limit: usize,
    /// The pages that have to succeed before there are more again.
    steady: u32,
    wait: Duration,
    is_checked: bool,
    /// True once the views show the version, which they do by a statement of their own on MySQL.
    is_shown: bool,
    is_counted: bool,
    /// The time at which the log was last told of the progress.
    told: Instant,
    /// The reason to wait of which the log was told last.
    told_of: Option<Waits>,
    retiring: Retiring,
}

/// The reason of a build to wait for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Everything is read, and no relay of the outbox brings what is stored from now on.
    Route,
    /// The next event is of a newer version than this release knows.
    Release(Option<EventId>),
}

/// The end of a page that has not failed.
enum Step {
    /// There is more to read.
    More { read: u64 },
    /// The build has ended.
    Swapped(Swapped),
    /// There is nothing to do now.
    Rest,
    /// Everything is read, and a relay of the outbox has to record the version.
    Unrouted,
}

/// The step of a build after a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Page,
    /// It looks at the row of the version again.
    Look,
}

impl Building {
    async fn run(mut self) {
        while let Some(shared) = self.shared.upgrade() {
            let dispatcher = Dispatcher { shared };
            let began = Instant::now();
            let rest = match self.look(&dispatcher).await {
                Ok(rest) => {
                    self.wait = LOOK;
                    rest.saturating_sub(began.elapsed())
                }
                Err(error) => {
                    tracing::warn!(
                        target: TARGET_PROJECT,
                        projection = self.projected.key.route(), error = error.chain(),
                        "a projection cannot be built now, will try again",
                    );
                    self.wait = (self.wait * 2).min(LONGEST_WAIT);
                    self.wait
                }
            };
            drop(dispatcher);
            if !rest.is_zero() {
                sleep(rest).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Does what is to be done now. Returns the time from its beginning to the next look.
    async fn look(&mut self, dispatcher: &Dispatcher) -> Result<Duration, HandleError> {
        let projected = Arc::clone(&self.projected);
        let (db, key) = (&dispatcher.shared.db, &projected.key);
        let Some(is_paused) = db.projection_route(key).await? else {
            // The relay that starts records it in a moment.
            return Ok(LOOK / 5);
        };
        let Some(row) = db.projection(key).await? else {
            db.record_projection(key, projected.first_status()).await?;
            return Ok(Duration::ZERO);
        };
        telemetry::set_stopped(key, row.stop.is_some());
        if !self.is_checked {
            self.check(dispatcher, &row).await?;
            self.is_checked = true;
            return Ok(Duration::ZERO);
        }
        let is_live = row.status == ProjectionStatus::Live;
        if is_live && !self.is_shown {
            // The process that has swapped may have died before it came to the views.
            db.show_projection(key, projected.descriptor.views).await?;
        }
        self.is_shown = is_live;
        if row.releases && !row.status.is_before_live() {
            let released = db.release_projection(key).await?;
            tracing::debug!(
                target: TARGET_PROJECT, projection = key.route(), released,
                "events that a build has raised are in the outbox",
            );
            return Ok(Duration::ZERO);
        }
        let waits = row.stop.is_some() || is_paused;
        match row.status {
            ProjectionStatus::Retired if row.stop.is_none() => {
                db.begin_build(key, &projected.selection()).await?;
                Ok(Duration::ZERO)
            }
            // It is left to the process that builds it, as long as that lives.
            ProjectionStatus::Building if !dispatcher.may_build(&row) => Ok(LOOK),
            ProjectionStatus::Building if !waits => {
                if !self.is_counted {
                    db.begin_build(key, &projected.selection()).await?;
                    self.is_counted = true;
                }
                self.tell(&row.build);
                // Between two looks at what an operator may have changed.
                let began = Instant::now();
                loop {
                    let page = Instant::now();
                    let (next, time) = self.build(dispatcher).await?;
                    let rest = time.saturating_sub(page.elapsed());
                    let is_over = next == Next::Look || began.elapsed() >= LOOK;
                    if is_over || !rest.is_zero() {
                        return Ok(began.elapsed() + rest);
                    }
                }
            }
            ProjectionStatus::Live if !waits => {
                self.retiring.look(dispatcher, key).await?;
                Ok(RETIRE)
            }
            _ => Ok(LOOK),
        }
    }

    /// Tells the log of the progress, from time to time.
    fn tell(&mut self, build: &BuildProgress) {
        if self.told.elapsed() < TELL {
            return;
        }
        self.told = Instant::now();
        tracing::info!(
            target: TARGET_PROJECT, projection = self.projected.key.route(),
            read = build.read, total = build.total, events_per_second = build.rate().round(),
            seconds_left = build.left().map(|left| left.as_secs()),
            "a projection is being built",
        );
    }

    /// Tells the log once for what a build waits.
    fn tell_of(&mut self, waits: Waits) {
        if self.told_of.replace(waits) == Some(waits) {
            return;
        }
        let projection = self.projected.key.route();
        match waits {
            Waits::Route => tracing::warn!(
                target: TARGET_PROJECT, projection,
                "a build has read every stored event, and waits for a relay of the outbox that has \
                 the projection: start one, or its next events would be missed",
            ),
            Waits::Release(event) => tracing::warn!(
                target: TARGET_PROJECT, projection, event = event.map(tracing::field::display),
                "a build waits at an event of a newer version than this release knows: deploy a \
                 release that knows it",
            ),
        }
    }

    /// Builds a page, and notes a failure of it. Returns what comes next, and the time from the
    /// beginning of the page to it.
    async fn build(&mut self, dispatcher: &Dispatcher) -> Result<(Next, Duration), HandleError> {
        let projected = Arc::clone(&self.projected);
        let key = &projected.key;
        let mut first = None;
        let built = dispatcher.build_page(&projected, self.limit, &mut first);
        let limit = dispatcher.shared.limits.of_page(&dispatcher.shared.db);
        match in_time(Some(limit), built).await {
            Ok(Step::More { read }) => {
                self.told_of = None;
                match self.steady {
                    0 => self.limit = (self.limit * 2).min(projected.settings.largest_page()),
                    _ => self.steady -= 1,
                }
                Ok((Next::Page, projected.settings.time_for(read)))
            }
            Ok(Step::Swapped(swapped)) => {
                tell(&projected, swapped);
                // To the views.
                Ok((Next::Look, Duration::ZERO))
            }
            Ok(Step::Rest) => Ok((Next::Look, LOOK)),
            Ok(Step::Unrouted) => {
                self.tell_of(Waits::Route);
                Ok((Next::Look, LOOK))
            }
            Err(error) if self.limit > 1 && is_of_one_event(&error) => {
                // One that is too large for its time would be again.
                (self.limit, self.steady) = ((self.limit / 2).max(1), STEADY);
                tracing::debug!(
                    target: TARGET_PROJECT, projection = key.route(), error = error.chain(),
                    "a page failed, the next one is smaller",
                );
                Ok((Next::Page, Duration::ZERO))
            }
            Err(error) if error.class == Class::Newer => {
                self.tell_of(Waits::Release(first));
                Ok((Next::Look, LOOK))
            }
            Err(error) if is_of_one_event(&error) => {
                dispatcher.note_failure(&projected, first, &error).await;
                Ok((Next::Look, LOOK))
            }
            Err(error) => Err(error),
        }
    }
}

impl Building {
    /// Checks once what can be known before the first event, and stops the version at a fault.
    async fn check(&self, dispatcher: &Dispatcher, row: &ProjectionRow) -> Result<(), HandleError> {
        let (projected, key) = (&self.projected, &self.projected.key);
        let mut faults = dispatcher.faults_of(projected, row).await?;
        let mut all = dispatcher.shared.projections.values();
        if all.next().is_some_and(|first| first.key == *key) {
            faults.extend(dispatcher.unserved().await?);
        }
        for fault in faults {
            if fault.stops() && row.stop.is_none() {
                let error = HandleError::permanent(fault.to_string());
                dispatcher.note_failure(projected, None, &error).await;
            } else {
                tracing::warn!(
                    target: TARGET_PROJECT, projection = key.route(), "{fault}",
                );
            }
        }
        Ok(())
    }
}

impl Dispatcher {
    /// Reads a page of stored events, projects it, and swaps behind the last one, in one
    /// transaction. `first` becomes the first event that was to be projected.
    async fn build_page(
        &self,
        projected: &Projected,
        limit: usize,
        first: &mut Option<EventId>,
    ) -> Result<Step, HandleError> {
        let (began, key) = (Instant::now(), &projected.key);
        // Not in the transaction: the pool may have no second connection.
        let ordered = self.shared.db.order_events().await;
        ordered.map_err(|error| self.own(error))?;
        let tx = self.begin(None).await?;
        let row = match self.lock_turn(&tx, key).await {
            // Whoever has it builds it, or projects what a relay has brought.
            Err(error) if error.class == Class::NotTried => return Ok(Step::Rest),
            row => row?,
        };
        let is_due = |row: &ProjectionRow| {
            row.status == ProjectionStatus::Building && row.stop.is_none() && self.may_build(row)
        };
        let row = match row {
            Some(row) if is_due(&row) => row,
            _ => {
                tx.rollback().await?;
                return Ok(Step::Rest);
            }
        };
        let page = self.read_page(projected, &row, &tx, limit).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => return Err(undone(tx, error).await),
        };
        let read = page.events.len() as u64;
        let taken = page.events.into_iter();
        let taken = taken.filter(|stored| projected.takes(&stored.envelope.event_type));
        let events: Vec<Event> = taken.map(|stored| from_store(stored.envelope)).collect();
        *first = events.first().map(|event| event.context.event_id());
        let tx = match self.apply_page(projected, &row, tx, &events).await? {
            Some(tx) => tx,
            None => return Ok(Step::More { read: 0 }),
        };
        let built = Built {
            place: page.next,
            read,
            worked: began.elapsed(),
            builder: self.shared.builds.builder,
            lease: LEASE,
        };
        let ended = async {
            let noted = tx.note_built(key, &built).await;
            noted.map_err(|error| self.own(error))?;
            if !page.is_last {
                return Ok(None);
            }
            // A build ends only where a relay brings what is stored from now on.
            let is_routed = tx.is_routed(key).await.map_err(|error| self.own(error))?;
            let has_stored = async || match takes_stored(projected) {
                true => Ok(true),
                false => tx.has_stored(key).await.map_err(|error| self.own(error)),
            };
            if !is_routed && has_stored().await? {
                return Ok(Some(Step::Unrouted));
            }
            let swapped = tx.swap_projection(key, projected.descriptor.views).await;
            Ok(Some(Step::Swapped(swapped.map_err(of_the_swap)?)))
        };
        let ended: Result<_, HandleError> = ended.await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => return Err(rolled_back(tx, error).await),
        };
        tx.commit().await.map_err(|error| self.own(error))?;
        telemetry::count_built(key, read);
        let total = row.build.total.max(row.build.read + read);
        telemetry::set_build_left(key, total - (row.build.read + read));
        Ok(ended.unwrap_or(Step::More { read }))
    }

    /// Locks the row of a version, and waits for whoever has it as long as a turn takes.
    pub(super) async fn lock_turn(
        &self,
        tx: &OutboxTransaction,
        key: &ProjectionKey,
    ) -> Result<Option<ProjectionRow>, HandleError> {
        // The server gives up first: a wait that is given up here alone would keep its connection.
        let wait = self.shared.limits.turn() * 9 / 10;
        self.in_turn(tx.lock_projection_within(key, wait)).await
    }

    /// True if no other process builds a version.
    fn may_build(&self, row: &ProjectionRow) -> bool {
        let own = self.shared.builds.builder;
        row.builder.is_none_or(|builder| builder == own)
    }

    /// Projects the events of a page. `None` if another process has projected them meanwhile, which
    /// holds no lock any more.
    async fn apply_page(
        &self,
        projected: &Projected,
        row: &ProjectionRow,
        tx: OutboxTransaction,
        events: &[Event],
    ) -> Result<Option<OutboxTransaction>, HandleError> {
        if events.is_empty() {
            return Ok(Some(tx));
        }
        match self.apply(projected, row, tx, events, Gaps::Left).await? {
            Applied::Written(tx) | Applied::Nothing(tx) => Ok(Some(tx)),
            Applied::Missing(_) => Ok(None),
        }
    }

    async fn read_page(
        &self,
        projected: &Projected,
        row: &ProjectionRow,
        tx: &OutboxTransaction,
        limit: usize,
    ) -> Result<Page, HandleError> {
        let place = row.place.as_deref().map_or(Ok(Cursor::START), str::parse);
        let place = place.map_err(|error| HandleError::permanent("").because(error))?;
        let page = tx.build_page(&projected.selection(), &place, limit).await;
        page.map_err(|error| match error {
            EventStoreError::Cursor { .. } => HandleError::permanent("").because(error),
            error => HandleError::from(error).not_tried(),
        })
    }
}

/// True if a projection takes events of an aggregate of this program whose events are stored.
fn takes_stored(projected: &Projected) -> bool {
    let aggregates = Registry::global().aggregates();
    let mut stored = aggregates.filter(|aggregate| aggregate.is_event_sourced);
    stored.any(|aggregate| {
        let mut events = aggregate.events.iter();
        events.any(|event| projected.takes(event.schema))
    })
}

fn tell(projected: &Projected, swapped: Swapped) {
    let (route, status) = (projected.key.route(), swapped.status);
    telemetry::set_build_left(&projected.key, 0);
    tracing::info!(
        target: TARGET_PROJECT, projection = route, %status, before = swapped.before,
        released = swapped.released,
        "the build of a projection has ended",
    );
}
