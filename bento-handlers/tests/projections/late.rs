//! Transactions that lie in every way around the end of a build: a new version misses none of their
//! events, and projects none twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bento_core::{EventSourced as _, raise};
use bento_handlers::{Batch, Dispatcher, HandleError, Handlers, ProjectionSettings, projection};
use bento_relay::publish::{PublishError, Publisher as _, RelayTerms};
use bento_seaorm::{OutboxConnection, OutboxTransaction, ProjectionKey, ProjectionStatus};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, TransactionTrait};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::scene::{
    Credited, LARGE, Large, Ledger, LedgerEvent, Opened, Scene, add, deliver, number_of_waiting,
};
use crate::support::{TestDatabase, in_database};

/// Longer than any step takes; what does not end has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// The events of the store before a build: a full page and one more.
const HISTORY: i64 = 12;

/// The most events of a page.
const PAGE: usize = 11;

/// The most events of a page that holds everything.
const ONE_PAGE: usize = 100;

/// The points of a build, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    /// Nothing is read.
    Start,
    /// The first page is read, and not committed.
    First,
    /// The second page is read, which is the last one, or on PostgreSQL the last but one.
    Second,
    /// The last page is read and projected, and the swap waits for the row of the live version.
    Swap,
    /// The version is live in the transaction of the swap, which is not committed.
    Swapped,
    /// The swap is committed.
    Done,
}
use Point::{Done, First, Second, Start, Swap, Swapped};

const POINTS: [Point; 6] = [Start, First, Second, Swap, Swapped, Done];

/// The points at which a transaction appends its events, and at which it commits.
type Writing = (Point, Point);

/// Every way in which a transaction can lie around the build.
fn writings() -> Vec<Writing> {
    let from = |begun| POINTS.into_iter().map(move |committed| (begun, committed));
    let all = POINTS.into_iter().flat_map(from);
    all.filter(|(begun, committed)| begun <= committed)
        .collect()
}

/// Stops the first two pages of a build, until the test lets each go on.
#[derive(Debug)]
struct Gate {
    calls: AtomicU32,
    reached: watch::Sender<u32>,
    open: watch::Sender<u32>,
}

impl Gate {
    fn shut() -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicU32::new(0),
            reached: watch::Sender::new(0),
            open: watch::Sender::new(0),
        })
    }

    async fn pass(&self) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.reached.send_replace(call);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open >= call).await.unwrap();
    }

    async fn until(&self, call: u32) {
        let mut reached = self.reached.subscribe();
        let reached = reached.wait_for(|reached| *reached >= call);
        timeout(LIMIT, reached)
            .await
            .expect("it is called")
            .unwrap();
    }

    fn open(&self, calls: u32) {
        self.open.send_replace(calls);
    }
}

#[projection(name = "gated", version = 2, views = "gated")]
struct Gated(Arc<Gate>);

impl Gated {
    async fn project(
        &self,
        events: Batch<LedgerEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        for (event, context) in events.with_context() {
            let id = &context.envelope().aggregate_id;
            match event {
                LedgerEvent::Opened(_) => {
                    let insert = format!("INSERT INTO gated_v2 VALUES ('{id}', 0, 1)");
                    tx.execute_unprepared(&insert).await?;
                }
                LedgerEvent::Credited(credited) => {
                    let cents = credited.cents;
                    add(tx, "gated_v2", id, &format!("cents = cents + {cents}")).await?;
                    if cents >= LARGE {
                        raise(Large { cents })?;
                    }
                }
            }
        }
        self.0.pass().await;
        Ok(())
    }
}

/// A higher version, which is built at the same time.
#[projection(name = "gated", version = 3, views = "gated")]
struct GatedNext(Arc<Gate>);

impl GatedNext {
    async fn project(
        &self,
        events: Batch<LedgerEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        let update = format!("UPDATE gated_v3 SET events = events + {}", events.len());
        tx.execute_unprepared(&update).await?;
        self.0.pass().await;
        Ok(())
    }
}

fn key() -> ProjectionKey {
    ProjectionKey::new("gated", 2)
}

/// Appends two events to a ledger, and opens it if there is none.
async fn append(db: &OutboxConnection, id: &str) -> OutboxTransaction {
    let tx = db.begin().await.unwrap();
    let mut ledger = tx.load::<Ledger>(id).await.unwrap();
    let ledger = ledger.get_or_insert_with(|| {
        let mut ledger = Ledger::with_id(id.to_owned());
        let owner = "Ann".to_owned();
        ledger.raise(Opened { owner });
        ledger
    });
    ledger.raise(Credited { cents: 5 });
    ledger.raise(Credited { cents: 7 });
    tx.save(ledger).await.unwrap();
    tx
}

