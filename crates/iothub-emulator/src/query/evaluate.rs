//! What an expression is for a document.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::expression::{Expression, Operator};

/// A value, or nothing: undefined.
pub(super) type Term<'a> = Option<Cow<'a, Value>>;

/// Whether a condition holds: only the Boolean `true` does.
pub(crate) fn holds(condition: &Expression, document: &Value) -> bool {
    is_true(&evaluate(condition, document))
}

pub(super) fn evaluate<'a>(expression: &'a Expression, document: &'a Value) -> Term<'a> {
    match expression {
        Expression::Constant(value) => Some(Cow::Borrowed(value)),
        Expression::Undefined => None,
        Expression::Path(path) => path.of(document).map(Cow::Borrowed),
        Expression::List(items) => {
            let items = items.iter().filter_map(|item| evaluate(item, document));
            term(items.map(Cow::into_owned).collect::<Vec<_>>())
        }
        Expression::Call(function, arguments) => {
            let arguments: Vec<_> = arguments
                .iter()
                .map(|argument| evaluate(argument, document))
                .collect();
            function.of(&arguments)
        }
        Expression::Not(inner) => term(!holds(inner, document)),
        Expression::Negative(inner) => number(-evaluate(inner, document)?.as_f64()?),
        Expression::All(conditions) => term(conditions.iter().all(|one| holds(one, document))),
        Expression::Any(conditions) => term(conditions.iter().any(|one| holds(one, document))),
        Expression::Binary(operator, left, right) => binary(
            *operator,
            &*evaluate(left, document)?,
            &*evaluate(right, document)?,
        ),
    }
}

fn binary<'a>(operator: Operator, left: &Value, right: &Value) -> Term<'a> {
    let ordering = || compare(left, right);
    let (x, y) = (|| left.as_f64(), || right.as_f64());
    match operator {
        Operator::Equal => term(equal(left, right)?),
        Operator::NotEqual => term(!equal(left, right)?),
        Operator::Less => term(ordering()?.is_lt()),
        Operator::LessOrEqual => term(ordering()?.is_le()),
        Operator::Greater => term(ordering()?.is_gt()),
        Operator::GreaterOrEqual => term(ordering()?.is_ge()),
        Operator::In => term(is_in(left, right)?),
        Operator::NotIn => term(!is_in(left, right)?),
        Operator::Plus => number(x()? + y()?),
        Operator::Minus => number(x()? - y()?),
        Operator::Times => number(x()? * y()?),
        Operator::Divided => number(x()? / y()?),
        Operator::Modulo => number(x()? % y()?),
    }
}

/// Whether two primitives of one type are the same.
fn equal(left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(true),
        _ => compare(left, right).map(Ordering::is_eq),
    }
}

/// Which of two primitives of one type is the greater; null is neither greater nor less than anything.
pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        _ => None,
    }
}

fn is_in(left: &Value, right: &Value) -> Option<bool> {
    if left.is_object() || left.is_array() {
        return None;
    }
    let list = right.as_array()?;
    Some(list.iter().any(|item| equal(left, item) == Some(true)))
}

fn is_true(term: &Term<'_>) -> bool {
    term.as_deref() == Some(&Value::Bool(true))
}

pub(super) fn term<'a>(value: impl Into<Value>) -> Term<'a> {
    Some(Cow::Owned(value.into()))
}

/// A number; one that JSON can't have is none. Whole ones are written as such.
pub(super) fn number<'a>(number: f64) -> Term<'a> {
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number that fits")]
    if number.fract() == 0.0 && number.abs() <= MAX_WHOLE {
        return term(number as i64);
    }
    Number::from_f64(number).map(|number| Cow::Owned(Value::Number(number)))
}

/// The last whole number that has no neighbour which a double can't tell from it.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
