//! The grammar, by recursive descent in the steps of RocketMQ's: what is checked when, and what a message says could have
//! been there instead, follow from it. Source: filter/parser/SelectorParser.jj.

use crate::error::{EvaluateError, ParseError};
use crate::expression::{Literal, MANY, Node, Order, Search};
use crate::java_number::{double, double_text, long};
use crate::lexer::{Kind, Lexer, Token, escaped, text_value};
use crate::{MAX_DEPTH, MAX_LEN};

pub(crate) fn parse(text: &str) -> Result<Node, ParseError> {
    if text.len() > MAX_LEN {
        return Err(ParseError::TooLong(text.len()));
    }
    if text.is_empty() {
        return Err(ParseError::Empty);
    }
    let mut parser =
        Parser { lexer: Lexer::new(text), ahead: [None; 2], expected: 0, also: None, level: 0, plus: None, scanned: 0 };
    parser.expression(Level::Or).and_then(boolean).map(|root| *root.node).map_err(|error| *error)
}

/// How tightly the operators that are still to be taken bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Compare,
    Equal,
    And,
    Or,
}

/// A node and how deep it is. Small, as are errors in a box: what every step of the descent puts on the stack.
struct Part {
    node: Box<Node>,
    depth: usize,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: [Option<Token>; 2],
    /// What could have been at this place, as bits of the kinds' numbers.
    expected: u64,
    /// What could have been there too, named behind the others.
    also: Option<Kind>,
    /// Open parentheses and signs.
    level: usize,
    /// The plus sign whose operand is being looked through.
    plus: Option<Token>,
    /// Up to here signs need not be looked through again.
    scanned: usize,
}

const AFTER_VALUE: [Kind; 10] = [
    Kind::Not,
    Kind::Between,
    Kind::In,
    Kind::Contains,
    Kind::StartsWith,
    Kind::EndsWith,
    Kind::Greater,
    Kind::GreaterEqual,
    Kind::Less,
    Kind::LessEqual,
];
const BEFORE_VALUE: [Kind; 10] = [
    Kind::Not,
    Kind::True,
    Kind::False,
    Kind::Null,
    Kind::Decimal,
    Kind::Floating,
    Kind::Text,
    Kind::Id,
    Kind::Open,
    Kind::Minus,
];

type Problem = Box<ParseError>;
type Parsed = Result<Part, Problem>;