async fn write(db: OutboxConnection, id: &str) {
    append(&db, id).await.commit().await.unwrap();
}

/// A transaction that appends to a ledger at one point, and commits at another.
struct Writer<'a> {
    scene: &'a Scene<'a>,
    ledger: &'static str,
    writing: Writing,
    open: Option<OutboxTransaction>,
}

impl Writer<'_> {
    /// Returns true if it has committed.
    async fn at(&mut self, point: Point) -> bool {
        if self.writing.0 == point {
            self.open = Some(append(&self.scene.db, self.ledger).await);
        }
        match self.open.take_if(|_| self.writing.1 == point) {
            Some(tx) => tx.commit().await.map(|_| true).unwrap(),
            None => false,
        }
    }
}

type Answers = JoinHandle<Vec<Result<(), PublishError>>>;

/// One build, and what holds it.
struct Case<'a> {
    scene: &'a Scene<'a>,
    dispatcher: Dispatcher,
    gate: Arc<Gate>,
    /// The most events of a page.
    page: usize,
    /// Holds the row of the live version.
    row: Option<DatabaseTransaction>,
    /// Holds what the swap needs behind its statements.
    end: Option<DatabaseTransaction>,
}

impl<'a> Case<'a> {
    /// A store with a history, and a version that is to be built beside a live one.
    async fn on(scene: &'a Scene<'a>, page: usize) -> Self {
        let db = &scene.database.db;
        let log = scene.database.is(DbBackend::MySql);
        for reset in [
            "DELETE FROM bento_event",
            "DELETE FROM bento_event_stream",
            if log {
                "DELETE FROM bento_event_log"
            } else {
                "SELECT 1"
            },
            "DELETE FROM bento_projection_checkpoint",
            "DELETE FROM gated_v2",
            "UPDATE bento_projection SET status = 'building', place = NULL, builder = NULL, built \
             = 0 WHERE version = 2",
            "UPDATE bento_projection SET status = 'live' WHERE version = 1",
        ] {
            db.execute_unprepared(reset).await.unwrap();
        }
        // On MariaDB the end of the swap waits until a deleted row of the same event is purged, and
        // with it for every transaction that is open.
        let first = if log { 1 } else { LARGE };
        let credits = (1..HISTORY).map(|credit| if credit == 1 { first } else { credit });
        scene.credit("A", credits).await;
        let delete = "DELETE FROM bento_outbox";
        db.execute_unprepared(delete).await.unwrap();
        let gate = Gate::shut();
        let dispatcher = scene.dispatcher(gated(&gate, page)).await;
        Self {
            scene,
            dispatcher,
            gate,
            page,
            row: None,
            end: None,
        }
    }

    /// A transaction that has a lock.
    async fn lock(&self, statement: &str) -> Option<DatabaseTransaction> {
        let tx = self.scene.database.db.begin().await.unwrap();
        tx.execute_unprepared(statement).await.unwrap();
        Some(tx)
    }

    /// Lets the build go on to a point.
    async fn go_on_to(&mut self, point: Point) {
        let is_postgres = self.scene.database.is(DbBackend::Postgres);
        match point {
            Start => {
                let row = "SELECT 1 FROM bento_projection WHERE name = 'gated' AND version = 1 FOR \
                           UPDATE";
                self.row = self.lock(row).await;
            }
            First => {
                let terms = RelayTerms::new(LIMIT * 3, LIMIT);
                self.dispatcher.prepare(&terms).unwrap();
                self.gate.until(1).await;
            }
            // The first page is the last one.
            Second if self.page > PAGE => {}
            Second => {
                self.gate.open(1);
                self.gate.until(2).await;
            }
            Swap => {
                self.gate.open(u32::MAX);
                self.until_it_waits("SELECT version FROM%", 1).await;
            }
            Swapped => {
                let (end, behind) = match is_postgres {
                    true => ("LOCK TABLE gated IN ACCESS SHARE MODE", "DROP VIEW%"),
                    false => (
                        "LOCK TABLES bento_projection_effect WRITE",
                        "SELECT MAX(position)%",
                    ),
                };
                self.end = self.lock(end).await;
                self.row.take().unwrap().rollback().await.unwrap();
                self.until_it_waits(behind, 1).await;
            }
            Done => {
                let end = self.end.take().unwrap();
                if !is_postgres {
                    end.execute_unprepared("UNLOCK TABLES").await.unwrap();
                }
                end.rollback().await.unwrap();
                self.scene.until_live(&key()).await;
            }
        }
    }

