//! Rust source without its comments and literals, so that a rule about names is not broken by a sentence about them.

/// The text with every comment and every string or character literal blanked out; lines stay where they were.
pub(super) fn code_only(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    let mut word_start = 0;
    while let Some(next) = rest.chars().next() {
        // The word before a quote says what the quote opens; in a raw string backslashes are plain.
        let raw = matches!(&code[word_start..], "r" | "br" | "cr");
        let skip = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' | '#' if raw => raw_string(rest),
            '"' => string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if skip > 0 {
            code.extend(
                rest[..skip]
                    .chars()
                    .map(|each| if each == '\n' { '\n' } else { ' ' }),
            );
            rest = &rest[skip..];
            word_start = code.len();
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            if !is_word(next) {
                word_start = code.len();
            }
        }
    }
    code
}

/// The names and keywords of a line of code.
pub(super) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|each| !is_word(each)).filter(|word| !word.is_empty())
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Block comments nest in Rust.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, each) in text.char_indices().skip(1) {
        match each {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// From the first `#` or quote behind the `r`; 0 for a raw name such as `r#type`.
fn raw_string(text: &str) -> usize {
    let hashes = text.bytes().take_while(|byte| *byte == b'#').count();
    if !text[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 1;
    text[body..]
        .find(&end)
        .map_or(text.len(), |at| body + at + end.len())
}

/// 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut inner = text[1..].char_indices();
    let Some((_, first)) = inner.next() else { return 0 };
    if first == '\\' {
        // The character behind the backslash may be a quote.
        let escaped = 2 + text[2..].chars().next().map_or(0, char::len_utf8);
        return text[escaped..]
            .find('\'')
            .map_or(text.len(), |at| escaped + at + 1);
    }
    match inner.next() {
        Some((at, '\'')) => 1 + at + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_code_is_not() {
        for (source, code) in [
            ("use tokio; // tokio", "use tokio;         "),
            (
                "a /* tokio /* nested */ tokio */ b",
                "a                                b",
            ),
            (r#"say("tokio \" tokio") b"#, "say(                 ) b"),
            (r##"x = r#"tokio " tokio"# ; b"##, "x = r                  ; b"),
            (r#"x = br"tokio\" ; b"#, "x = br         ; b"),
            (
                "r#type 'a' '\\'' '\\u{1f}' &'static b",
                "r#type                     &'static b",
            ),
            ("'é' x", "    x"),
        ] {
            let blanked = code_only(source);
            let want: String = code.to_owned();
            assert_eq!(
                blanked.split_whitespace().collect::<Vec<_>>(),
                want.split_whitespace().collect::<Vec<_>>()
            );
            assert_eq!(blanked.chars().count(), source.chars().count(), "{source}");
        }
    }

    #[test]
    fn lines_stay_where_they_were() {
        let blanked = code_only("/* one\ntwo */ three\n\"four\nfive\" six");
        assert_eq!(
            blanked.lines().map(str::trim).collect::<Vec<_>>(),
            ["", "three", "", "six"]
        );
    }

    #[test]
    fn names_that_end_in_r_open_no_raw_string() {
        assert_eq!(code_only("for_number(\"x\")").trim(), "for_number(   )");
        let raw_name = code_only("r#fn; tokio");
        assert_eq!(words(&raw_name).collect::<Vec<_>>(), ["r", "fn", "tokio"]);
    }

    #[test]
    fn text_that_ends_inside_a_literal_ends_there() {
        for source in ["\"open", "r#\"open", "/* open", "'", "'\\", "'\\n", "\"\\"] {
            let _ = code_only(source);
        }
    }
}
