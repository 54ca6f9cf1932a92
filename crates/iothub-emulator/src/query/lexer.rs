//! The words of a query.

use super::QueryError;

/// A word or sign, and where it begins, in characters from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A keyword or a name.
    Word(String),
    /// A name in `[[…]]`, which is never a keyword.
    Name(String),
    Text(String),
    Number(f64),
    Sign(&'static str),
    End,
}

/// The longer first.
const SIGNS: [&str; 18] = [
    "!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "*", "/", "%", "+", "-",
];

/// All tokens of a text, an [`Kind::End`] behind them.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let letter = letters[at];
        if letter.is_whitespace() {
            at += 1;
            continue;
        }
        let behind_dot = tokens.last().is_some_and(|token| token.kind == Kind::Sign("."));
        let (kind, length) = if letter == '\'' || letter == '"' {
            quoted(&letters, at)?
        } else if letter == '[' && letters.get(at + 1) == Some(&'[') {
            bracketed(&letters, at)?
        } else if is_first(letter) || behind_dot && letter.is_ascii_digit() {
            let word: String = letters[at..]
                .iter()
                .copied()
                .take_while(|next| is_next(*next))
                .collect();
            let length = word.chars().count();
            (Kind::Word(word), length)
        } else if letter.is_ascii_digit() {
            number(&letters, at)?
        } else {
            let starts = |sign: &str| sign.chars().eq(letters[at..].iter().copied().take(sign.len()));
            let Some(sign) = SIGNS.into_iter().find(|sign| starts(sign)) else {
                return Err(error(format!("nothing begins with {letter:?}"), at));
            };
            (Kind::Sign(sign), sign.len())
        };
        tokens.push(Token { kind, at: at + 1 });
        at += length;
    }
    tokens.push(Token {
        kind: Kind::End,
        at: letters.len() + 1,
    });
    Ok(tokens)
}

fn is_first(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_' || letter == '$'
}

fn is_next(letter: char) -> bool {
    is_first(letter) || letter.is_ascii_digit()
}

/// A text in single or double quotes, with the escapes `\'`, `\"`, `\\`, and `\u` before four hexadecimal digits.
fn quoted(letters: &[char], start: usize) -> Result<(Kind, usize), QueryError> {
    let quote = letters[start];
    let mut text = String::new();
    let mut at = start + 1;
    loop {
        match letters.get(at) {
            None => return Err(error("this text has no end", start)),
            Some(letter) if *letter == quote => return Ok((Kind::Text(text), at + 1 - start)),
            Some('\\') => {
                let (letter, length) = escape(&letters[at..]).ok_or_else(|| {
                    error(
                        "the escapes of a text are \\', \\\", \\\\ and \\u with four digits",
                        at,
                    )
                })?;
                text.push(letter);
                at += length;
            }
            Some(letter) => {
                text.push(*letter);
                at += 1;
            }
        }
    }
}

fn escape(letters: &[char]) -> Option<(char, usize)> {
    match *letters.get(1)? {
        same @ ('\'' | '"' | '\\') => Some((same, 2)),
        'u' => {
            let digits: String = letters.get(2..6)?.iter().collect();
            Some((char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?, 6))
        }
        _ => None,
    }
}

/// A name with what no word can have, in `[[…]]`.
fn bracketed(letters: &[char], start: usize) -> Result<(Kind, usize), QueryError> {
    let rest = &letters[start + 2..];
    let end = rest.windows(2).position(|pair| pair == [']', ']']);
    match end {
        Some(0) => Err(error("this name is empty", start)),
        Some(end) => Ok((Kind::Name(rest[..end].iter().collect()), end + 4)),
        None => Err(error("this name has no end", start)),
    }
}

fn number(letters: &[char], start: usize) -> Result<(Kind, usize), QueryError> {
    let rest = &letters[start..];
    if let ['0', 'x' | 'X', ..] = rest {
        let digits: String = rest[2..].iter().take_while(|next| is_next(**next)).collect();
        let length = digits.len() + 2;
        return match u64::from_str_radix(&digits, 16) {
            #[expect(clippy::cast_precision_loss, reason = "numbers are doubles")]
            Ok(number) => Ok((Kind::Number(number as f64), length)),
            Err(_) => Err(error("this is no hexadecimal number", start)),
        };
    }
    let mut length = 0;
    while let Some(next) = rest.get(length) {
        let is_sign = matches!(next, '+' | '-') && matches!(rest.get(length - 1), Some('e' | 'E'));
        if !(is_next(*next) || *next == '.' || is_sign) {
            break;
        }
        length += 1;
    }
    let text: String = rest[..length].iter().collect();
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((Kind::Number(number), length)),
        _ => Err(error("this is no number", start)),
    }
}

/// `at` counts from 0.
fn error(what: impl Into<String>, at: usize) -> QueryError {
    QueryError {
        what: what.into(),
        at: at + 1,
    }
}
