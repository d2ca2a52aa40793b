//! The build of a version: stored events in pages, and the swap behind the last one.
//!
//! Each page is one transaction, which holds the row of the version: it reads the place, projects
//! the events behind it and moves the place. So a build that is killed goes on, in whatever process
//! takes it up, and two processes cannot build twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bento_core::EventId;
use bento_relay::event_store::{Cursor, EventStoreError, Page};
use bento_seaorm::{
    BuildProgress, Built, Error, OutboxStore, OutboxTransaction, ProjectionKey, ProjectionRow,
    ProjectionStatus, Projections, Swapped,
};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::apply::{Applied, Event, Gaps, from_store};
use super::live::is_of_one_event;
use super::{Projected, own};
use crate::dispatcher::batch::in_time;
use crate::dispatcher::{Dispatcher, Shared, undone};
use crate::error::HandleError;
use crate::telemetry::{self, TARGET_PROJECT};

/// The time between two looks at a version that has nothing to build.
const LOOK: Duration = Duration::from_secs(1);

/// The time between two looks for versions that no relay serves any more.
const RETIRE: Duration = Duration::from_secs(10);

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
                limit: projected.settings.page,
                wait: LOOK,
                is_checked: false,
                is_shown: false,
                is_counted: false,
                told: Instant::now(),
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
    wait: Duration,
    is_checked: bool,
    /// True once the views show the version, which they do by a statement of their own on MySQL.
    is_shown: bool,
    is_counted: bool,
    /// The time at which the log was last told of the progress.
    told: Instant,
}

/// The end of a page that has not failed.
enum Step {
    /// There is more to read.
    More { read: u64 },
    /// The build has ended.
    Swapped(Swapped),
    /// There is nothing to do now.
    Rest,
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
            self.is_checked = true;
            self.check(dispatcher, &row).await?;
            return Ok(Duration::ZERO);
        }
        let is_live = row.status == ProjectionStatus::Live;
        if is_live && !self.is_shown {
            // The process that has swapped may have died before it came to the views.
            db.show_projection(key, projected.descriptor.views).await?;
        }
        self.is_shown = is_live;
        let waits = row.stop.is_some() || is_paused;
        match row.status {
            ProjectionStatus::Retired => {
                db.begin_build(key).await?;
                Ok(Duration::ZERO)
            }
            ProjectionStatus::Building if !waits => {
                if !self.is_counted {
                    self.is_counted = true;
                    db.begin_build(key).await?;
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
                self.retire_others(dispatcher).await?;
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
                self.limit = (self.limit * 2).min(projected.settings.page);
                Ok((Next::Page, projected.settings.time_for(read)))
            }
            Ok(Step::Swapped(swapped)) => {
                tell(&projected, swapped);
                // To the views.
                Ok((Next::Look, Duration::ZERO))
            }
            Ok(Step::Rest) => Ok((Next::Look, LOOK)),
            Err(error) if self.limit > 1 && is_of_one_event(&error) => {
                self.limit = (self.limit / 2).max(1);
                tracing::debug!(
                    target: TARGET_PROJECT, projection = key.route(), error = error.chain(),
                    "a page failed, the next one is smaller",
                );
                Ok((Next::Page, Duration::ZERO))
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

    /// Retires the lower versions that no relay serves any more.
    async fn retire_others(&self, dispatcher: &Dispatcher) -> Result<(), HandleError> {
        let (db, key) = (&dispatcher.shared.db, &self.projected.key);
        let rows = db.projections().await?;
        let is_replaced = |other: &ProjectionKey, status| {
            other.name == key.name && status == ProjectionStatus::Replaced
        };
        if !rows
            .iter()
            .any(|(other, row)| is_replaced(other, row.status))
        {
            return Ok(());
        }
        let store = OutboxStore::new(db.inner().clone());
        let projections = Projections::new(store.with_table_prefix(db.table_prefix().clone()));
        for state in projections.list().await? {
            if is_replaced(&state.key, state.status) && state.served_by.is_empty() {
                projections.retire(&state.key).await?;
                tracing::info!(
                    target: TARGET_PROJECT, projection = state.key.route(),
                    "a version is retired: a higher one is live, and no relay serves it; its \
                     tables are as they were",
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
        let builder = self.shared.builds.builder;
        let tx = self.begin(None).await?;
        let row = self.in_turn(tx.lock_projection(key)).await?;
        let is_mine = |row: &ProjectionRow| row.builder.is_none_or(|other| other == builder);
        let row = match row {
            Some(row)
                if row.status == ProjectionStatus::Building
                    && row.stop.is_none()
                    && is_mine(&row) =>
            {
                row
            }
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
            builder,
            lease: LEASE,
        };
        // A build ends only where a relay brings what is stored from now on, or nothing is stored.
        let ended = async {
            tx.note_built(key, &built).await?;
            let has_events = row.build.read + read > 0;
            let is_at_the_end = page.is_last && (!has_events || tx.is_routed(key).await?);
            match is_at_the_end {
                true => tx
                    .swap_projection(key, projected.descriptor.views)
                    .await
                    .map(Some),
                false => Ok(None),
            }
        };
        let ended: Result<_, Error> = ended.await;
        let swapped = match ended {
            Ok(swapped) => swapped,
            Err(error) => return Err(undone(tx, own(error)).await),
        };
        tx.commit().await.map_err(own)?;
        telemetry::count_built(key, read);
        let total = row.build.total.max(row.build.read + read);
        telemetry::set_build_left(key, total - (row.build.read + read));
        Ok(match swapped {
            Some(swapped) => Step::Swapped(swapped),
            None if page.is_last => Step::Rest,
            None => Step::More { read },
        })
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
        let page = tx
            .build_page(&self.shared.db, &projected.selection(), &place, limit)
            .await;
        page.map_err(|error| match error {
            EventStoreError::Cursor { .. } => HandleError::permanent("").because(error),
            error => HandleError::from(error).not_tried(),
        })
    }
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
