//! What an expression says of a message. Null stands for unknown: AND and OR know three values, comparisons with null are
//! null but for `=`, whose right side may be. Source: filter/expression/ComparisonExpression.java, LogicExpression.java,
//! UnaryExpression.java.

use std::cmp::Ordering;

use crate::error::EvaluateError;
use crate::expression::{Literal, MANY, Node, Order, Search};
use crate::java_number::{double, integer, long};

/// What a part of an expression comes to. Integers and longs differ in which texts they can be compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i32),
    Long(i64),
    Double(f64),
    Text(&'a str),
}

type Evaluated<'a> = Result<Value<'a>, EvaluateError>;

impl Node {
    pub(crate) fn evaluate<'a>(&'a self, property: &impl Fn(&str) -> Option<&'a str>) -> Evaluated<'a> {
        match self {
            Node::Literal(literal) => Ok(literal.value()),
            Node::Property(name) => Ok(property(name).map_or(Value::Null, Value::Text)),
            Node::Cast(name) => Ok(property(name).map_or(Value::Null, |_| Value::Boolean(false))),
            Node::Negate(of) => Ok(match of.evaluate(property)? {
                Value::Integer(value) => Value::Integer(value.wrapping_neg()),
                Value::Long(value) => Value::Long(value.wrapping_neg()),
                Value::Double(value) => Value::Double(-value),
                _ => Value::Null,
            }),
            Node::Not(of) => Ok(not(of.evaluate(property)?)),
            Node::And(terms) => all(terms, false, property),
            Node::Or(terms) => all(terms, true, property),
            Node::Equal(left, right) => equal(left.evaluate(property)?, right.evaluate(property)?),
            Node::IsNull(of) => Ok(Value::Boolean(of.evaluate(property)? == Value::Null)),
            Node::Compare(order, left, right) => match left.evaluate(property)? {
                Value::Null => Ok(Value::Null),
                left => order.compare(left, right.evaluate(property)?),
            },
            Node::Between { of, low, high, not } => {
                let value = of.evaluate(property)?;
                let sides = match not {
                    false => [(Order::GreaterEqual, low), (Order::LessEqual, high)],
                    true => [(Order::Less, low), (Order::Greater, high)],
                };
                let side = |order: Order, bound: &'a Node| match value {
                    Value::Null => Ok(Value::Null),
                    value => order.compare(value, bound.evaluate(property)?),
                };
                three_valued(sides.into_iter().map(|(order, bound)| side(order, bound)), *not)
            }
            Node::In { property: name, texts, not } => Ok(match property(name) {
                None => Value::Null,
                Some(text) if texts.len() < MANY => Value::Boolean(texts.iter().any(|one| **one == *text) != *not),
                Some(text) => Value::Boolean(texts.binary_search_by(|one| (**one).cmp(text)).is_ok() != *not),
            }),
            Node::Search { search, of, text, not } => {
                if text.is_empty() {
                    return Ok(Value::Boolean(false));
                }
                Ok(Value::Boolean(match of.evaluate(property)? {
                    Value::Text(value) => search.finds(value, text) != *not,
                    _ => false,
                }))
            }
        }
    }
}

impl Literal {
    /// How it compares to another, as values do.
    pub(crate) fn order_to(&self, other: &Literal) -> Result<Ordering, EvaluateError> {
        match (self, other) {
            (Literal::Text(left), Literal::Text(right)) => Ok(left.cmp(right)),
            _ => order_of(self.value(), other.value()),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Literal::Null => Value::Null,
            Literal::Boolean(value) => Value::Boolean(*value),
            Literal::Integer(value) => Value::Integer(*value),
            Literal::Long(value) => Value::Long(*value),
            Literal::Double(value) => Value::Double(*value),
            Literal::Text(text) => Value::Text(text),
        }
    }
}

impl Search {
    fn finds(self, value: &str, text: &str) -> bool {
        match self {
            Search::Contains => value.contains(text),
            Search::StartsWith => value.starts_with(text),
            Search::EndsWith => value.ends_with(text),
        }
    }
}

