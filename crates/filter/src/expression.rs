//! An expression that was read, and how it is written in messages.

use std::cell::Cell;
use std::fmt;

use crate::error::{EvaluateError, ParseError};
use crate::evaluate::Value;
use crate::java_number::double_text;
use crate::parser;

/// Bytes of an operand that messages show at most: a BETWEEN within a BETWEEN doubles its text.
const MAX_SHOWN: usize = 4096;

/// So many texts of an IN are searched by halving; fewer are kept as they were written.
pub(crate) const MANY: usize = 5;

/// An SQL92 expression over the properties of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    root: Node,
}

impl Expression {
    /// Reads an expression. What follows behind a complete expression is not looked at, as in Java: `a = 1 b` is `a = 1`.
    /// # Errors
    /// [`ParseError`], with Java's text.
    pub fn parse(text: &str) -> Result<Expression, ParseError> {
        parser::parse(text).map(|root| Expression { root })
    }

    /// True, false, or neither (SQL's unknown), for a message whose properties `property` looks up by name.
    /// # Errors
    /// [`EvaluateError`] where Java throws.
    pub fn evaluate<'a>(&'a self, property: &impl Fn(&str) -> Option<&'a str>) -> Result<Option<bool>, EvaluateError> {
        Ok(match self.root.evaluate(property)? {
            Value::Boolean(value) => Some(value),
            _ => None,
        })
    }

    /// Whether a message with these properties is to be delivered.
    pub fn matches<'a>(&'a self, property: &impl Fn(&str) -> Option<&'a str>) -> bool {
        self.evaluate(property) == Ok(Some(true))
    }
}

/// How two numbers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

/// What is looked for in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Boolean(bool),
    Integer(i32),
    Long(i64),
    Double(f64),
    Text(Box<str>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Literal(Literal),
    Property(Box<str>),
    /// A property where a boolean is wanted. Properties are texts, so this is false, or unknown without the property.
    Cast(Box<str>),
    Negate(Box<Node>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Equal(Box<Node>, Box<Node>),
    IsNull(Box<Node>),
    Compare(Order, Box<Node>, Box<Node>),
    Between {
        of: Box<Node>,
        low: Box<Node>,
        high: Box<Node>,
        not: bool,
    },
    /// The texts are in order when there are [`MANY`] or more.
    In {
        property: Box<str>,
        texts: Vec<Box<str>>,
        not: bool,
    },
    Search {
        search: Search,
        of: Box<Node>,
        text: Box<str>,
        not: bool,
    },
}

impl Node {
    /// Whether it stands for a boolean by its form; TRUE, FALSE and NULL do.
    pub(crate) fn is_boolean(&self) -> bool {
        match self {
            Node::Literal(literal) => matches!(literal, Literal::Null | Literal::Boolean(_)),
            Node::Property(_) | Node::Negate(_) => false,
            _ => true,
        }
    }

    /// Its text, as far as messages show it.
    pub(crate) fn shown(&self) -> String {
        let left = Cell::new(MAX_SHOWN);
        let mut text = String::new();
        self.show(&mut text, &left);
        text
    }

    fn show(&self, out: &mut String, left: &Cell<usize>) {
        if out.len() >= left.get() {
            if left.replace(0) > 0 {
                out.push('…');
            }
            return;
        }
        match self {
            Node::Literal(literal) => out.push_str(&literal.to_string()),
            Node::Property(name) | Node::Cast(name) => out.push_str(name),
            Node::Negate(of) => show_unary("-", of, out, left),
            Node::Not(of) => show_unary("NOT", of, out, left),
            Node::And(terms) => show_all(terms, " && ", out, left),
            Node::Or(terms) => show_all(terms, " || ", out, left),
            Node::Equal(a, b) => show_pair(a, " == ", b, out, left),
            Node::IsNull(of) => show_pair(of, " == ", &Node::Literal(Literal::Null), out, left),
            Node::Compare(order, a, b) => show_pair(a, order.sign(), b, out, left),
            Node::Between { of, low, high, not } => {
                let [above, between, below] = if *not { [" < ", " || ", " > "] } else { [" >= ", " && ", " <= "] };
                out.push('(');
                show_pair(of, above, low, out, left);
                out.push_str(between);
                show_pair(of, below, high, out, left);
                out.push(')');
            }
            Node::In { property, texts, not } => {
                let name = if *not { "NOT IN" } else { "IN" };
                out.push_str(&format!("{property} {name} ( {} )", texts.join(", ")));
            }
            Node::Search { search, of, not, .. } => {
                let name = search.name();
                show_unary(&if *not { format!("NOT {name}") } else { name.to_owned() }, of, out, left);
            }
        }
    }
}

fn show_pair(a: &Node, sign: &str, b: &Node, out: &mut String, left: &Cell<usize>) {
    out.push('(');
    a.show(out, left);
    out.push_str(sign);
    b.show(out, left);
    out.push(')');
}

fn show_unary(name: &str, of: &Node, out: &mut String, left: &Cell<usize>) {
    out.push_str(&format!("({name} "));
    of.show(out, left);
    out.push(')');
}

/// Terms side by side, as Java has them: each pair is the left side of the next.
fn show_all(terms: &[Node], sign: &str, out: &mut String, left: &Cell<usize>) {
    out.push_str(&"(".repeat(terms.len().saturating_sub(1).min(left.get())));
    for (at, term) in terms.iter().enumerate() {
        if at > 0 {
            out.push_str(sign);
        }
        term.show(out, left);
        if at > 0 {
            out.push(')');
        }
    }
}

impl Order {
    fn sign(self) -> &'static str {
        match self {
            Order::Greater => " > ",
            Order::GreaterEqual => " >= ",
            Order::Less => " < ",
            Order::LessEqual => " <= ",
        }
    }
}

impl Search {
    fn name(self) -> &'static str {
        match self {
            Search::Contains => "CONTAINS",
            Search::StartsWith => "STARTSWITH",
            Search::EndsWith => "ENDSWITH",
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Null => f.write_str("NULL"),
            Literal::Boolean(value) => f.write_str(if *value { "TRUE" } else { "FALSE" }),
            Literal::Integer(value) => write!(f, "{value}"),
            Literal::Long(value) => write!(f, "{value}"),
            Literal::Double(value) => f.write_str(&double_text(*value)),
            Literal::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
        }
    }
}
