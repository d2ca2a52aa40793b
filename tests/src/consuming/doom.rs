//! The point at which a process with a consumer is killed, and what it tells before.

#![allow(clippy::print_stdout, reason = "it is told to the parent")]

use std::future::pending;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::Point;

/// The point at which the process is killed, and the calls until then.
#[derive(Clone, Debug)]
pub struct Doom {
    point: Point,
    left: Arc<AtomicU32>,
}

impl Doom {
    /// A point, and the number of the call that ends there.
    pub fn new(point: Point, call: u32) -> Self {
        Self {
            point,
            left: Arc::new(AtomicU32::new(call)),
        }
    }

    /// Stands still if this is the point, and the call the last one.
    pub async fn at(&self, point: Point) {
        match self.calls_left(point) {
            Some(1) if point == Point::Stop => stop(),
            Some(0) if point == Point::Stop => {}
            Some(1) => {
                println!("here");
                pending().await
            }
            Some(0) => pending().await,
            _ => {}
        }
    }

    /// As [`at`](Self::at), where nothing can be awaited: the thread stands still.
    fn block_at(&self, point: Point) {
        match self.calls_left(point) {
            Some(1) => println!("here"),
            Some(0) => {}
            _ => return,
        }
        loop {
            std::thread::park();
        }
    }

    /// The calls that are left at this point, this one included; `None` if it is another point.
    fn calls_left(&self, point: Point) -> Option<u32> {
        if self.point != point {
            return None;
        }
        let one_less = |left: u32| Some(left.saturating_sub(1));
        let left = (self.left).fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        Some(left.unwrap_or_default())
    }

    /// Tells the parent what the source received, and stands still behind the commit of a handler.
    pub fn listen(&self) {
        let listener = Listener(self.clone());
        metrics::set_global_recorder(listener).expect("nobody else listens");
    }
}

/// Stops this process, until somebody lets it go on.
fn stop() {
    println!("here");
    let id = std::process::id().to_string();
    let status = Command::new("kill").args(["-STOP", &id]).status();
    assert!(status.is_ok_and(|status| status.success()), "it stops");
    println!("on");
}

/// Hears of what is counted.
#[derive(Debug)]
struct Listener(Doom);

/// The messages of an outcome are told.
struct Told(String);

impl CounterFn for Told {
    fn increment(&self, value: u64) {
        println!("{} {value}", self.0);
    }

    fn absolute(&self, _: u64) {}
}

/// An event that was handled by the first handler: its commit is behind it.
struct Handled(Doom);

impl CounterFn for Handled {
    fn increment(&self, _: u64) {
        self.0.block_at(Point::BeforeAdvance);
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Listener {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let label = |name: &str| {
            let mut labels = key.labels();
            let label = labels.find(|label| label.key() == name);
            label.map_or("", |label| label.value()).to_owned()
        };
        match key.name() {
            bento_handlers::telemetry::RECEIVED_MESSAGES => {
                Counter::from_arc(Arc::new(Told(label("outcome"))))
            }
            bento_handlers::telemetry::HANDLED_EVENTS
                if label("handler") == super::ONE && label("outcome") == "handled" =>
            {
                Counter::from_arc(Arc::new(Handled(self.0.clone())))
            }
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
