//! JSON, one object a line.

use serde::Serialize;
use serde_json::value::RawValue;

/// The value on one line.
pub(crate) fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our views have string keys and no failing parts")
}

/// The JSON text as it is but for the white space between its tokens, so that it fits on one line; `None` if it is
/// no JSON, or nested so deeply that readers of our line would stumble over it.
pub(crate) fn compact(text: &str) -> Option<Box<RawValue>> {
    // Checked first: what follows relies on strings that end.
    let text = serde_json::from_str::<&RawValue>(text).ok()?.get();
    let mut compact = String::with_capacity(text.len());
    let mut depth: u32 = 0;
    let mut rest = text;
    while let Some(at) = rest.find(['"', '[', ']', '{', '}', ' ', '\t', '\n', '\r']) {
        compact.push_str(&rest[..at]);
        let (token, behind) = rest[at..].split_at(1);
        rest = behind;
        match token {
            "\"" => {
                let end = string_end(rest);
                compact.push('"');
                compact.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            "[" | "{" => {
                depth += 1;
                if depth > DEEPEST {
                    return None;
                }
                compact.push_str(token);
            }
            "]" | "}" => {
                depth = depth.saturating_sub(1);
                compact.push_str(token);
            }
            _ => {}
        }
    }
    compact.push_str(rest);
    RawValue::from_string(compact).ok()
}

/// Where the string ends whose opening quote stands just before: behind its closing quote.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What most parsers take, serde_json's default among them.
const DEEPEST: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(text: &str) -> Option<String> {
        compact(text).map(|raw| raw.get().to_owned())
    }

    #[test]
    fn white_space_goes_and_all_else_stays_as_it_was() {
        let text = "\r\n{ \"a b\" : [ 1.50e+3 ,\t-0 , \"\\\" \\\\\" ] ,\n\"a b\":\"\u{7f} ü\\u00fc\" } \n";
        let kept = "{\"a b\":[1.50e+3,-0,\"\\\" \\\\\"],\"a b\":\"\u{7f} ü\\u00fc\"}";
        assert_eq!(compacted(text).as_deref(), Some(kept));
        assert_eq!(
            compacted(" 12345678901234567890.10 ").as_deref(),
            Some("12345678901234567890.10")
        );
        assert_eq!(compacted("true").as_deref(), Some("true"));
    }

    #[test]
    fn what_is_no_json_is_none() {
        for text in [
            "",
            " ",
            "{",
            "{}x",
            "{} {}",
            "{a:1}",
            "'a'",
            "[1,]",
            "\"a\nb\"",
            "NaN",
            "\u{feff}{}",
        ] {
            assert_eq!(compacted(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_none() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(compacted(&nested(100)), Some(nested(100)));
        assert_eq!(compacted(&nested(101)), None);
        assert_eq!(compacted(&nested(1_000_000)), None);
        let wide = format!("[{}[]]", "[[],{}],".repeat(200));
        assert_eq!(compacted(&wide), Some(wide));
    }
}
