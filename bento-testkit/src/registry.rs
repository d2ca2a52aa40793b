//! Checking what is declared.

/// Makes oversights panic that are only logged by default, in the whole process from now on: events
/// that were raised, never collected and dropped
/// ([`ForgottenEvents::Panic`](bento_core::ForgottenEvents::Panic)), and the use of a connection
/// inside the scope of its own transaction.
///
/// Call it at the beginning of each test.
pub fn strict() {
    bento_core::pending::set_strict(true);
}

/// Checks that everything that is declared in the linked crates fits together: one declaration for
/// each schema and version, no gaps.
///
/// A crate that is not named anywhere is not linked and declares nothing. Naming events also checks
/// that they are there.
///
/// ```
/// # use bento_core::domain_event;
/// # #[domain_event(schema = "order.paid", version = 1)]
/// # #[derive(Clone, Debug)]
/// # pub struct OrderPaid { pub order_id: u32 }
/// # fn main() {
/// bento_testkit::assert_registry!();
/// bento_testkit::assert_registry!(OrderPaid);
/// # }
/// ```
///
/// # Panics
/// If not, with every fault and its place.
#[macro_export]
macro_rules! assert_registry {
    ($($event:ty),* $(,)?) => {{
        let registry = $crate::__private::Registry::global();
        $($crate::__private::assert_sound(registry.require::<$event>().map(|_| ()));)*
        $crate::__private::assert_sound(registry.validate());
    }};
}

/// Panics with the text of the error.
#[doc(hidden)]
#[track_caller]
pub fn assert_sound<E: std::fmt::Display>(checked: Result<(), E>) {
    if let Err(faults) = checked {
        panic!("what is declared does not fit together: {faults}");
    }
}
