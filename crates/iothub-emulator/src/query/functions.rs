//! The functions that the documentation lists. There it allows only some of them in queries of twins; here all are.

use serde_json::Value;

use super::evaluate::{Term, number, term};

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    IsDefined,
    IsNull,
    IsBool,
    IsNumber,
    IsString,
    IsArray,
    IsObject,
    IsPrimitive,
    AsNumber,
    Abs,
    Exp,
    Power,
    Square,
    Ceiling,
    Floor,
    Sign,
    Sqrt,
    Concat,
    Length,
    Lower,
    Upper,
    Substring,
    IndexOf,
    StartsWith,
    EndsWith,
    Contains,
}

impl Function {
    /// By its name, with how many arguments it has at least and at most.
    pub(super) const ALL: [(&'static str, Self, usize, usize); 28] = [
        ("IS_DEFINED", Self::IsDefined, 1, 1),
        ("IS_NULL", Self::IsNull, 1, 1),
        ("IS_BOOL", Self::IsBool, 1, 1),
        ("IS_NUMBER", Self::IsNumber, 1, 1),
        ("IS_STRING", Self::IsString, 1, 1),
        ("IS_ARRAY", Self::IsArray, 1, 1),
        ("IS_OBJECT", Self::IsObject, 1, 1),
        ("IS_PRIMITIVE", Self::IsPrimitive, 1, 1),
        ("AS_NUMBER", Self::AsNumber, 1, 1),
        ("ABS", Self::Abs, 1, 1),
        ("EXP", Self::Exp, 1, 1),
        ("POWER", Self::Power, 2, 2),
        ("SQUARE", Self::Square, 1, 1),
        ("CEILING", Self::Ceiling, 1, 1),
        ("FLOOR", Self::Floor, 1, 1),
        ("SIGN", Self::Sign, 1, 1),
        ("SQRT", Self::Sqrt, 1, 1),
        ("CONCAT", Self::Concat, 2, MANY),
        ("LENGTH", Self::Length, 1, 1),
        ("LOWER", Self::Lower, 1, 1),
        ("UPPER", Self::Upper, 1, 1),
        ("SUBSTRING", Self::Substring, 2, 3),
        ("INDEX_OF", Self::IndexOf, 2, 2),
        ("STARTS_WITH", Self::StartsWith, 2, 2),
        ("STARTSWITH", Self::StartsWith, 2, 2),
        ("ENDS_WITH", Self::EndsWith, 2, 2),
        ("ENDSWITH", Self::EndsWith, 2, 2),
        ("CONTAINS", Self::Contains, 2, 2),
    ];

    /// Of arguments as many as it takes. What is of another type than it takes makes it undefined.
    pub(super) fn of<'a>(self, arguments: &[Term<'a>]) -> Term<'a> {
        let first = arguments.first()?;
        match self {
            Self::IsDefined => return term(first.is_some()),
            Self::IsNull => return term(is(first, Value::is_null)),
            Self::IsBool => return term(is(first, Value::is_boolean)),
            Self::IsNumber => return term(is(first, Value::is_number)),
            Self::IsString => return term(is(first, Value::is_string)),
            Self::IsArray => return term(is(first, Value::is_array)),
            Self::IsObject => return term(is(first, Value::is_object)),
            Self::IsPrimitive => {
                return term(is(first, |value| !value.is_array() && !value.is_object()));
            }
            _ => {}
        }
        let x = |at: usize| arguments.get(at)?.as_ref()?.as_f64();
        let s = |at: usize| arguments.get(at)?.as_ref()?.as_str();
        match self {
            Self::AsNumber => match first.as_deref()? {
                Value::String(text) => number(text.trim().parse().ok()?),
                Value::Number(_) => first.clone(),
                _ => None,
            },
            Self::Abs => number(x(0)?.abs()),
            Self::Exp => number(x(0)?.exp()),
            Self::Power => number(x(0)?.powf(x(1)?)),
            Self::Square => number(x(0)?.powi(2)),
            Self::Ceiling => number(x(0)?.ceil()),
            Self::Floor => number(x(0)?.floor()),
            Self::Sign => number(match x(0)? {
                positive if positive > 0.0 => 1.0,
                negative if negative < 0.0 => -1.0,
                _ => 0.0,
            }),
            Self::Sqrt => number(x(0)?.sqrt()),
            Self::Concat => {
                let parts = (0..arguments.len()).map(s).collect::<Option<Vec<_>>>()?;
                term(parts.concat())
            }
            Self::Length => term(s(0)?.chars().count()),
            Self::Lower => term(s(0)?.to_lowercase()),
            Self::Upper => term(s(0)?.to_uppercase()),
            Self::Substring => {
                let start = whole(x(1)?)?;
                let end = match arguments.len() {
                    2 => usize::MAX,
                    _ => whole(x(2)?)?,
                };
                let letters = s(0)?.chars().skip(start).take(end.saturating_sub(start));
                term(letters.collect::<String>())
            }
            Self::IndexOf => {
                let (text, part) = (s(0)?, s(1)?);
                let place = text.find(part).map(|at| text[..at].chars().count());
                term(place.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX)))
            }
            Self::StartsWith => term(s(0)?.starts_with(s(1)?)),
            Self::EndsWith => term(s(0)?.ends_with(s(1)?)),
            Self::Contains => term(s(0)?.contains(s(1)?)),
            _ => None,
        }
    }
}

fn is(term: &Term<'_>, of_kind: impl Fn(&Value) -> bool) -> bool {
    term.as_deref().is_some_and(of_kind)
}

/// A place in a text.
fn whole(number: f64) -> Option<usize> {
    let fits = number >= 0.0 && number.fract() == 0.0 && number <= f64::from(u32::MAX);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is a whole number that fits"
    )]
    fits.then_some(number as usize)
}

/// More than a query can be long.
const MANY: usize = usize::MAX;
