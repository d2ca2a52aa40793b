//! The descriptors of the handlers, field by field.

use super::*;

fn names(handler: &HandlerDescriptor) -> Vec<&'static str> {
    handler.event_types().collect()
}

#[test]
fn a_descriptor_has_the_keys() {
    let handler = descriptor("stock.reserve");
    assert_eq!(names(handler), ["order.confirmed"]);
    assert!(handler.patterns.is_empty());
    assert_eq!(handler.effect, Effect::Transaction);
    assert!(!handler.is_batch && !handler.is_ordered);
    assert_eq!(handler.timeout, Some(Duration::from_secs(90)));
    assert_eq!(handler.concurrency, Some(1));
    assert_eq!(handler.retry, Some("patient"));
    assert_eq!(handler.from, StartFrom::Beginning);
    assert_eq!(
        handler.docs,
        "Reserves the stock of an order.\n\nRaises nothing."
    );
    assert_eq!(handler.declared.package, "bento-handlers");
    assert_eq!(handler.declared.module_path, "r#macro");
    assert!(handler.declared.file.ends_with("tests/macro.rs"));
}

#[test]
fn a_descriptor_without_keys_has_the_defaults() {
    let handler = descriptor("mail.confirmation");
    assert_eq!(handler.effect, Effect::Key);
    assert!(handler.is_ordered);
    assert_eq!((handler.timeout, handler.concurrency), (None, None));
    assert_eq!(handler.retry, None);
    assert_eq!(handler.from, StartFrom::Now);
    assert_eq!(handler.docs, "");
}

#[test]
fn a_handler_may_start_with_a_time() {
    let time = "2026-10-31T23:00:00.5Z".parse().unwrap();
    assert_eq!(descriptor("orders.count").from, StartFrom::At(time));
}

#[test]
fn the_first_parameter_says_which_events_a_handler_takes() {
    let progress = descriptor("order.progress");
    assert_eq!(names(progress), ["order.confirmed", "order.paid"]);
    assert_eq!(names(descriptor("orders.count")), ["order.confirmed"]);
    assert!(descriptor("orders.count").is_batch);
    let audit = descriptor("audit.write");
    assert_eq!(names(audit), [""; 0]);
    assert_eq!(audit.patterns, ["order.*", "stock.reserved"]);
    let index = descriptor("orders.index");
    assert!(index.is_batch);
    assert_eq!(index.patterns, ["order.*"]);
}

#[test]
fn returned_events_are_an_effect() {
    assert_eq!(descriptor("stock.announce").effect, Effect::Returned);
}

#[test]
fn the_struct_beside_the_function_has_the_same_descriptor() {
    let handler = fail::handler::<()>();
    assert!(std::ptr::eq(handler.descriptor(), descriptor("stock.fail")));
}