    /// Waits until this number of statements of a text wait for a lock.
    async fn until_it_waits(&self, statement: &str, times: i64) {
        let waiting = match self.scene.database.backend() {
            DbBackend::Postgres => format!(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
                 wait_event_type = 'Lock' AND query LIKE '{statement}'"
            ),
            _ => format!(
                "SELECT count(*) FROM information_schema.processlist p LEFT JOIN \
                 information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id WHERE p.db = \
                 DATABASE() AND p.info LIKE '{statement}' AND (t.trx_state = 'LOCK WAIT' OR \
                 p.state LIKE 'Waiting for table%')"
            ),
        };
        let look =
            async { while number_of_waiting(self.scene.database, &waiting).await < times {} };
        let waits = timeout(LIMIT, look).await;
        waits.unwrap_or_else(|_| panic!("nothing waits in {statement}"));
    }

    /// Brings the events of a ledger, as a relay does that has found them in the outbox.
    async fn bring(&self, ledger: &str) -> Answers {
        let mut deliveries = self.scene.deliveries(&key()).await;
        deliveries.retain(|delivery| delivery.envelope.aggregate_id == ledger);
        assert!(!deliveries.is_empty(), "{ledger} is committed");
        let dispatcher = self.dispatcher.clone();
        tokio::spawn(async move { deliver(&dispatcher, &deliveries).await })
    }

    /// Asserts that each event is in the read model once, and also if relays bring them again.
    async fn end(self, brought: Vec<Answers>, case: &str) {
        self.assert_equal(brought, case).await;
        let again = vec![self.bring("A").await, self.bring("X").await];
        self.assert_equal(again, &format!("{case}, again")).await;
        let schemas = self.scene.database.schemas().await;
        let raised = schemas.iter().filter(|schema| *schema == "balance.large");
        let expected = usize::from(!self.scene.database.is(DbBackend::MySql));
        assert_eq!(raised.count(), expected, "{case}");
    }

    async fn assert_equal(&self, brought: Vec<Answers>, case: &str) {
        for answers in brought {
            let answers = timeout(LIMIT, answers).await.unwrap().unwrap();
            assert!(answers.iter().all(Result::is_ok), "{case}: {answers:?}");
        }
        let by_hand = self.scene.by_hand().await;
        assert_eq!(self.scene.balances("gated_v2").await, by_hand, "{case}");
        assert_eq!(self.scene.balances("gated").await, by_hand, "{case}");
    }
}

fn gated(gate: &Arc<Gate>, page: usize) -> Handlers {
    let page = ProjectionSettings::default().page(page);
    Handlers::new(())
        .projection(Gated(Arc::clone(gate)))
        .configure_projection("gated", page)
}

/// Tables of the version that is built, and of one that is live; the route is recorded by a relay.
async fn with_a_live_version(scene: &Scene<'_>) {
    let live = "INSERT INTO bento_projection (name, version, status, created_at) VALUES ('gated', \
                1, 'live', CURRENT_TIMESTAMP)";
    let columns = "(id VARCHAR(64) NOT NULL PRIMARY KEY, cents BIGINT NOT NULL, entries BIGINT \
                   NOT NULL)";
    for create in [
        &format!("CREATE TABLE gated_v1 {columns}"),
        &format!("CREATE TABLE gated_v2 {columns}"),
        "CREATE VIEW gated AS SELECT * FROM gated_v1",
        live,
    ] {
        let db = &scene.database.db;
        db.execute_unprepared(create).await.unwrap();
    }
    let gate = Gate::shut();
    gate.open(u32::MAX);
    let dispatcher = scene.dispatcher(gated(&gate, PAGE)).await;
    let relay = scene.relay_of(dispatcher).await;
    scene.until_live(&key()).await;
    relay.stop().await.unwrap();
}

/// In each case one transaction opens a ledger, and another one, that lies otherwise, goes on with
/// one that the build reads.
async fn nothing_is_missed_or_doubled(database: &TestDatabase, page: usize) {
    let scene = Scene::on(database).await;
    with_a_live_version(&scene).await;
    let writings = writings();
    for (nth, &one) in writings.iter().enumerate() {
        let other = writings[(nth * 8 + 5) % writings.len()];
        let writer = |ledger, writing| Writer {
            scene: &scene,
            ledger,
            writing,
            open: None,
        };
        let mut writers = [writer("X", one), writer("A", other)];
        let mut case = Case::on(&scene, page).await;
        let mut brought = Vec::new();
        for point in POINTS {
            case.go_on_to(point).await;
            for writer in &mut writers {
                if writer.at(point).await {
                    brought.push(case.bring(writer.ledger).await);
                }
            }
        }
        case.end(brought, &format!("{one:?} and {other:?}")).await;
    }
}