impl Parser<'_> {
    fn peek(&mut self) -> Result<Token, Problem> {
        match self.ahead[0] {
            Some(token) => Ok(token),
            None => Ok(*self.ahead[0].insert(self.lexer.next()?)),
        }
    }

    fn peek_second(&mut self) -> Result<Kind, Problem> {
        self.peek()?;
        match self.ahead[1] {
            Some(token) => Ok(token.kind),
            None => Ok(self.ahead[1].insert(self.lexer.next()?).kind),
        }
    }

    /// The kind of the next token if it is one of these.
    fn next_is(&mut self, kinds: &[Kind]) -> Result<Option<Kind>, Problem> {
        let kind = self.peek()?.kind;
        if kinds.contains(&kind) {
            return Ok(Some(kind));
        }
        self.expected |= kinds.iter().fold(0, |bits, kind| bits | bit(*kind));
        Ok(None)
    }

    fn take(&mut self) -> Result<Token, Problem> {
        let token = self.peek()?;
        self.ahead = [self.ahead[1].take(), None];
        self.expected = 0;
        self.also = None;
        Ok(token)
    }

    fn take_kind(&mut self, kind: Kind) -> Result<Token, Problem> {
        match self.peek()?.kind == kind {
            true => self.take(),
            false => {
                self.expected |= bit(kind);
                Err(self.unexpected())
            }
        }
    }

    /// The next token is out of place.
    fn unexpected(&mut self) -> Problem {
        let token = match (self.plus, self.peek()) {
            (Some(plus), _) => {
                self.expected = BEFORE_VALUE.iter().fold(0, |bits, kind| bits | bit(*kind));
                self.also = None;
                plus
            }
            (None, Ok(token)) => token,
            (None, Err(error)) => return error,
        };
        let (line, column) = self.lexer.place(token);
        let image = token.kind.image();
        let encountered = match token.kind {
            Kind::End => image.to_owned(),
            _ => format!(" {image} \"{} \"", escaped(self.lexer.image(token))),
        };
        let kinds = AFTER_VALUE.iter().chain(&BEFORE_VALUE).chain(&OTHERS).copied();
        let mut could_be: Vec<Kind> = kinds.filter(|kind| self.expected & bit(*kind) != 0).collect();
        could_be.sort_unstable_by_key(|kind| *kind as u8);
        could_be.dedup();
        could_be.extend(self.also);
        let what = if could_be.len() == 1 { "Was expecting" } else { "Was expecting one of" };
        let list: String = could_be.iter().map(|kind| format!("{} ...\n    ", kind.image())).collect();
        Box::new(ParseError::Syntax(format!(
            "Encountered \"{encountered}\" at line {line}, column {column}.\n{what}:\n    {list}"
        )))
    }

    /// Whether operands fit, unless they are only looked through.
    fn check(&self, check: impl FnOnce() -> Result<(), Problem>) -> Result<(), Problem> {
        if self.plus.is_some() { Ok(()) } else { check() }
    }

    fn boolean(&self, part: Part) -> Parsed {
        if self.plus.is_some() { Ok(part) } else { boolean(part) }
    }

    fn too_deep(&self, token: Token) -> Problem {
        let (line, column) = self.lexer.place(token);
        Box::new(ParseError::TooDeep { line, column })
    }

    /// A part that holds others `depth` deep.
    fn part(&mut self, node: Node, depth: usize) -> Parsed {
        if depth >= MAX_DEPTH {
            let token = self.peek()?;
            return Err(self.too_deep(token));
        }
        Ok(Part { node: Box::new(node), depth: depth + 1 })
    }

    fn expression(&mut self, level: Level) -> Parsed {
        let left = self.unary()?;
        let left = self.comparisons(left)?;
        if level == Level::Compare {
            return Ok(left);
        }
        let left = self.equalities(left)?;
        if level == Level::Equal {
            return Ok(left);
        }
        let left = self.logic(left, Kind::And, Level::Equal, Node::And)?;
        if level == Level::And {
            return Ok(left);
        }
        self.logic(left, Kind::Or, Level::And, Node::Or)
    }

    /// Terms side by side.
    fn logic(&mut self, left: Part, sign: Kind, level: Level, make: fn(Vec<Node>) -> Node) -> Parsed {
        if self.next_is(&[sign])?.is_none() {
            return Ok(left);
        }
        // Java looks at the left side only when it has the right one.
        let (mut first, mut terms, mut depth) = (Some(left), Vec::new(), 0);
        while self.next_is(&[sign])?.is_some() {
            self.take()?;
            let right = self.expression(level)?;
            for part in first.take().into_iter().chain([right]) {
                let part = self.boolean(part)?;
                depth = depth.max(part.depth);
                terms.push(*part.node);
            }
        }
        self.part(make(terms), depth)
    }

    fn equalities(&mut self, mut left: Part) -> Parsed {
        while let Some(kind) = self.next_is(&[Kind::Is, Kind::Equal, Kind::NotEqual])? {
            self.take()?;
            left = match kind {
                Kind::Is => {
                    let not = self.next_is(&[Kind::Not])?.is_some();
                    if not {
                        self.take()?;
                        self.take_kind(Kind::Null)?;
                    } else if self.peek()?.kind == Kind::Null {
                        self.take()?;
                    } else {
                        self.also = Some(Kind::Null);
                        return Err(self.unexpected());
                    }
                    let node = Node::IsNull(left.node);
                    let depth = left.depth + usize::from(not);
                    self.part(if not { Node::Not(Box::new(node)) } else { node }, depth)?
                }
                _ => {
                    let right = self.expression(Level::Compare)?;
                    self.check(|| check_equal(&left.node, &right.node))?;
                    let depth = left.depth.max(right.depth) + usize::from(kind == Kind::NotEqual);
                    let node = Node::Equal(left.node, right.node);
                    self.part(if kind == Kind::NotEqual { Node::Not(Box::new(node)) } else { node }, depth)?
                }
            };
        }
        Ok(left)
    }

    fn comparisons(&mut self, mut left: Part) -> Parsed {
        while let Some(first) = self.next_is(&AFTER_VALUE)? {
            let not = first == Kind::Not;
            let kind = if not { self.peek_second()? } else { first };
            if not && !matches!(kind, Kind::Between | Kind::In | Kind::Contains | Kind::StartsWith | Kind::EndsWith) {
                self.expected |= AFTER_VALUE.iter().skip(1).fold(0, |bits, kind| bits | bit(*kind));
                return Err(self.unexpected());
            }
            if not {
                self.take()?;
            }
            self.take()?;
            left = match kind {
                Kind::Greater => self.compare(left, Order::Greater)?,
                Kind::GreaterEqual => self.compare(left, Order::GreaterEqual)?,
                Kind::Less => self.compare(left, Order::Less)?,
                Kind::LessEqual => self.compare(left, Order::LessEqual)?,
                Kind::Contains => self.search(left, Search::Contains, not)?,
                Kind::StartsWith => self.search(left, Search::StartsWith, not)?,
                Kind::EndsWith => self.search(left, Search::EndsWith, not)?,
                Kind::Between => self.between(left, not)?,
                _ => self.within(left, not)?,
            };
        }
        Ok(left)
    }

    fn compare(&mut self, left: Part, order: Order) -> Parsed {
        let right = self.unary()?;
        self.check(|| check_order(&left.node).and_then(|()| check_order(&right.node)))?;
        self.part(Node::Compare(order, left.node, right.node), left.depth.max(right.depth))
    }

    fn search(&mut self, of: Part, search: Search, not: bool) -> Parsed {
        let text = self.text()?;
        self.part(Node::Search { search, of: of.node, text, not }, of.depth)
    }

    fn between(&mut self, value: Part, not: bool) -> Parsed {
        let low = self.unary()?;
        self.take_kind(Kind::And)?;
        let high = self.unary()?;
        self.check(|| {
            if !not {
                check_bounds(&low.node, &high.node)?;
            }
            [&value, &low, &high].into_iter().try_for_each(|part| check_order(&part.node))
        })?;
        let depth = value.depth.max(low.depth).max(high.depth);
        self.part(Node::Between { of: value.node, low: low.node, high: high.node, not }, depth)
    }

    fn within(&mut self, left: Part, not: bool) -> Parsed {
        self.take_kind(Kind::Open)?;
        let mut texts = vec![self.text()?];
        while self.next_is(&[Kind::Comma])?.is_some() {
            self.take()?;
            texts.push(self.text()?);
        }
        self.take_kind(Kind::Close)?;
        if self.plus.is_some() {
            return self.part(Node::Literal(Literal::Null), left.depth);
        }
        let Node::Property(property) = *left.node else {
            let text = format!("Expected a property for In expression, got: {}", left.node.shown());
            return Err(Box::new(ParseError::Operand(text)));
        };
        if texts.len() >= MANY {
            texts.sort_unstable();
            texts.dedup();
        }
        self.part(Node::In { property, texts, not }, left.depth)
    }

    fn text(&mut self) -> Result<Box<str>, Problem> {
        let token = self.take_kind(Kind::Text)?;
        Ok(text_value(self.lexer.image(token)).into())
    }

    fn unary(&mut self) -> Parsed {
        let first = self.peek()?;
        if self.level >= MAX_DEPTH {
            return Err(self.too_deep(first));
        }
        self.level += 1;
        let part = match first.kind {
            Kind::Plus => self.plus(first),
            Kind::Minus => self.minus(),
            Kind::Not => self.not(),
            Kind::Open => self.parentheses(),
            _ => self.primary(first),
        };
        self.level -= 1;
        part
    }

    /// Java looks through the operand first, without minding what it means: what cannot be there makes the sign wrong.
    fn plus(&mut self, sign: Token) -> Parsed {
        if self.plus.is_none() && sign.begin >= self.scanned {
            let before = (self.lexer.clone(), self.ahead);
            self.plus = Some(sign);
            self.take()?;
            self.unary()?;
            self.plus = None;
            self.scanned = self.lexer.at();
            (self.lexer, self.ahead) = before;
        }
        self.take()?;
        self.unary()
    }

    fn minus(&mut self) -> Parsed {
        self.take()?;
        let of = self.unary()?;
        self.part(Node::Negate(of.node), of.depth)
    }

    fn not(&mut self) -> Parsed {
        self.take()?;
        let of = self.unary()?;
        let of = self.boolean(of)?;
        self.part(Node::Not(of.node), of.depth)
    }

    fn parentheses(&mut self) -> Parsed {
        self.take()?;
        let part = self.expression(Level::Or)?;
        self.take_kind(Kind::Close)?;
        Ok(part)
    }

    fn primary(&mut self, first: Token) -> Parsed {
        self.also = Some(Kind::Plus);
        let Some(kind) = self.next_is(&BEFORE_VALUE)? else { return Err(self.unexpected()) };
        self.take()?;
        let image = self.lexer.image(first);
        let node = match kind {
            Kind::True => Node::Literal(Literal::Boolean(true)),
            Kind::False => Node::Literal(Literal::Boolean(false)),
            Kind::Null => Node::Literal(Literal::Null),
            _ if self.plus.is_some() => Node::Literal(Literal::Null),
            Kind::Decimal => Node::Literal(decimal(image)?),
            Kind::Floating => Node::Literal(floating(image)?),
            Kind::Text => Node::Literal(Literal::Text(text_value(image).into())),
            _ => Node::Property(image.into()),
        };
        self.part(node, 0)
    }
}

