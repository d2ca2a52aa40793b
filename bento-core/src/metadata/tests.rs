//! Scopes of metadata, and reading of the stored headers.

use super::*;

fn with_tenant(tenant: &str) -> Metadata {
    Metadata {
        tenant_id: Some(tenant.to_owned()),
        ..Metadata::default()
    }
}

#[test]
fn an_inner_scope_wins_and_inherits_the_rest() {
    let outer = Metadata {
        correlation_id: Some("c".into()),
        ..with_tenant("outer")
    };
    let seen = outer.scope_sync(|| with_tenant("inner").scope_sync(Metadata::current));
    assert_eq!(seen.tenant_id.as_deref(), Some("inner"));
    assert_eq!(seen.correlation_id.as_deref(), Some("c"));
}

#[test]
fn a_scope_hands_no_event_id_on() {
    let scope = Metadata {
        event_id: Some(EventId::new()),
        ..with_tenant("t")
    };
    assert_eq!(
        scope.scope_sync(Metadata::current).event_id,
        None,
        "two events would share one identity"
    );
}

#[test]
fn a_scope_hands_on_where_and_when_its_events_are_delivered() {
    let scope = Metadata::default()
        .with_topic("orders")
        .with_routing_key("eu")
        .with_destinations(["audit"])
        .with_deliver_after(Duration::from_secs(1))
        .with_deliver_at(DateTime::UNIX_EPOCH)
        .with_expires_at(DateTime::UNIX_EPOCH)
        .with_expires_after(Duration::from_secs(1));
    let seen = scope
        .clone()
        .scope_sync(|| with_tenant("t").scope_sync(Metadata::current));
    assert_eq!(*seen, scope.with_tenant("t"));
}

#[test]
fn an_inner_scope_replaces_destinations_delays_and_deadlines() {
    let second = Duration::from_secs(1);
    let time = DateTime::UNIX_EPOCH;
    let outer = Metadata::default()
        .with_destinations(["audit"])
        .with_deliver_at(time)
        .with_expires_at(time);
    let inner = Metadata::default()
        .with_destinations(["mail"])
        .with_deliver_after(second)
        .with_expires_after(second);
    let seen = outer.scope_sync(|| inner.clone().scope_sync(Metadata::current));
    assert_eq!(*seen, inner, "the times around it would win");
}

#[test]
fn stored_headers_are_read_as_they_were_written() {
    let metadata = with_tenant("t")
        .with_correlation("c \"1\"")
        .with_source("shop")
        .with_header("x-ö\n", "1")
        .with_header("actors", "2");
    let Metadata {
        correlation_id,
        causation_id,
        source,
        actor,
        headers: extra,
        ..
    } = metadata.clone();
    let read: Headers = serde_json::from_slice(&metadata.encoded_headers(None)).expect("read");
    assert_eq!(
        read,
        Headers {
            correlation_id,
            causation_id,
            source,
            actor,
            extra
        }
    );
    let nothing: Headers = serde_json::from_str(r#"{"actor":null}"#).expect("read");
    assert!(nothing.is_empty());
    for text in [
        r#"{"actor":1}"#,
        r#"{"x":1}"#,
        r#"{"x":null}"#,
        r#"{"actor":"a","actor":"b"}"#,
        "[]",
        "{}{}",
    ] {
        assert!(serde_json::from_str::<Headers>(text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_spawned_task_does_not_see_the_scope() {
    let seen = with_tenant("t")
        .scope(async { tokio::spawn(async { Metadata::current() }).await })
        .await;
    assert_eq!(seen.expect("joined").tenant_id, None);
}