/// Both swaps wait for the row of the live version, the one of the higher version first.
async fn the_higher_of_two_builds_stays_live(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    with_a_live_version(&scene).await;
    let mut case = Case::on(&scene, ONE_PAGE).await;
    for create in [
        "CREATE TABLE gated_v3 (events BIGINT NOT NULL)",
        "INSERT INTO gated_v3 VALUES (0)",
    ] {
        database.db.execute_unprepared(create).await.unwrap();
    }
    let higher = Gate::shut();
    let handlers = gated(&case.gate, ONE_PAGE).projection(GatedNext(Arc::clone(&higher)));
    case.dispatcher = scene.dispatcher(handlers).await;
    case.go_on_to(Start).await;
    let relay = scene.relay_of(case.dispatcher.clone()).await;
    case.gate.until(1).await;
    higher.until(1).await;
    higher.open(u32::MAX);
    case.until_it_waits("SELECT version FROM%", 1).await;
    case.gate.open(u32::MAX);
    case.until_it_waits("SELECT version FROM%", 2).await;
    case.row.take().unwrap().rollback().await.unwrap();
    let third = ProjectionKey::new("gated", 3);
    scene.until_live(&third).await;
    scene
        .until(&key(), |state| state.status == ProjectionStatus::Replaced)
        .await;
    assert_eq!(scene.db.live_version("gated").await.unwrap(), Some(3));
    let shown = timeout(LIMIT, async {
        let shows = "SELECT events FROM gated";
        let shows = sea_orm::Statement::from_string(database.backend(), shows);
        while database.db.query_one_raw(shows.clone()).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    shown.await.expect("the view shows version 3");
    relay.stop().await.unwrap();
}

/// SQLite has one transaction at a time, so that those of the writers lie before a page or behind
/// it. A transaction that begins while a page is open waits for its end.
async fn nothing_is_missed_or_doubled_between_pages(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    with_a_live_version(&scene).await;
    for begun in [Start, First, Second, Done] {
        let mut case = Case::on(&scene, PAGE).await;
        let (mut writing, mut brought) = (Vec::new(), Vec::new());
        for point in [Start, First, Second, Done] {
            match point {
                Start => {}
                Done => {
                    case.gate.open(u32::MAX);
                    scene.until_live(&key()).await;
                }
                _ => case.go_on_to(point).await,
            }
            if point != begun {
                continue;
            }
            for ledger in ["X", "A"] {
                let written = tokio::spawn(write(scene.db.clone(), ledger));
                if matches!(point, First | Second) {
                    writing.push(written);
                } else {
                    written.await.unwrap();
                    brought.push(case.bring(ledger).await);
                }
            }
        }
        for written in writing {
            timeout(LIMIT, written).await.unwrap().unwrap();
        }
        if brought.is_empty() {
            brought.extend([case.bring("X").await, case.bring("A").await]);
        }
        case.end(brought, &format!("{begun:?}")).await;
    }
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn late_commits_are_projected_once() {
        let test = nothing_is_missed_or_doubled_between_pages;
        in_database(DbBackend::Sqlite, test).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_higher_of_two_versions_stays_live() {
        in_database(DbBackend::Postgres, the_higher_of_two_builds_stays_live).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn late_commits_are_projected_once() {
        in_database(DbBackend::Postgres, async |database| {
            nothing_is_missed_or_doubled(database, PAGE).await;
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn late_commits_around_one_page_are_projected_once() {
        in_database(DbBackend::Postgres, async |database| {
            nothing_is_missed_or_doubled(database, ONE_PAGE).await;
        })
        .await;
    }
}

mod mysql {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_higher_of_two_versions_stays_live() {
        in_database(DbBackend::MySql, the_higher_of_two_builds_stays_live).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn late_commits_are_projected_once() {
        in_database(DbBackend::MySql, async |database| {
            nothing_is_missed_or_doubled(database, PAGE).await;
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn late_commits_around_one_page_are_projected_once() {
        in_database(DbBackend::MySql, async |database| {
            nothing_is_missed_or_doubled(database, ONE_PAGE).await;
        })
        .await;
    }
}
