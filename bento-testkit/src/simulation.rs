//! Simulating the handlers of an application: their events with crashes, repetitions and in other
//! orders, repeatably from a seed.

use std::fmt::Debug;
use std::panic::Location;

mod course;
mod difference;
mod scene;
mod seeds;
mod step;
mod stream;

use self::course::{Chaos, Course, Outcome};
use self::difference::Difference;
pub use self::scene::Scene;
use self::seeds::Seeds;

/// The number of seeds, unless told otherwise.
const SEEDS: u64 = 32;

/// The courses that look for the cause of a difference, for each kind of chaos.
const COURSES: usize = 8;

/// Simulates the handlers of an application. `scene` makes all that one course of events needs
/// anew: a database, the fakes, the handlers, and what is read of them at the end.
///
/// The events are those in the outbox of the scene, which the application itself has raised, and
/// those of [`Scene::events`]; what the handlers raise goes on to the handlers that take it. The
/// first course brings them one by one in their order. Then each seed brings them in an order of
/// its own, in which only the events of an aggregate keep theirs. Some calls are cut off between
/// the effect and the commit, and some answers are lost, so that the event comes again. In the end
/// the state has to be that of the first course.
///
/// ```
/// use bento_core::{domain_event, raise};
/// use bento_handlers::{HandleError, Handlers, event_handler};
/// use bento_seaorm::OutboxTransaction;
/// use bento_testkit::{Scene, raised_by, simulate};
/// use sea_orm::{ConnectionTrait, Statement};
///
/// #[domain_event(schema = "order.confirmed", version = 1)]
/// #[derive(Clone, Debug)]
/// pub struct OrderConfirmed {
///     pub quantity: u32,
/// }
///
/// #[event_handler(name = "stock.reserve")]
/// async fn reserve(event: OrderConfirmed, tx: &OutboxTransaction) -> Result<(), HandleError> {
///     let update = format!("UPDATE stock SET free = free - {}", event.quantity);
///     tx.execute_unprepared(&update).await?;
///     Ok(())
/// }
///
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let simulated = simulate(async || {
///     let db = bento_testkit::database_in_memory().await;
///     db.execute_unprepared("CREATE TABLE stock AS SELECT 20 AS free").await.unwrap();
///     let events = raised_by(|| {
///         (1..=3).for_each(|quantity| raise(OrderConfirmed { quantity }).unwrap());
///     });
///     let read = db.clone();
///     let free = async move || {
///         let select = "SELECT free FROM stock";
///         let select = Statement::from_string(read.get_database_backend(), select);
///         let row = read.query_one_raw(select).await.unwrap().unwrap();
///         row.try_get_by_index::<i64>(0).unwrap()
///     };
///     Scene::new(Handlers::registered(), &db, free).events(events)
/// })
/// .seeds(8)
/// .run()
/// .await;
/// assert_eq!(simulated.state, 14);
/// # }
/// ```
///
/// # What it does not show
///
/// One call runs after another, each in a transaction of its own. Two that run at the same time,
/// and wait for each other's locks, are for a test against the real database. A crash leaves the
/// states of the handlers as they are: a fake stands for another system, which goes on. An event is
/// a dead letter after five attempts, whatever the retry policy says; waits between attempts and
/// the times that an event itself names pass at once.
#[track_caller]
pub fn simulate<F>(scene: F) -> Simulation<F> {
    Simulation {
        scene,
        seeds: Seeds::first(SEEDS),
        keeps_order: false,
        asked_at: Location::caller(),
    }
}

/// A simulation that has not run.
///
/// # Seeds
///
/// The seeds are 1, 2, 3 and so on, so that a test that passes passes again.
/// `BENTO_TEST_SEEDS=1000` runs more of them, and `BENTO_TEST_SEED=7` that one alone, as the
/// message of a failure says.
#[derive(Debug)]
#[must_use = "call `run`"]
pub struct Simulation<F> {
    scene: F,
    seeds: Seeds,
    keeps_order: bool,
    asked_at: &'static Location<'static>,
}

/// The result of a simulation that found no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Simulated<T> {
    /// The state at the end of each course.
    pub state: T,
    /// The number of seeds.
    pub seeds: u64,
    /// The deliveries of all courses.
    pub deliveries: u64,
    /// The calls that were cut off between the effect and the commit or the record.
    pub crashes: u64,
    /// The answers that were lost, so that a handled event came again.
    pub lost_answers: u64,
}

impl<F> Simulation<F> {
    /// Sets the number of seeds, 32 by default, unless the environment says otherwise.
    pub fn seeds(self, seeds: u64) -> Self {
        Self {
            seeds: Seeds::first(seeds),
            ..self
        }
    }

    /// Runs one seed alone: that which found a fault, so that it stays mended.
    pub fn seed(self, seed: u64) -> Self {
        Self {
            seeds: Seeds::one(seed),
            ..self
        }
    }

    /// Keeps the order between aggregates as well, for handlers whose result depends on it by
    /// intention: who comes first gets the last packet. Crashes and repetitions stay.
    pub fn in_order(self) -> Self {
        Self {
            keeps_order: true,
            ..self
        }
    }

    /// Runs the first course, and one for each seed.
    ///
    /// # Panics
    /// If a course ends in another state than the first, with other failures or after other events:
    /// with both, the seed and its whole course. If no handler takes any of the events.
    ///
    /// # Cancel safety
    /// The databases of the scenes are left as they are.
    pub async fn run<R, T>(self) -> Simulated<T>
    where
        F: AsyncFn() -> Scene<R>,
        R: AsyncFn() -> T,
        T: PartialEq + Debug,
    {
        let seeds = match self.seeds.or_of_environment() {
            Ok(seeds) => seeds,
            Err(message) => panic!("{message}"),
        };
        let plain = self.course(0, Chaos::default()).await;
        assert!(
            plain.counts.deliveries > 0,
            "no handler of the simulation at {} takes any of its events: raise some in the scene, \
             or add them by `events`",
            self.asked_at
        );
        let mut counts = plain.counts;
        let all = Chaos {
            crashes: true,
            reorders: !self.keeps_order,
        };
        for seed in seeds.iter() {
            let other = self.course(seed, all).await;
            counts.add(&other.counts);
            if !plain.is_same(&other) {
                let difference = self.explained(seed, all, plain, other).await;
                panic!("{difference}");
            }
        }
        Simulated {
            state: plain.state,
            seeds: seeds.len(),
            deliveries: counts.deliveries,
            crashes: counts.crashes,
            lost_answers: counts.lost_answers,
        }
    }

    /// A difference with its cause: courses with one kind of chaos alone, of this seed and some
    /// more.
    async fn explained<R, T>(
        &self,
        seed: u64,
        all: Chaos,
        plain: Outcome<T>,
        other: Outcome<T>,
    ) -> Difference<T>
    where
        F: AsyncFn() -> Scene<R>,
        R: AsyncFn() -> T,
        T: PartialEq + Debug,
    {
        let crashes = Chaos {
            reorders: false,
            ..all
        };
        let orders = Chaos {
            crashes: false,
            ..all
        };
        let needs_no_order = self.differs(seed, crashes, &plain).await;
        let needs_no_crash = all.reorders && self.differs(seed, orders, &plain).await;
        Difference {
            asked_at: self.asked_at,
            seed,
            plain,
            other,
            needs_no_order,
            needs_no_crash,
        }
    }

    /// True if one of several courses ends otherwise.
    async fn differs<R, T>(&self, seed: u64, chaos: Chaos, plain: &Outcome<T>) -> bool
    where
        F: AsyncFn() -> Scene<R>,
        R: AsyncFn() -> T,
        T: PartialEq,
    {
        for seed in (seed..).take(COURSES) {
            if !plain.is_same(&self.course(seed, chaos).await) {
                return true;
            }
        }
        false
    }

    /// One course through a scene of its own.
    async fn course<R, T>(&self, seed: u64, chaos: Chaos) -> Outcome<T>
    where
        F: AsyncFn() -> Scene<R>,
        R: AsyncFn() -> T,
    {
        let Scene {
            watched,
            events,
            state,
        } = (self.scene)().await;
        let mut course = Course::new(&watched, seed, chaos);
        course.run(events).await;
        let state = state().await;
        course.ended(state)
    }
}
