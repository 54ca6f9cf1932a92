//! Which state of a thing a change is for.

use std::fmt;

/// Which state of a thing a change is for: the header `If-Match` (RFC 9110 §13.1.1).
///
/// # Examples
/// ```
/// use iothub_registry::IfMatch;
/// assert_eq!(IfMatch::etag("AAAAAAAAAAE="), IfMatch::etag("\"AAAAAAAAAAE=\"")); // with its quotes or without
/// assert_eq!(IfMatch::etag("*"), IfMatch::Any);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfMatch {
    /// Any: the last to write wins.
    Any,
    /// The one that had this ETag, without quotes. Another's change in between is an
    /// [`ErrorCode::PreconditionFailed`](crate::ErrorCode::PreconditionFailed).
    Etag(String),
}

impl IfMatch {
    /// The state with this ETag, in quotes or bare; `*` is any.
    #[must_use]
    pub fn etag(text: &str) -> Self {
        let text = text.strip_prefix("W/").unwrap_or(text);
        let bare = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        match bare {
            "*" => Self::Any,
            etag => Self::Etag(etag.to_owned()),
        }
    }
}

/// As the header has it. The hub takes `*` in quotes as well, as Microsoft's SDKs send it.
impl fmt::Display for IfMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("\"*\""),
            Self::Etag(etag) => write!(f, "\"{etag}\""),
        }
    }
}
