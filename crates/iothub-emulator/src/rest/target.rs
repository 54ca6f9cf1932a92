//! What a request names: its path, each segment decoded once, and its query.

use super::refusal::Refusal;

/// A path, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    segments: Vec<String>,
}

impl Path {
    /// Segments are split before they are decoded, so that none can break out of its place; what a segment may be is its
    /// reader's to say. One slash at the end counts for nothing: Microsoft's Node SDK writes `/devices/` for the list.
    pub(super) fn parse(raw: &str) -> Result<Self, Refusal> {
        let path = raw.strip_prefix('/').ok_or_else(Refusal::no_such_path)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Result<_, _> = path
            .split('/')
            .map(|segment| {
                decode(segment, Plus::IsPlus)
                    .ok_or_else(|| Refusal::invalid("The path has an escape that is none of UTF-8."))
            })
            .collect();
        Ok(Self { segments: segments? })
    }

    pub(super) fn segments(&self) -> &[String] {
        &self.segments
    }

    /// As tokens name it.
    pub(super) fn text(&self) -> String {
        let segments = self.segments.iter().flat_map(|segment| ["/", segment]);
        segments.collect()
    }
}

/// The parameters of a query, decoded.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(raw: Option<&str>) -> Result<Self, Refusal> {
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs: Option<_> = pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(name, Plus::IsSpace)?, decode(value, Plus::IsSpace)?))
            })
            .collect();
        let pairs = pairs.ok_or_else(|| Refusal::invalid("The query has an escape that is none of UTF-8."));
        pairs.map(Self)
    }

    /// The first of that name, in any case; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self
            .0
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named
            .next()
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether there is one of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let value = self.get(name).map(str::parse).transpose();
        value.map_err(|_| Refusal::invalid(format!("{name} is no whole number.")))
    }
}

/// What a `+` is: in a query, a form's space (WHATWG URL, "application/x-www-form-urlencoded").
#[derive(Clone, Copy)]
enum Plus {
    IsPlus,
    IsSpace,
}

fn decode(text: &str, plus: Plus) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, plus) {
            (b'%', _) => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            (b'+', Plus::IsSpace) => b' ',
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(raw: &str) -> Option<Vec<String>> {
        Path::parse(raw).ok().map(|path| path.segments)
    }

    /// RFC 3986 §2.4: an implementation must not decode the same text twice; §3.3: segments are split first.
    #[test]
    fn each_segment_is_decoded_once_and_stays_one_segment() {
        let some = |segments: &[&str]| Some(segments.iter().map(ToString::to_string).collect());
        assert_eq!(segments("/devices/a%2Fb"), some(&["devices", "a/b"]));
        assert_eq!(segments("/devices/a%252Fb/"), some(&["devices", "a%2Fb"]));
        assert_eq!(segments("/devices/%2e%2E"), some(&["devices", ".."]));
        assert_eq!(segments("/devices/a+b%2b"), some(&["devices", "a+b+"]));
        assert_eq!(segments("/a//b"), some(&["a", "", "b"]));
        assert_eq!(segments("/%00"), some(&["\0"]));
        assert_eq!(segments("/%C3%A4"), some(&["ä"]));
        for bad in ["*", "/%", "/%2", "/%zz", "/%FF", "/%C3"] {
            assert_eq!(segments(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_query_has_its_parameters_decoded_as_a_forms() {
        let query = Parameters::parse(Some("api-version=2021-04-12&Top=3&a=b+c%2B&&empty=&flag")).unwrap();
        assert_eq!(query.get("API-Version"), Some("2021-04-12"));
        assert_eq!(query.number("top").unwrap(), Some(3));
        assert_eq!(query.get("a"), Some("b c+"));
        assert_eq!(
            (query.get("empty"), query.get("flag"), query.get("none")),
            (None, None, None)
        );
        assert!(query.number("a").is_err());
        assert!(Parameters::parse(Some("a=%F")).is_err());
    }
}
