//! The telemetry of a hop, as OpenTelemetry exports it.

use bento_core::Aggregate as _;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// Exports every span of this thread as it ends, until the guard goes.
struct Telemetry {
    exporter: InMemorySpanExporter,
    _guard: DefaultGuard,
}

impl Telemetry {
    fn new() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        Self {
            exporter,
            _guard: guard,
        }
    }

    /// The only span of this name.
    fn span(&self, name: &str) -> SpanData {
        let [span] = &self.spans(name)[..] else {
            panic!("one span `{name}`")
        };
        span.clone()
    }

    fn spans(&self, name: &str) -> Vec<SpanData> {
        let spans = self.exporter.get_finished_spans().unwrap();
        spans.into_iter().filter(|span| span.name == name).collect()
    }
}

fn parent_header(span: &SpanData) -> String {
    format!(
        "00-{}-{}-01",
        span.span_context.trace_id(),
        span.span_context.span_id()
    )
}

#[tokio::test]
async fn the_trace_of_a_request_goes_on_up_to_the_broker() {
    let (scene, telemetry) = (Scene::new(), Telemetry::new());
    tracing::info_span!("request").in_scope(|| scene.create_order());
    // The span around the relay is not part of the trace.
    let serving = tracing::info_span!("serving").entered();
    let [delivery] = &scene.relayed().await[..] else {
        panic!("one event")
    };
    drop(serving);
    let (request, publish) = (telemetry.span("request"), telemetry.span("bento.publish"));
    assert_eq!(
        publish.span_context.trace_id(),
        request.span_context.trace_id()
    );
    assert_eq!(publish.parent_span_id, request.span_context.span_id());
    assert_eq!(
        (publish.span_kind.clone(), &publish.status),
        (SpanKind::Producer, &Status::Unset)
    );
    let attribute = publish
        .attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == "traceparent")
        .unwrap();
    assert_eq!(attribute.value.as_str(), parent_header(&request));
    assert_eq!(
        header(delivery, "traceparent"),
        Some(parent_header(&publish))
    );
    assert_eq!(header(delivery, "tracestate"), None);
}

#[tokio::test]
async fn an_event_belongs_to_the_span_that_raised_it() {
    let (scene, telemetry) = (Scene::new(), Telemetry::new());
    let mut order = Order {
        id: 7,
        events: PendingEvents::default(),
    };
    tracing::info_span!("decide").in_scope(|| order.raise(OrderCreated { order_id: 7 }));
    tracing::info_span!("write").in_scope(|| {
        let (unit_of_work, frame) = UnitOfWork::open();
        unit_of_work
            .collect(frame, order.pending_events_mut())
            .unwrap();
        scene.commit(&unit_of_work, frame);
    });
    scene.relayed().await;
    let (decide, publish) = (telemetry.span("decide"), telemetry.span("bento.publish"));
    assert_eq!(publish.parent_span_id, decide.span_context.span_id());
}

#[tokio::test]
async fn two_events_of_one_flush_keep_their_own_spans() {
    let (scene, telemetry) = (Scene::new(), Telemetry::new());
    let (unit_of_work, frame) = UnitOfWork::open();
    for name in ["first", "second"] {
        let raise = || unit_of_work.scope_sync(|| bento_core::raise(OrderCreated { order_id: 7 }));
        tracing::info_span!("step", name).in_scope(raise).unwrap();
    }
    scene.commit(&unit_of_work, frame);
    scene.relayed().await;
    let mut steps: Vec<SpanId> = telemetry
        .spans("step")
        .iter()
        .map(|span| span.span_context.span_id())
        .collect();
    let mut parents: Vec<SpanId> = telemetry
        .spans("bento.publish")
        .iter()
        .map(|span| span.parent_span_id)
        .collect();
    steps.sort_unstable_by_key(SpanId::to_string);
    parents.sort_unstable_by_key(SpanId::to_string);
    assert_eq!(steps, parents);
    assert_eq!(steps.len(), 2);
}

#[tokio::test]
async fn a_trace_that_the_caller_set_wins_over_its_span() {
    let (scene, telemetry) = (Scene::new(), Telemetry::new());
    let metadata = Metadata::default()
        .with_header("Traceparent", PARENT)
        .with_header("tracestate", "vendor=7");
    tracing::info_span!("request").in_scope(|| metadata.scope_sync(|| scene.create_order()));
    let [delivery] = &scene.relayed().await[..] else {
        panic!("one event")
    };
    let publish = telemetry.span("bento.publish");
    assert_eq!(
        publish.span_context.trace_id(),
        TraceId::from_hex(&PARENT[3..35]).unwrap()
    );
    assert_eq!(
        publish.parent_span_id,
        SpanId::from_hex(&PARENT[36..52]).unwrap()
    );
    assert_eq!(
        header(delivery, "traceparent"),
        Some(parent_header(&publish))
    );
    assert_eq!(header(delivery, "tracestate").as_deref(), Some("vendor=7"));
    assert_eq!(
        header(delivery, "Traceparent"),
        None,
        "a consumer would have to choose"
    );
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_a_span_of_its_own_under_the_request() {
    let (scene, telemetry) = (Scene::new(), Telemetry::new());
    tracing::info_span!("request").in_scope(|| scene.create_order());
    scene.broker.fail(|_| {
        Some(PublishError::throttled(
            "not so fast",
            std::time::Duration::ZERO,
        ))
    });
    scene.relayed().await;
    scene.broker.recover();
    let router = Router::to(
        Destination::new("audit")
            .via("nats")
            .with_topic("audit.log"),
    );
    let relay = Relay::builder(scene.store.clone(), scene.broker.clone()).router(router);
    let relay = relay.start().unwrap();
    scene.broker.wait_for(1).await;
    relay.stop().await.unwrap();
    let (request, attempts) = (telemetry.span("request"), telemetry.spans("bento.publish"));
    let [first, second] = &attempts[..] else {
        panic!("two attempts: {attempts:?}")
    };
    assert_eq!(
        (&first.status, &second.status),
        (&Status::error(""), &Status::Unset)
    );
    assert_eq!(first.parent_span_id, request.span_context.span_id());
    assert_eq!(second.parent_span_id, request.span_context.span_id());
    assert_eq!(
        header(&scene.broker.published()[0], "traceparent"),
        Some(parent_header(second))
    );
}

#[tokio::test]
async fn an_event_that_was_raised_outside_any_span_begins_a_trace() {
    let (scene, telemetry) = (Scene::new(), Telemetry::new());
    scene.create_order();
    let [delivery] = &scene.relayed().await[..] else {
        panic!("one event")
    };
    let publish = telemetry.span("bento.publish");
    assert_eq!(publish.parent_span_id, SpanId::INVALID);
    assert_eq!(
        header(delivery, "traceparent"),
        Some(parent_header(&publish))
    );
}
