//! Property: the evaluator agrees with one that was written by itself, over its own form of expressions and values, and
//! that knows nothing of the parser.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A condition in this test's own form.
#[derive(Clone, Debug)]
enum Said {
    Compares(&'static str, Operand, Operand),
    In(bool, Operand, Vec<Constant>),
    Defined(Operand),
    Is(&'static str, Operand),
    Starts(Operand, String),
    Ends(Operand, String),
    Bare(Operand),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

#[derive(Clone, Debug)]
enum Operand {
    Property(&'static str),
    Constant(Constant),
}

#[derive(Clone, Debug, PartialEq)]
enum Constant {
    Null,
    Bool(bool),
    Number(i32),
    Text(String),
}

/// The properties that documents may have.
const PROPERTIES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

impl Constant {
    fn text(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(truth) => truth.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => json!(truth),
            Self::Number(number) => json!(number),
            Self::Text(text) => json!(text),
        }
    }
}

impl Operand {
    fn text(&self) -> String {
        match self {
            Self::Property(name) => format!("tags.{name}"),
            Self::Constant(constant) => constant.text(),
        }
    }

    fn value(&self, document: &[(&'static str, Held)]) -> Option<Held> {
        match self {
            Self::Property(name) => document
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, held)| held.clone()),
            Self::Constant(constant) => Some(Held::One(constant.clone())),
        }
    }
}

/// What a property of a document holds.
#[derive(Clone, Debug)]
enum Held {
    One(Constant),
    Object,
    List(Vec<Constant>),
}

impl Held {
    fn json(&self) -> Value {
        match self {
            Self::One(constant) => constant.json(),
            Self::Object => json!({ "inner": 1 }),
            Self::List(items) => items.iter().map(Constant::json).collect(),
        }
    }
}

impl Said {
    /// In the language, with all parentheses.
    fn text(&self) -> String {
        match self {
            Self::Compares(sign, left, right) => format!("{} {sign} {}", left.text(), right.text()),
            Self::In(is_in, left, list) => {
                let list: Vec<_> = list.iter().map(Constant::text).collect();
                let word = if *is_in { "IN" } else { "NIN" };
                format!("{} {word} [{}]", left.text(), list.join(", "))
            }
            Self::Defined(of) => format!("is_defined({})", of.text()),
            Self::Is(kind, of) => format!("IS_{kind}({})", of.text()),
            Self::Starts(of, with) => format!(
                "STARTSWITH({}, {})",
                of.text(),
                Constant::Text(with.clone()).text()
            ),
            Self::Ends(of, with) => {
                format!("endswith({}, {})", of.text(), Constant::Text(with.clone()).text())
            }
            Self::Bare(of) => of.text(),
            Self::Not(inner) => format!("NOT ({})", inner.text()),
            Self::And(left, right) => format!("({}) AND ({})", left.text(), right.text()),
            Self::Or(left, right) => format!("({}) OR ({})", left.text(), right.text()),
        }
    }

    /// Whether it is true, by the words of the documentation.
    fn is_true(&self, document: &[(&'static str, Held)]) -> bool {
        match self {
            Self::Not(inner) => !inner.is_true(document),
            Self::And(left, right) => left.is_true(document) & right.is_true(document),
            Self::Or(left, right) => left.is_true(document) | right.is_true(document),
            Self::Bare(of) => matches!(of.value(document), Some(Held::One(Constant::Bool(true)))),
            Self::Defined(of) => of.value(document).is_some(),
            Self::Is(kind, of) => match (of.value(document), *kind) {
                (None, _) => false,
                (Some(Held::Object), kind) => kind == "OBJECT",
                (Some(Held::List(_)), kind) => kind == "ARRAY",
                (Some(Held::One(one)), kind) => {
                    kind == "PRIMITIVE"
                        || kind
                            == match one {
                                Constant::Null => "NULL",
                                Constant::Bool(_) => "BOOL",
                                Constant::Number(_) => "NUMBER",
                                Constant::Text(_) => "STRING",
                            }
                }
            },
            Self::Starts(of, with) => match of.value(document) {
                Some(Held::One(Constant::Text(text))) => text.get(..with.len()) == Some(with),
                _ => false,
            },
            Self::Ends(of, with) => match of.value(document) {
                Some(Held::One(Constant::Text(text))) => {
                    text.len() >= with.len() && text.get(text.len() - with.len()..) == Some(with)
                }
                _ => false,
            },
            Self::In(is_in, left, list) => match left.value(document) {
                Some(Held::One(one)) => list.contains(&one) == *is_in,
                _ => false,
            },
            Self::Compares(sign, left, right) => {
                let (Some(Held::One(left)), Some(Held::One(right))) =
                    (left.value(document), right.value(document))
                else {
                    return false;
                };
                // Less, the same, greater; nothing if they don't compare.
                let (less, same, greater) = match (left, right) {
                    (Constant::Null, Constant::Null) => {
                        return *sign == "=";
                    }
                    (Constant::Bool(left), Constant::Bool(right)) => {
                        (!left & right, left == right, left & !right)
                    }
                    (Constant::Number(left), Constant::Number(right)) => {
                        (left < right, left == right, left > right)
                    }
                    (Constant::Text(left), Constant::Text(right)) => (
                        left.as_bytes() < right.as_bytes(),
                        left == right,
                        left.as_bytes() > right.as_bytes(),
                    ),
                    _ => return false,
                };
                match *sign {
                    "=" => same,
                    "!=" | "<>" => less || greater,
                    "<" => less,
                    "<=" => less || same,
                    ">" => greater,
                    _ => greater || same,
                }
            }
        }
    }
}

fn constant() -> impl Strategy<Value = Constant> {
    prop_oneof![
        Just(Constant::Null),
        any::<bool>().prop_map(Constant::Bool),
        (-3..4).prop_map(Constant::Number),
        "[ab'\\\\]{0,2}".prop_map(Constant::Text),
    ]
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        3 => proptest::sample::select(&PROPERTIES[..]).prop_map(Operand::Property),
        1 => constant().prop_map(Operand::Constant),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let sign = proptest::sample::select(&["=", "!=", "<>", "<", "<=", ">", ">="][..]);
    let kind =
        proptest::sample::select(&["NULL", "BOOL", "NUMBER", "STRING", "ARRAY", "OBJECT", "PRIMITIVE"][..]);
    let leaf = prop_oneof![
        (sign, operand(), operand()).prop_map(|(sign, left, right)| Said::Compares(sign, left, right)),
        (any::<bool>(), operand(), prop::collection::vec(constant(), 0..4))
            .prop_map(|(is_in, left, list)| Said::In(is_in, left, list)),
        operand().prop_map(Said::Defined),
        (kind, operand()).prop_map(|(kind, of)| Said::Is(kind, of)),
        (operand(), "[ab]{0,2}").prop_map(|(of, with)| Said::Starts(of, with)),
        (operand(), "[ab]{0,2}").prop_map(|(of, with)| Said::Ends(of, with)),
        operand().prop_map(Said::Bare),
    ];
    leaf.prop_recursive(5, 32, 2, |inner| {
        let pair = (inner.clone(), inner.clone()).prop_map(|(left, right)| (Box::new(left), Box::new(right)));
        prop_oneof![
            inner.prop_map(|inner| Said::Not(Box::new(inner))),
            pair.clone().prop_map(|(left, right)| Said::And(left, right)),
            pair.prop_map(|(left, right)| Said::Or(left, right)),
        ]
    })
}

fn document() -> impl Strategy<Value = Vec<(&'static str, Held)>> {
    let held = prop_oneof![
        6 => constant().prop_map(Held::One),
        1 => Just(Held::Object),
        1 => prop::collection::vec(constant(), 0..3).prop_map(Held::List),
    ];
    let properties =
        PROPERTIES.map(|name| prop::option::weighted(0.8, held.clone()).prop_map(move |held| (name, held)));
    properties.prop_map(|properties| {
        let there = properties
            .into_iter()
            .filter_map(|(name, held)| Some((name, held?)));
        there.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_evaluator_agrees_with_a_naive_one(said in said(), document in document()) {
        let text = said.text();
        let query = parse(&format!("SELECT * FROM devices WHERE {text}")).map_err(|error| {
            TestCaseError::fail(format!("{text}: {error}"))
        })?;
        let properties = document.iter().map(|(name, held)| ((*name).to_owned(), held.json()));
        let json = json!({ "tags": properties.collect::<serde_json::Map<_, _>>() });
        prop_assert_eq!(holds(&query.condition.unwrap(), &json), said.is_true(&document), "{}", text);
    }

    /// Nor does any text make the parser do worse than refuse it.
    #[test]
    fn any_text_is_a_query_or_is_told_where_it_is_none(
        words in prop::collection::vec(
            proptest::sample::select(&[
                "SELECT", "*", "FROM", "devices", ".", "modules", "jobs", "WHERE", "GROUP", "BY", "AS", "TOP", "AND",
                "OR", "NOT", "IN", "NIN", "(", ")", "[", "]", "[[a b]]", ",", "=", "<>", "<=", "-", "+", "'x'", "\"y",
                "7", "0x", "1e9", "is_defined", "count", "ä", "\\", "null", "true",
            ][..]),
            0..24,
        ),
    ) {
        let text = words.join(" ");
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.at), "{}: {}", text, error);
        }
    }
}