impl Order {
    /// Texts on both sides are compared as doubles, or not at all.
    fn compare<'a>(self, left: Value<'_>, right: Value<'_>) -> Evaluated<'a> {
        let ordering = match (left, right) {
            (_, Value::Null) => return Ok(Value::Null),
            (Value::Text(left), Value::Text(right)) => compare_doubles(parse(left, double)?, parse(right, double)?),
            _ => order_of(left, right)?,
        };
        Ok(Value::Boolean(match self {
            Order::Greater => ordering == Ordering::Greater,
            Order::GreaterEqual => ordering != Ordering::Less,
            Order::Less => ordering == Ordering::Less,
            Order::LessEqual => ordering != Ordering::Greater,
        }))
    }
}

fn not(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Boolean(value) => Value::Boolean(!value),
        _ => Value::Null,
    }
}

fn all<'a>(terms: &'a [Node], decisive: bool, property: &impl Fn(&str) -> Option<&'a str>) -> Evaluated<'a> {
    three_valued(terms.iter().map(|term| term.evaluate(property)), decisive)
}

/// AND (`decisive` false) and OR (true): the first decisive value is the result and ends the evaluation; otherwise it is
/// null when one was.
fn three_valued<'a>(values: impl Iterator<Item = Evaluated<'a>>, decisive: bool) -> Evaluated<'a> {
    let mut result = Value::Boolean(!decisive);
    for value in values {
        match value? {
            Value::Boolean(value) if value == decisive => return Ok(Value::Boolean(decisive)),
            Value::Boolean(_) => {}
            _ => result = Value::Null,
        }
    }
    Ok(result)
}

fn equal<'a>(left: Value<'_>, right: Value<'_>) -> Evaluated<'a> {
    Ok(match (left, right) {
        (Value::Null, Value::Null) => Value::Boolean(true),
        (Value::Null, _) => Value::Null,
        (_, Value::Null) => Value::Boolean(false),
        (Value::Text(left), Value::Text(right)) => Value::Boolean(left == right),
        _ => Value::Boolean(order_of(left, right)? == Ordering::Equal),
    })
}

/// Java's __compare: a text is read as what the other side is; what cannot be compared is less.
fn order_of(left: Value<'_>, right: Value<'_>) -> Result<Ordering, EvaluateError> {
    use Value::{Boolean, Double, Integer, Long, Text};
    Ok(match (left, right) {
        (Boolean(left), Boolean(right)) => left.cmp(&right),
        (Boolean(_), Text(_)) => return Err(EvaluateError::BooleanAndText),
        (Text(left), Boolean(right)) => left.eq_ignore_ascii_case("true").cmp(&right),
        (Integer(left), Integer(right)) => left.cmp(&right),
        (Integer(left), Long(right)) => i64::from(left).cmp(&right),
        (Long(left), Integer(right)) => left.cmp(&i64::from(right)),
        (Long(left), Long(right)) => left.cmp(&right),
        (Integer(left), Double(right)) => compare_doubles(f64::from(left), right),
        (Double(left), Integer(right)) => compare_doubles(left, f64::from(right)),
        (Long(left), Double(right)) => compare_doubles(long_as_double(left), right),
        (Double(left), Long(right)) => compare_doubles(left, long_as_double(right)),
        (Double(left), Double(right)) => compare_doubles(left, right),
        (Integer(left), Text(right)) => left.cmp(&parse(right, integer)?),
        (Text(left), Integer(right)) => parse(left, integer)?.cmp(&right),
        (Long(left), Text(right)) => left.cmp(&parse(right, long)?),
        (Text(left), Long(right)) => parse(left, long)?.cmp(&right),
        (Double(left), Text(right)) => compare_doubles(left, parse(right, double)?),
        (Text(left), Double(right)) => compare_doubles(parse(left, double)?, right),
        _ => Ordering::Less,
    })
}

fn parse<T>(text: &str, as_number: impl Fn(&str) -> Option<T>) -> Result<T, EvaluateError> {
    as_number(text).ok_or(EvaluateError::NotANumber)
}

// As Java rounds.
fn long_as_double(value: i64) -> f64 {
    value as f64
}

/// `Double.compareTo`: zero is more than minus zero, NaN is more than all and its own equal. NaNs here have no sign.
fn compare_doubles(left: f64, right: f64) -> Ordering {
    left.total_cmp(&right)
}
