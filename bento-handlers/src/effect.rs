//! The one effect of a handler, checked at compile time.

/// The effect of a parameter or of a result, from which the promise of a handler follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It has none.
    None,
    /// Rows and events of the transaction, which commit with the record that the event was handled.
    Transaction,
    /// A call to another system, which carries the idempotency key.
    Key,
    /// Events that are returned, and raised in the transaction.
    Returned,
}

impl Effect {
    /// True if the handler runs in a transaction.
    pub fn is_transactional(self) -> bool {
        matches!(self, Self::Transaction | Self::Returned)
    }
}

/// Adds the effect of one more parameter, or of the result. Not public API: the macro calls it in a
/// constant, so that a mistake is a compile error at the parameter.
///
/// # Panics
/// If there is an effect already, or a batch cannot have this one.
#[doc(hidden)]
#[must_use]
#[track_caller]
pub const fn one_more(earlier: Effect, effect: Effect, is_batch: bool) -> Effect {
    match (earlier, effect) {
        (_, Effect::None) => earlier,
        (Effect::None, Effect::Key) if is_batch => panic!(
            "a batch has no idempotency key, which belongs to one event: take \
             `tx: &OutboxTransaction`, or one event instead of the batch"
        ),
        (Effect::None, _) => effect,
        (_, _) => panic!(
            "this gives the handler a second effect, and a crash could leave one without the \
             other: keep one of `&OutboxTransaction`, `IdempotencyKey` and returned events, and \
             write a second handler for the other"
        ),
    }
}

/// Returns the one effect of a handler. Not public API: the macro calls it in a constant.
///
/// # Panics
/// If there is none.
#[doc(hidden)]
#[must_use]
#[track_caller]
pub const fn the_one(effect: Effect) -> Effect {
    assert!(
        !matches!(effect, Effect::None),
        "the handler has no effect that could be done once: take `tx: &OutboxTransaction` for what \
         it writes to this database, `key: IdempotencyKey` for what it does elsewhere, or return \
         the events that it raises"
    );
    effect
}
