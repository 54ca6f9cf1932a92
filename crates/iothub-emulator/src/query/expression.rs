//! Expressions, as the parser makes them.

use serde_json::Value;

use super::functions::Function;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Constant(Value),
    Undefined,
    Path(Path),
    List(Vec<Self>),
    Call(Function, Vec<Self>),
    /// All of these conditions hold.
    All(Vec<Self>),
    /// One of these conditions holds.
    Any(Vec<Self>),
    Not(Box<Self>),
    Negative(Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
}

/// The names that lead to a value in a document, the outermost first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(pub(crate) Vec<String>);

impl Path {
    /// Follows it. The names that the hub gives compare in any case if there is none that is the same; what users name,
    /// exactly.
    pub(crate) fn of<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        let mut at = document;
        let mut is_hubs = true;
        for (depth, name) in self.0.iter().enumerate() {
            let object = at.as_object()?;
            at = match object.get(name) {
                Some(found) => found,
                None if is_hubs => {
                    let mut others = object
                        .iter()
                        .filter(|(known, _)| known.eq_ignore_ascii_case(name));
                    others.next()?.1
                }
                None => return None,
            };
            is_hubs = depth == 0 && name.eq_ignore_ascii_case("properties");
        }
        Some(at)
    }

    /// What a row's field is called that has no other name.
    pub(crate) fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Plus,
    Minus,
    Times,
    Divided,
    Modulo,
}
