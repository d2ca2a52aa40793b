//! Tests of a condition, checked and compiled.

use crate::route::check::Question;
use crate::route::condition::{Literal, Scalar, Test};
use crate::route::error::{Faults, RouterFault};
use crate::route::value::Value;

/// Compiles a test into the question that is asked of an event.
pub(super) fn question(test: &Test, faults: &mut Faults) -> Question {
    let (key, literals) = parts(test);
    let is_list = matches!(test, Test::In(_) | Test::Nin(_));
    let values: Vec<_> = faults.at(key, |faults| {
        if is_list && literals.is_empty() {
            let reason = format!("`{key}` of nothing: name values");
            faults.add(if key == "in" {
                RouterFault::NeverMatches { reason }
            } else {
                RouterFault::Invalid { reason }
            });
        }
        literals
            .iter()
            .map(|literal| value(test, literal, faults))
            .collect()
    });
    let one = || values[0].clone();
    let beyond = |side, or_equal| Question::Beyond {
        than: one(),
        side,
        or_equal,
    };
    match test {
        Test::Eq(_) => Question::Equal(one()),
        Test::Ne(_) => Question::Unequal(one()),
        Test::Gt(_) => beyond(std::cmp::Ordering::Greater, false),
        Test::Gte(_) => beyond(std::cmp::Ordering::Greater, true),
        Test::Lt(_) => beyond(std::cmp::Ordering::Less, false),
        Test::Lte(_) => beyond(std::cmp::Ordering::Less, true),
        Test::In(_) => Question::OneOf(values),
        Test::Nin(_) => Question::NoneOf(values),
        Test::Exists(exists) => Question::Exists(*exists),
    }
}

/// The key of a test and what it compares with.
fn parts(test: &Test) -> (&'static str, &[Literal]) {
    let one = std::slice::from_ref;
    match test {
        Test::Eq(literal) => ("eq", one(literal)),
        Test::Ne(literal) => ("ne", one(literal)),
        Test::Gt(literal) => ("gt", one(literal)),
        Test::Gte(literal) => ("gte", one(literal)),
        Test::Lt(literal) => ("lt", one(literal)),
        Test::Lte(literal) => ("lte", one(literal)),
        Test::In(literals) => ("in", literals),
        Test::Nin(literals) => ("nin", literals),
        Test::Exists(_) => ("exists", &[]),
    }
}

/// The value of a literal; ordered tests take only numbers and texts.
fn value(test: &Test, literal: &Literal, faults: &mut Faults) -> Value<'static> {
    let is_order = matches!(
        test,
        Test::Gt(_) | Test::Gte(_) | Test::Lt(_) | Test::Lte(_)
    );
    if is_order && matches!(literal.0, Scalar::Null | Scalar::Bool(_)) {
        faults.invalid("only numbers and texts are greater or less: compare this by `eq` or `ne`");
    }
    literal.value().unwrap_or_else(|| {
        faults.invalid("invalid number: an event cannot hold it");
        Value::Null
    })
}
