//! Models of other parsers: where each would find the parts of an address. Held to the originals by tests.

use core::fmt;
use core::ops::Range;

/// A parser that people hand such addresses to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parser {
    /// The WHATWG URL standard: browsers, Node's `URL`, the `url` crate.
    Whatwg,
    /// Python's `urllib.parse.urlsplit`, and what follows RFC 3986 without checks.
    Python,
    /// Qpid Proton up to 0.9, unpatched: `pn_url_parse` of its Messenger.
    Proton,
}

impl Parser {
    pub(crate) const ALL: [Self; 3] = [Self::Whatwg, Self::Python, Self::Proton];
}

impl fmt::Display for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whatwg => "WHATWG (browsers, Node, the url crate)",
            Self::Python => "Python's urlsplit",
            Self::Proton => "Qpid Proton up to 0.9",
        })
    }
}

/// Where the parts are; none where one is missing or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) user: Option<Range<usize>>,
    pub(crate) password: Option<Range<usize>>,
    pub(crate) host: Option<Range<usize>>,
    pub(crate) port: Option<Range<usize>>,
    pub(crate) path: Option<Range<usize>>,
}

/// Reads a text that is an address to us, or says why not.
pub(crate) fn read(parser: Parser, text: &str) -> Result<Parts, &'static str> {
    let start = text.find("://").map_or(0, |at| at + 3);
    let find = |from: usize, to: usize, wanted: &[char]| text[from..to].find(wanted).map(|at| from + at);
    let filled = |span: Range<usize>| (!span.is_empty()).then_some(span);

    let ends: &[char] = match parser {
        Parser::Whatwg | Parser::Python => &['/', '?', '#'],
        Parser::Proton => &['/'],
    };
    let authority_end = find(start, text.len(), ends).unwrap_or(text.len());
    let path_end = match parser {
        Parser::Whatwg | Parser::Python => find(authority_end, text.len(), &['?', '#']).unwrap_or(text.len()),
        Parser::Proton => text.len(),
    };

    let authority = &text[start..authority_end];
    let at = match parser {
        Parser::Whatwg | Parser::Python => authority.rfind('@'),
        Parser::Proton => authority.find('@'),
    };
    let (user, password, host_start) = match at.map(|at| start + at) {
        None => (None, None, start),
        Some(at) => match find(start, at, &[':']) {
            Some(colon) => (filled(start..colon), filled(colon + 1..at), at + 1),
            None => (filled(start..at), None, at + 1),
        },
    };

    let bracket = text[host_start..authority_end]
        .starts_with('[')
        .then(|| find(host_start, authority_end, &[']']));
    let after_bracket = match bracket {
        Some(Some(close)) => close,
        _ => host_start,
    };
    let colon = find(after_bracket, authority_end, &[':']);
    let host = host_start..colon.unwrap_or(authority_end);
    let port = colon.and_then(|colon| filled(colon + 1..authority_end));
    let is_number = |span: &Range<usize>| {
        let digits = &text[span.clone()];
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    };
    match parser {
        Parser::Whatwg => {
            if host.is_empty() && (at.is_some() || colon.is_some()) {
                return Err("the host is empty");
            }
            let forbidden = |byte: u8| matches!(byte, b' ' | b'<' | b'>' | b'\\' | b'^' | b'|' | b'[' | b']');
            let is_bracketed = bracket.flatten().is_some();
            if !is_bracketed && text[host.clone()].bytes().any(forbidden) {
                return Err("a character is in no host");
            }
            if port.as_ref().is_some_and(|port| !is_number(port)) {
                return Err("the port is no number");
            }
        }
        Parser::Python if port.as_ref().is_some_and(|port| !is_number(port)) => {
            return Err("the port is no number (told when one asks for it)");
        }
        Parser::Python | Parser::Proton => {}
    }
    Ok(Parts {
        user,
        password,
        host: filled(host),
        port,
        path: filled(authority_end..path_end),
    })
}
