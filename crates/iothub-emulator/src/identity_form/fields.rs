//! The fields of a JSON object, each with its type, and what is said of one that has another.

use std::fmt::Display;
use std::sync::Arc;

use serde_json::{Map, Value};

/// What is wrong with an object, in which field.
#[derive(Debug, PartialEq)]
pub(crate) struct Bad {
    /// Such as `authentication.symmetricKey.primaryKey`; empty for the object as a whole.
    pub(crate) field: String,
    pub(crate) what: String,
}

/// An object, and where it stands. What is null is not there.
pub(crate) struct Fields<'a> {
    pub(crate) object: &'a Map<String, Value>,
    path: &'static str,
}

impl<'a> Fields<'a> {
    pub(crate) const fn of(object: &'a Map<String, Value>) -> Self {
        Self { object, path: "" }
    }

    /// By its name, or if there is none that is the same, in any case: Microsoft's Node SDK writes `etag` where others have
    /// `eTag`, and the service reads both.
    fn get(&self, name: &str) -> Option<&'a Value> {
        let found = self.object.get(name).or_else(|| {
            let mut others = self.object.iter();
            others
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        });
        found.filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, Bad> {
        self.typed(name, "no text", Value::as_str)
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Bad> {
        self.typed(name, "neither true nor false", Value::as_bool)
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Bad> {
        self.typed(name, "no whole number", Value::as_u64)
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Bad> {
        self.typed(name, "no JSON object", Value::as_object)
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<Arc<str>>, Bad> {
        let list = self.typed(name, "no list of texts", Value::as_array)?;
        let texts = list.into_iter().flatten();
        texts
            .map(|text| {
                let text = text.as_str();
                text.map(Arc::from)
                    .ok_or_else(|| self.bad(name, "no list of texts"))
            })
            .collect()
    }

    pub(crate) fn inner(&self, name: &str, path: &'static str) -> Result<Option<Self>, Bad> {
        Ok(self.object(name)?.map(|object| Self { object, path }))
    }

    pub(crate) fn typed<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Bad> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.bad(name, what)),
        }
    }

    pub(crate) fn bad(&self, name: &str, what: impl Display) -> Bad {
        let field = match self.path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Bad {
            field,
            what: what.to_string(),
        }
    }
}

/// The one of these words that it is. SDKs differ in case, and Java's writes `SELF_SIGNED`.
pub(crate) fn one_of<T: Copy>(word: &str, known: &[(T, &str)]) -> Result<T, String> {
    let plain = word.replace('_', "");
    let found = known.iter().find(|(_, known)| known.eq_ignore_ascii_case(&plain));
    found.map(|(it, _)| *it).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(_, word)| *word).collect();
        format!("none of {}", words.join(", "))
    })
}

/// Without the quotes in which HTTP wraps an ETag.
pub(crate) fn unquoted(text: &str) -> &str {
    let text = text.strip_prefix('"').unwrap_or(text);
    text.strip_suffix('"').unwrap_or(text)
}