/// Kinds that are expected in places of their own.
const OTHERS: [Kind; 7] = [Kind::And, Kind::Or, Kind::Is, Kind::Equal, Kind::NotEqual, Kind::Comma, Kind::Close];

fn bit(kind: Kind) -> u64 {
    1 << kind as u8
}

/// The part where a boolean is wanted.
fn boolean(mut part: Part) -> Parsed {
    if let Node::Property(name) = &mut *part.node {
        *part.node = Node::Cast(std::mem::take(name));
    }
    match part.node.is_boolean() {
        true => Ok(part),
        false => Err(Box::new(ParseError::Syntax(format!(
            "Expression will not result in a boolean value: {}",
            part.node.shown()
        )))),
    }
}

/// Only numbers have an order, and what may turn out to be one.
fn check_order(node: &Node) -> Result<(), Problem> {
    let is_number = match node {
        Node::Literal(literal) => matches!(literal, Literal::Integer(_) | Literal::Long(_) | Literal::Double(_)),
        node => !node.is_boolean(),
    };
    match is_number {
        true => Ok(()),
        false => Err(Box::new(ParseError::Operand(format!("Value '{}' cannot be compared.", node.shown())))),
    }
}

fn check_equal(left: &Node, right: &Node) -> Result<(), Problem> {
    if let Some(null) = [left, right].into_iter().find(|node| **node == Node::Literal(Literal::Null)) {
        return Err(Box::new(ParseError::Operand(format!("'{}' cannot be compared.", null.shown()))));
    }
    match (left, right) {
        (Node::Literal(Literal::Boolean(_)), Node::Literal(other)) if !matches!(other, Literal::Boolean(_)) => {
            let (left, right) = (left.shown(), right.shown());
            Err(Box::new(ParseError::Operand(format!("'{left}' cannot be compared with '{right}'"))))
        }
        _ => Ok(()),
    }
}

