//! Reading the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<(Level, String, Line)>>>,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// The level, the name and the fields of a span.
type Span = (Level, &'static str, Line);

/// The fields of a line, the message among them.
pub type Line = BTreeMap<String, String>;

impl Log {
    /// The fields of the lines of this level and target.
    pub fn lines(&self, level: Level, target: &str) -> Vec<Line> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter(|line| line.0 == level && line.1 == target)
            .map(|line| line.2.clone())
            .collect()
    }

    /// The fields of the spans of this level and name. The driver of SQLite may keep a span for a
    /// moment longer than the call, so none has to have ended.
    pub fn spans(&self, level: Level, name: &str) -> Vec<Line> {
        let spans = self.spans.lock().unwrap();
        spans
            .iter()
            .filter(|span| span.0 == level && span.1 == name)
            .map(|span| span.2.clone())
            .collect()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let metadata = attributes.metadata();
        let mut spans = self.spans.lock().unwrap();
        let nth = Nth(spans.len());
        context.span(id).unwrap().extensions_mut().insert(nth);
        spans.push((*metadata.level(), metadata.name(), fields.0));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut fields = Fields::default();
        values.record(&mut fields);
        let extensions = span.extensions();
        let Nth(nth) = extensions.get().unwrap();
        self.spans.lock().unwrap()[*nth].2.extend(fields.0);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.lines.lock().unwrap().push((
            *event.metadata().level(),
            event.metadata().target().to_owned(),
            fields.0,
        ));
    }
}

/// The place of a span in the log.
struct Nth(usize);

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(
            field.name().to_owned(),
            format!("{value:?}").trim_matches('"').to_owned(),
        );
    }
}

/// The log of what this task does until the guard is dropped.
pub fn log() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::registry().with(log.clone());
    (log, tracing::subscriber::set_default(subscriber))
}