/// Bounds that are written out must be in order.
fn check_bounds(low: &Node, high: &Node) -> Result<(), Problem> {
    let (Node::Literal(low), Node::Literal(high)) = (low, high) else { return Ok(()) };
    let shown = |literal: &Literal| match literal {
        Literal::Text(text) => text.to_string(),
        Literal::Boolean(value) => value.to_string(),
        Literal::Double(value) => double_text(*value),
        literal => literal.to_string(),
    };
    if *low == Literal::Null || *high == Literal::Null {
        return Err(Box::new(ParseError::Operand("Illegal values of between, values can not be null!".to_owned())));
    }
    let (left, right) = (shown(low), shown(high));
    match high.order_to(low) {
        Ok(order) if order.is_ge() => Ok(()),
        Ok(_) => Err(Box::new(ParseError::Operand(format!(
            "Illegal values of between, left value({left}) must less than or equal to right value({right})"
        )))),
        Err(EvaluateError::BooleanAndText) => Err(Box::new(ParseError::Cast(
            "class java.lang.Boolean cannot be cast to class java.lang.String (java.lang.Boolean and java.lang.String are in \
             module java.base of loader 'bootstrap')",
        ))),
        Err(EvaluateError::NotANumber) => {
            let (text, other) = if let Literal::Text(text) = low { (text, high) } else { (&right.into(), low) };
            let text = if matches!(other, Literal::Double(_)) { text.trim_matches(|c| c <= ' ') } else { text };
            let reason = match (text, other) {
                ("", Literal::Double(_)) => "empty String".to_owned(),
                _ => format!("For input string: \"{text}\""),
            };
            Err(Box::new(ParseError::Operand(format!("java.lang.NumberFormatException: {reason}"))))
        }
    }
}

fn decimal(image: &str) -> Result<Literal, Problem> {
    let digits = image.strip_suffix(['l', 'L']).unwrap_or(image);
    let value = long(digits).ok_or_else(|| Box::new(ParseError::Number(format!("For input string: \"{digits}\""))))?;
    Ok(i32::try_from(value).map_or(Literal::Long(value), Literal::Integer))
}

fn floating(image: &str) -> Result<Literal, Problem> {
    let value = double(image).ok_or_else(|| Box::new(ParseError::Number(format!("For input string: \"{image}\""))))?;
    if value > f64::MAX {
        return Err(Box::new(ParseError::Operand(format!("{image} is greater than {}", double_text(f64::MAX)))));
    }
    // Java's Double.MIN_VALUE is the least above zero: 0.0 is refused.
    if value < f64::from_bits(1) {
        return Err(Box::new(ParseError::Operand(format!("{image} is less than 4.9E-324"))));
    }
    Ok(Literal::Double(value))
}

#[cfg(test)]
mod tests;
